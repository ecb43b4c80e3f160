"""The dense CRF: a permutohedral lattice, filtering on it, mean-field inference."""
