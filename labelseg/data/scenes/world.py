"""What there is in the world of the scenes."""

from __future__ import annotations

from labelseg.class_ids import BACKGROUND

CLASSES = (BACKGROUND, "target", "cross", "star", "flag", "diamond", "eyes")


STYLES = ("day", "dusk")


# The number of the first scene of each split: so a split may grow without moving into another.
FIRST_SCENE = {"train": 0, "val": 1_000_000, "test": 2_000_000}
