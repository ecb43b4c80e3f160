"""What was tried for better masks and is no part of the program, kept so that its figures can be had again."""
