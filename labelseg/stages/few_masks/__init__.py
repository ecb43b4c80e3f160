"""Stages that learn from masks of few images and many images without."""
