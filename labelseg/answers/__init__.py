"""Answers of people: what they said of a pixel, in files that are only ever appended to."""
