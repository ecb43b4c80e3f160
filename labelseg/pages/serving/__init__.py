"""A server for this machine: who may speak to it, and how it is started and ended."""
