"""Backbones of the library timm, by the names it gives them."""
