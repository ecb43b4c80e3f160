"""Masks of 0 and 255 alone: grey values where class ids were meant, told before anything is learned from them or scored by them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from labelseg.class_ids import IGNORE
from labelseg.data.domains.sized_dataset import folder_of
from labelseg.errors import DataError
from labelseg.protocols import Images

LOOKED_AT = 16  # masks, evenly over all


def demand_class_ids(dataset: Images, ids: Sequence[str]) -> None:
    """Refuse masks of which every one holds 0 and 255 alone where an object should be: 255 means ignore, so objects count nowhere.

    A few are looked at, evenly over all. A mask of an image that is known to hold no class may be so, and one that cannot be read tells
    nothing: it is reported where it is used.

    Args:
        dataset: Where the masks are.
        ids: Images that have masks.

    Raises:
        DataError: no mask that was looked at holds the id of a class; the first is named.
    """
    first: tuple[str, float] | None = None
    for image_id in ids[:: -(-len(ids) // LOOKED_AT)] if ids else ():
        if dataset.has(image_id, "tags") and not dataset.tags(image_id):
            continue
        try:
            mask = dataset.mask(image_id)
        except DataError:
            continue
        if not ((mask == 0) | (mask == IGNORE)).all():
            return
        first = first or ((image_id, float((mask == IGNORE).mean())) if (mask == IGNORE).any() else None)
    if first is None or len(dataset.classes) < 2:
        return
    named = getattr(folder_of(dataset), "mask_path", None)
    path: Path | str = named(first[0]) if named else first[0]
    raise DataError(
        f"{path}: expected class ids, 0 to {len(dataset.classes) - 1}, but this mask and all others looked at hold grey values, 0 and "
        f"{IGNORE} alone ({IGNORE} on {first[1]:.0%} of it), and {IGNORE} means ignore: its objects would count nowhere. Write the number "
        f"of the class there, 1 for '{dataset.classes[1]}': mask[mask == {IGNORE}] = 1; docs/data.md has all the lines."
    )
