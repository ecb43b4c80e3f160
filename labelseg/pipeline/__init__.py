"""Stages, keys, staleness, storage and execution; knows nothing of segmentation."""
