"""What the files of a folder of images tell before anything runs: photos turned or huge or passed over, masks that cannot be right."""

from __future__ import annotations

import json
import os
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import TypeVar

import numpy as np

from labelseg.class_ids import IGNORE
from labelseg.data.folder.findings import Finding, Level
from labelseg.data.folder.folder_dataset import FolderDataset
from labelseg.data.folder.image_ids import IMAGE_SUFFIXES, scan_files
from labelseg.data.folder.images import EXIF_ORIENTATION, UNREADABLE, image_size, opened
from labelseg.data.folder.mask_names import MASK_SUFFIXES, fitting_endings
from labelseg.errors import DataError
from labelseg.wording import counted, some_of

PICTURES = (
    ".heic",
    ".heif",
    ".gif",
    ".jfif",
    ".avif",
    ".jp2",
    ".jxl",
    ".dng",
    ".cr2",
    ".nef",
    ".arw",
    ".raw",
    ".svg",
    ".pdf",
    ".npy",
    ".dcm",
)
LIKE_MASKS = (*PICTURES, ".jpg", ".jpeg", ".webp", ".npz", ".json", ".xml", ".mat")
HEADERS, MASKS, QUICKLY = 2000, 100, 16  # files looked at, evenly over all
MEGAPIXELS = 50  # above which a photo is told
LARGE_SIDE, LARGER = 1000, 2  # pixels of the longer side, and times the median, above which an image is far larger than the others
USUAL_SIDE = 512  # proposed at least, pixels of the longer side
T = TypeVar("T")


def naming_of_masks(dataset: FolderDataset, unused: Sequence[str]) -> str:
    """Say how masks that fit no image come to fit.

    Args:
        unused: Their paths below the folder of masks.
    """
    ids = dataset.ids("all")
    endings = fitting_endings(ids, (os.path.splitext(name)[0] for name in unused))
    if endings is None:
        return f"Name a mask as its image: {ids[0]}.png."
    given = {key: ending for key, ending in (("image-suffix", endings.image), ("mask-suffix", endings.mask)) if ending}
    options = " ".join(f"--{key} {shlex.quote(ending)}" for key, ending in given.items())
    keys = ", ".join(f"{key.replace('-', '_')} = {json.dumps(ending)}" for key, ending in given.items())
    return f"They are named as their images but for endings. Name those to labelseg init: {options}; in labelseg.toml under [data]: {keys}."


def evenly(names: Sequence[T], most: int) -> Sequence[T]:
    """Take at most so many of a sequence, evenly over all of it."""
    return names[:: -(-len(names) // most)] if names else names


def file_findings(dataset: FolderDataset, *, masks: bool = True, quick: bool = False, whole: bool = True) -> list[Finding]:
    """Look at the headers of images, and at masks.

    Args:
        dataset: Its files.
        masks: Whether the values of masks are class ids as they stand.
        quick: Look at a few only.
        whole: Whether images are worked on at the size of their files.
    """
    found = list(_image_findings(dataset, QUICKLY if quick else HEADERS, whole=whole))
    return [*found, *_mask_findings(dataset, QUICKLY if quick else MASKS)] if masks else found


def _image_findings(dataset: FolderDataset, most: int, *, whole: bool) -> Iterator[Finding]:
    """Tell of images that are passed over, cannot be read, are huge or dark."""
    others = Counter({suffix: count for suffix, count in dataset.other_files.items() if suffix in PICTURES})
    if others:
        kinds = ", ".join(f"{count:,} {suffix}" for suffix, count in others.most_common())
        known = ", ".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))
        what = f"{counted(others.total(), 'file')} passed over by format ({kinds})"
        yield Finding("warning", str(dataset.images), what, "they are no images of the data", f"Save them as one of {known}.")
    huge: list[tuple[float, str]] = []
    sides: list[tuple[int, str]] = []
    unreadable: list[DataError] = []
    dark: list[str] = []
    ids = evenly(dataset.ids("all"), most)
    for image_id in ids:
        path = dataset.image_path(image_id)
        try:
            height, width = image_size(path)
        except DataError as error:
            unreadable.append(error)
            continue
        sides.append((max(height, width), path.name))
        if height * width > MEGAPIXELS * 1e6:
            huge.append((height * width / 1e6, path.name))
        if len(dark) < QUICKLY and path.suffix.lower() in (".png", ".tif", ".tiff") and _is_dark(path):
            dark.append(path.name)
    if unreadable:
        what = f"{counted(len(unreadable), 'image')} cannot be read, the first: {str(unreadable[0]).rstrip('.')}"
        yield Finding("warning", str(dataset.images), what, "each fails by itself, and the rest goes on", "Repair or remove them.")
    if huge and whole:
        most_pixels, name = max(huge)
        yield Finding(
            "warning", str(dataset.images), f"{counted(len(huge), 'image')} over {MEGAPIXELS} megapixels, {name} of {most_pixels:.0f}",
            f"one takes some {most_pixels * 0.1:.0f} GB of memory and many minutes",
            "Have them worked on smaller: labelseg config data.long_side 1024",
        )  # fmt: skip
    if whole:
        yield from _larger(str(dataset.images), sides)
    if dark:
        yield Finding(
            "warning", str(dataset.images), f"16 bits, of which 12 or fewer are used: {some_of(dark)}", "read as nearly black",
            "Scale them first: docs/data.md has the lines.",
        )  # fmt: skip


def _larger(where: str, sides: Sequence[tuple[int, str]]) -> Iterator[Finding]:
    """Tell of images far larger than the others, given the longer side and the name of each."""
    usual = int(median(side for side, _ in sides)) if sides else 0
    larger = [(side, name) for side, name in sides if side > LARGE_SIDE and side > LARGER * usual]
    if larger:
        side, name = max(larger)
        share = f"{len(larger):,} of {counted(len(sides), 'image')} looked at"
        what = f"{share} far larger than the median of {usual:,} pixels, {name} of {side:,} the largest"
        remedy = f"Have them worked on smaller: labelseg config data.long_side {max(USUAL_SIDE, usual)}"
        yield Finding("warning", where, what, "each is worked on at its own size, which takes its time and memory", remedy)


def _is_dark(path: Path) -> bool:
    """Whether a grey file of 16 bits uses a sixteenth of its range or less, as scans of 12 bits do."""
    try:
        with opened(path) as image:
            if not image.mode.startswith("I"):
                return False
            image.draft("I", (256, 256))
            _, highest = image.getextrema()
    except UNREADABLE:
        return False
    return isinstance(highest, int | float) and 0 < highest < 4096


def _mask_findings(dataset: FolderDataset, most: int) -> Iterator[Finding]:
    """Tell of masks that fit no image, are turned, hold no class, or have colours that disagree with their values."""
    if dataset.masks is None:
        return
    yield from _strange_names(dataset)
    with_mask = [image_id for image_id in dataset.ids("all") if dataset.has(image_id, "mask")]
    yield from _turned(dataset, evenly(with_mask, HEADERS if most == MASKS else QUICKLY))
    looked_at = evenly(with_mask, most)
    errors: list[DataError] = []
    only_ends: list[str] = []
    read = 0
    present: Counter[int] = Counter()
    for image_id in looked_at:
        try:
            ids = np.unique(dataset.mask(image_id)).tolist()
        except DataError as error:
            errors.append(error)
            continue
        read += 1
        present.update(ids)
        if set(ids) <= {0, IGNORE} and IGNORE in ids:
            only_ends.append(dataset.mask_path(image_id).name)
    share = f"{len(errors):,} of {len(looked_at):,} masks looked at" if len(looked_at) > 1 else "the mask"
    if errors:
        level: Level = "warning" if read else "error"
        what = f"{share} cannot be used, the first: {str(errors[0]).rstrip('.')}"
        yield Finding(level, str(dataset.masks), what, "" if not read else "each costs its image only")
    if read and len(only_ends) == read and len(dataset.classes) > 1:
        yield Finding(
            "error", str(dataset.masks), f"masks hold 0 and {IGNORE} only, and {IGNORE} means ignore", "the object counts nowhere",
            "Write the number of the class in place of 255: docs/data.md has the line.",
        )  # fmt: skip
    elif read and not set(present) - {0, IGNORE} and dataset.has_background and len(dataset.classes) > 1:
        yield Finding(
            "warning", str(dataset.masks), f"{counted(read, 'mask')} looked at, no pixel of any class but background", "scores say nothing"
        )
    elif only_ends and len(dataset.classes) > 1:
        verb = "holds" if len(only_ends) == 1 else "hold"
        what = f"{len(only_ends):,} of {counted(read, 'mask')} looked at {verb} nothing but 0 and {IGNORE}"
        yield Finding(
            "warning", str(dataset.masks), f"{what} while others hold classes, {only_ends[0]} the first",
            f"they count as background alone, as {IGNORE} means ignore",
            f"If {IGNORE} is the object there, write the number of its class in its place: docs/data.md has the line.",
        )  # fmt: skip
    yield from _palettes(dataset, looked_at)


def _strange_names(dataset: FolderDataset) -> Iterator[Finding]:
    """Tell of files among the masks that are masks of no image, or no masks."""
    assert dataset.masks is not None
    unused = dataset.unused_masks()
    if unused:
        what = f"{counted(len(unused), 'mask')} with the name of no image: {some_of(unused)}"
        yield Finding("warning", str(dataset.masks), what, "not used", naming_of_masks(dataset, unused))
    others = Counter(Path(name).suffix.lower() for name in scan_files(dataset.masks, frozenset(LIKE_MASKS)))
    if dataset.masks.resolve() != dataset.images.resolve() and others:
        kinds = ", ".join(f"{count:,} {suffix}" for suffix, count in others.most_common())
        jpeg = " (JPEG changes values along every edge)" if others.keys() & {".jpg", ".jpeg"} else ""
        known = ", ".join(sorted(suffix[1:] for suffix in MASK_SUFFIXES))
        what = f"{counted(others.total(), 'file')} of other formats ({kinds})"
        yield Finding("warning", str(dataset.masks), what, "not read as masks", f"Save masks as one of {known}{jpeg}.")


def _turned(dataset: FolderDataset, ids: Sequence[str]) -> Iterator[Finding]:
    """Tell of photos that are turned upright when they are read, with a mask whose size does not tell whether it is."""
    turned = []
    for image_id in ids:
        try:
            with opened(dataset.image_path(image_id)) as image:
                if image.getexif().get(EXIF_ORIENTATION, 1) != 1:
                    turned.append(image_id)
        except UNREADABLE:
            continue
    if turned:
        name = dataset.image_path(turned[0]).name
        yield Finding(
            "warning", str(dataset.images), f"{counted(len(turned), 'photo')} with a mask turned upright by EXIF rotation, such as {name}",
            "a mask drawn on the photo as it is stored would lie wrong", "Look at one over its image, and turn these masks alike.",
        )  # fmt: skip


def _palettes(dataset: FolderDataset, ids: Sequence[str]) -> Iterator[Finding]:
    """Tell of palettes in which one colour stands for one value here and for another there, as of masks saved one by one."""
    first: dict[tuple[int, ...], tuple[int, str]] = {}
    by_value: defaultdict[int, set[tuple[int, ...]]] = defaultdict(set)
    clash = ""
    for image_id in ids:
        path = dataset.mask_path(image_id)
        try:
            with opened(path) as image:
                if image.mode != "P":
                    continue
                colours = np.reshape(image.getpalette("RGB") or [], (-1, 3))
                values = [k for k in np.unique(np.asarray(image)).tolist() if k < len(colours)]
        except UNREADABLE:
            continue
        used = {k: tuple(colours[k].tolist()) for k in values}
        if len(set(used.values())) < len(used):
            continue  # colours that stand for several values in one file tell nothing
        for value, colour in used.items():
            known, name = first.setdefault(colour, (value, path.name))
            by_value[value].add(colour)
            if known != value and not clash:
                clash = f"colour {colour} is {known} in {name} and {value} in {path.name}"
    if clash and any(len(colours) > 1 for colours in by_value.values()):
        yield Finding(
            "error", str(dataset.masks), f"each mask has a palette of its own: {clash}", "one class would be learned and scored as another",
            "Write them with one palette, by colour: docs/data.md has the lines.",
        )  # fmt: skip
