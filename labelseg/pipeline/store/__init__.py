"""Artifacts on disk: immutable parts, manifests that name them, refs that name those."""
