"""Speed and memory against the named opponents."""
