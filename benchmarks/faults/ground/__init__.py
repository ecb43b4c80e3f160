"""What trials stand on: stages, workspaces, processes, and ways to read and to disturb."""
