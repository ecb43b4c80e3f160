"""Stages that teach a segmenter new classes."""
