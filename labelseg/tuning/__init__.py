"""Choosing settings of the chain from tags by what they give on some images."""
