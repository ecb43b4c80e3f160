"""Heads of segmentation networks."""
