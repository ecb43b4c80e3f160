"""Maths of asking: which pixels of a new domain a person should answer, and what is learned until then."""
