"""Masks taken away in the formats of other tools, and brought back."""
