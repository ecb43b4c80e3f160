"""Stages that make masks from image tags."""
