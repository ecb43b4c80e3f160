"""Stages, keys, plans, storage and execution; knows nothing of segmentation."""
