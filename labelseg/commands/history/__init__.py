"""Commands that tell what was done, what reads what and what differs, and that keep states by name."""
