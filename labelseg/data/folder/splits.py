"""Splits: lists of image ids in text files, or seeded fractions."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from labelseg.data.folder.text_files import read_text
from labelseg.errors import DataError, UsageError

if TYPE_CHECKING:
    from labelseg.protocols import ImageNames

ALL = "all"
HELD_OUT = ("val", "test")
USUAL_ORDER = ("train", *HELD_OUT)
_FIRST_LINES = 20  # of a text file, by which it is known as a list


def find_lists(folders: Sequence[Path], not_lists: Sequence[Path] = ()) -> dict[str, Path]:
    """Map the name of each split to its list, over folders of ``NAME.txt`` files.

    Args:
        folders: Where to look.
        not_lists: Files among them that are no lists.

    Raises:
        DataError: a folder does not exist, a list is called ``all``, or two folders list one split.
    """
    left_out = {path.resolve() for path in not_lists}
    lists: dict[str, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"{folder}: expected a folder of lists, found none. Set splits under [data] in labelseg.toml.")
        for path in sorted(folder.glob("*.txt")):
            if path.resolve() in left_out:
                continue
            if path.stem == ALL:
                raise DataError(f"{path}: the split '{ALL}' always holds every image. Rename the list.")
            if path.stem in lists and lists[path.stem].resolve() != path.resolve():
                raise DataError(f"{path}: {lists[path.stem]} lists this split too. Rename one.")
            lists[path.stem] = path
    return lists


def read_split(path: Path, images: ImageNames, missing: list[tuple[int, str]] | None = None) -> list[str]:
    """Read the ids that a list names, one image a line or as published lists do, and sort them: the order of lines means nothing.

    Args:
        path: The list.
        images: What knows the names.
        missing: Takes number and text of lines that name no image, if those are the lesser part; None refuses them.

    Raises:
        DataError: an unknown or ambiguous image, or one named twice; the message names the line.
    """
    lines: dict[str, int] = {}
    unknown: list[tuple[int, str]] = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        found = _named_images(line.strip(), images)
        if not found and missing is not None:
            unknown.append((number, line.strip()))
            continue
        image_id = found[0] if len(found) == 1 else images.resolve(_told(line.strip()), f"{path} line {number}")
        if image_id in lines:
            raise DataError(f"{path} line {number}: '{image_id}' is on line {lines[image_id]} too.")
        lines[image_id] = number
    if len(unknown) > len(lines):
        images.resolve(_told(unknown[0][1]), f"{path} line {unknown[0][0]}")
    if missing is not None:
        missing += unknown
    return sorted(lines)


def _told(line: str) -> str:
    """Pick what an error is about: the line, or its first word where that is a path."""
    first = line.split()[0]
    return first if "/" in first else line


def check_fractions(fractions: Mapping[str, float]) -> None:
    """Check that fractions are in (0, 1) and leave something over.

    Raises:
        UsageError: they do not.
    """
    for name, fraction in fractions.items():
        if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 < fraction < 1:
            raise UsageError(f"[data.fractions] {name} = {fraction!r}: expected a number between 0 and 1.")
        if name == ALL:
            raise UsageError(f"[data.fractions] {ALL}: this split always holds every image. Choose another name.")
    if sum(fractions.values()) > 1 + 1e-9:
        raise UsageError(f"[data.fractions] add up to {sum(fractions.values()):g}: expected at most 1.")


def fraction_splits(image_ids: Sequence[str], fractions: Mapping[str, float], seed: int) -> dict[str, list[str]]:
    """Deal images out to splits by a hash of seed and id.

    An image stays in its split whatever images come or go later; so the shares hold on average, not to the image.
    A split that would stay empty takes the image nearest to its share.

    Returns:
        Sorted ids by split; the splits share no image.
    """
    places = {image_id: _place(image_id, seed) for image_id in image_ids} if fractions else {}
    dealt: dict[str, list[str]] = {}
    low = 0.0
    for name in sorted(fractions):
        high = low + fractions[name]
        dealt[name] = sorted(image_id for image_id, place in places.items() if low <= place < high)
        low = high
    for name in (name for name in sorted(dealt) if not dealt[name]):
        taken = {image_id for ids in dealt.values() for image_id in ids}
        free = [image_id for image_id in image_ids if image_id not in taken]
        low = sum(fractions[other] for other in dealt if other < name)
        dealt[name] = sorted(free, key=lambda image_id: abs(places[image_id] - low))[:1]
    return dealt


def order_names(names: set[str]) -> list[str]:
    """Order the names of splits: train, val, test, the others by name, all."""
    usual = [name for name in USUAL_ORDER if name in names]
    return [*usual, *sorted(names - {*usual, ALL}), ALL]


def _named_images(line: str, images: ImageNames) -> list[str]:
    """List the images that a line may mean: the image itself, or image and mask as in published lists, where the first word counts."""
    first = line.split()[0]
    for word, exactly in ((line, True), (first, True), (first, False), (line, False)):
        if len(found := images.matches(word, exactly)) == 1:
            return found
    return images.matches(line) or images.matches(first)


def names_images(path: Path, images: ImageNames) -> bool:
    """Whether a text file is a list of images: whether one of its first lines names one."""
    try:
        lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    except DataError:
        return False
    return not lines or any(_named_images(line, images) for line in lines[:_FIRST_LINES])


def _place(image_id: str, seed: int) -> float:
    """Hash an id to a number in [0, 1)."""
    digest = hashlib.blake2b(f"{seed}:{image_id}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64
