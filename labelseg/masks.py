"""What the numbers in a mask mean."""

IGNORE = 255  # a pixel that does not count: unknown, or between classes
