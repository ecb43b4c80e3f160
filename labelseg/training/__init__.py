"""Training networks: one loop, its checkpoints and optimisers, and what turns items into samples."""
