"""What the numbers in a mask mean."""

from __future__ import annotations

BACKGROUND = "background"  # the class of id 0, where the data has one; no tag names it
IGNORE = 255  # a pixel that does not count: unknown, or between classes
