"""The commands, one file a family. Importing them loads no numerical library: such imports stand inside the functions."""
