"""What stands, what has to be done and why."""
