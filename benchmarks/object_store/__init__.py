"""A workspace behind an object store, on a server on this machine: what it costs, and what survives kills."""
