"""Commands that run stages, and tell how they stand."""
