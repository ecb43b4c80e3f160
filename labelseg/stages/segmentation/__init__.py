"""Stages that train a segmenter and run it."""
