"""Files that survive a kill: written atomically, locked, known by their content."""
