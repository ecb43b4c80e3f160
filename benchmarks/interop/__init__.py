"""Exports read by the programs that own the formats, and their files brought back."""
