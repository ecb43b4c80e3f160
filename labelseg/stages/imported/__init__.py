"""Stages that take what other programs computed, one file for each image, into the store."""
