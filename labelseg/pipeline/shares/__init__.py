"""Shares of a map: parts of its items that jobs of any scheduler compute, each by itself, and what makes one artifact of them."""
