"""Weights in and out of networks: files, downloads, and arrays for the store."""
