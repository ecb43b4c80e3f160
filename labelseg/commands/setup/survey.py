"""What is in the data, as far as it is cheap to find out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from labelseg.commands.tables import format_table
from labelseg.errors import DataError

if TYPE_CHECKING:
    from labelseg.protocols import Dataset

USUAL_SIDE = 1000  # pixels above which images are larger than the settings are made for
LARGE_PIXELS = 2_000_000  # above which a working size is set
SIDE_FROM_TAGS, SIDE_FROM_MASKS = 512, 1024  # proposed, pixels: settings for tags were found on photos of 320 to 500
SAMPLED = 2000  # images whose size is looked up


@dataclass
class Survey:
    """What was found in the data: images by split, how often tags name each class, and of files the median longer side and pixels, and the
    longest side."""

    classes: tuple[str, ...]
    images: dict[str, int] = field(default_factory=dict)
    tagged: dict[str, int] = field(default_factory=dict)
    masked: dict[str, int] = field(default_factory=dict)
    by_class: Counter[int] = field(default_factory=Counter)
    long_side: int = 0
    pixels: int = 0
    longest_side: int = 0

    def holds(self, split: str, kind: str) -> bool:
        """Whether some image of a split has tags or a mask."""
        return {"tags": self.tagged, "mask": self.masked}.get(kind, self.images).get(split, 0) > 0


def survey_data(dataset: Dataset, table: Mapping[str, Any]) -> Survey:
    """Read everything that is cheap to read, and one image of every split.

    Raises:
        LabelsegError: something is not what it should be.
    """
    survey = Survey(dataset.classes)
    for split in dataset.splits():
        ids = dataset.ids(split)
        tagged = [image_id for image_id in ids if dataset.has(image_id, "tags")]
        masked = [image_id for image_id in ids if dataset.has(image_id, "mask")]
        survey.images[split], survey.tagged[split], survey.masked[split] = len(ids), len(tagged), len(masked)
        dataset.image(ids[0])
    for image_id in dataset.ids("all"):
        survey.by_class.update(dataset.tags(image_id) or ())
    _check_found(dataset, survey, table)
    survey.long_side, survey.pixels, survey.longest_side = _sizes(dataset)
    return survey


def _sizes(dataset: Dataset) -> tuple[int, int, int]:
    """Look up the median longer side and pixels of some images, and the longest side; 0 where the data is not files."""
    from labelseg.data.folder.images import image_size

    ids = dataset.ids("all")
    sizes = []
    for image_id in ids[:: -(-len(ids) // SAMPLED)]:
        path = dataset.identity(image_id, "image")
        if isinstance(path, Path):
            with suppress(DataError):  # reported when it is computed
                sizes.append(image_size(path))
    if not sizes:
        return 0, 0, 0
    return int(median(map(max, sizes))), int(median(h * w for h, w in sizes)), max(map(max, sizes))


def proposed_side(survey: Survey, *, from_tags: bool) -> int:
    """Propose a working size, pixels of the longer side; 0 where images are small enough as they are."""
    return 0 if survey.pixels <= LARGE_PIXELS else SIDE_FROM_TAGS if from_tags else SIDE_FROM_MASKS


def _check_found(dataset: Dataset, survey: Survey, table: Mapping[str, Any]) -> None:
    """Refuse labels and masks that belong to none of the images."""
    from labelseg.data.folder.file_checks import naming_of_masks
    from labelseg.data.folder.folder_dataset import FolderDataset

    if "masks" in table and not survey.masked["all"]:
        naming = naming_of_masks(dataset, dataset.unused_masks()) if isinstance(dataset, FolderDataset) else ""
        raise DataError(f"{table['masks']}: none of its masks has the name of an image. {naming}")
    if "labels" in table and not survey.tagged["all"]:
        raise DataError(f"{table['labels']}: names none of the images.")


def survey_report(survey: Survey) -> str:
    """Write what was found."""
    rows = [(split, f"{count:,}", f"{survey.tagged[split]:,}", f"{survey.masked[split]:,}") for split, count in survey.images.items()]
    splits = format_table(("SPLIT", "IMAGES", "TAGGED", "MASKS"), rows, right=("IMAGES", "TAGGED", "MASKS"))
    named = ", ".join(f"{name} {survey.by_class[k]:,}" if survey.by_class[k] else name for k, name in enumerate(survey.classes))
    lines = [splits, f"{len(survey.classes)} classes, with the number of images tagged: {named}"]
    if survey.long_side:
        largest = f", {survey.longest_side:,} of the largest" if survey.longest_side > survey.long_side else ""
        lines.append(f"longer side of the images: {survey.long_side:,} pixels (median){largest}")
    if survey.long_side > USUAL_SIDE and survey.pixels <= LARGE_PIXELS:
        lines.append(
            "  That is large: images are worked on at the size of their files, and the defaults suit 300 to 500 pixels. A working size "
            "takes a fraction of the time and memory: labelseg config data.long_side 512"
        )
    return "\n".join(lines)
