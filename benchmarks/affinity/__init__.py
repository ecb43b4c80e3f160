"""What affinities come from, compared on photos."""
