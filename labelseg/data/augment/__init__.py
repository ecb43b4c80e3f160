"""Geometry and colours of training samples."""
