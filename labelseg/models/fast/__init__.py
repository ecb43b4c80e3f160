"""Forms of layers that compute the same in less time."""
