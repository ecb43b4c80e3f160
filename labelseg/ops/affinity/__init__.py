"""Affinities of pairs of cells, what they are learned from, and the random walk over them."""
