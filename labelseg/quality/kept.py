"""What was measured of masks, kept in ``.labelseg/quality`` as plain JSON: losing it costs time and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from labelseg.errors import LabelsegError
from labelseg.file_kinds import read_file
from labelseg.pipeline.files.atomic import write_atomically
from labelseg.pipeline.files.paths import below
from labelseg.pipeline.files.seals import BLANK, intact_seal, seal
from labelseg.pipeline.store.manifests import Ref

FORMAT = 1
FOLDER = "quality"
ROUNDING = 1e-6
Parts = Mapping[str, float | bool | None]


@dataclass(frozen=True)
class ImageQuality:
    """What was measured of one mask.

    Attributes:
        id: Id of the image.
        key: Digest of all that entered: measured anew once it changes.
        quality, agreement, kept, confidence: Means over its classes, in [0, 1]; None where nothing tells it.
        classes: Name of a class -> its parts: agreement, kept, confidence, consistent, quality.
        iou: Name of a class that the true mask or this one holds -> its IoU; empty where there is no true mask.
        miou: Mean IoU over the classes that the true mask holds; None without one.
    """

    id: str
    key: str
    quality: float | None = None
    agreement: float | None = None
    kept: float | None = None
    confidence: float | None = None
    classes: Mapping[str, Parts] = field(default_factory=dict)
    iou: Mapping[str, float] = field(default_factory=dict)
    miou: float | None = None


@dataclass(frozen=True)
class Measured:
    """What was measured of the masks of an artifact.

    Attributes:
        instance, split: The artifact.
        digests: Instance -> digest of the artifact, its own and of each that had a say.
        images: In the order of the split.
    """

    instance: str
    split: str
    digests: Mapping[str, str]
    images: tuple[ImageQuality, ...] = ()

    def current(self, ref: Ref, others: list[Ref]) -> bool:
        """Whether it was measured from what stands now."""
        return dict(self.digests) == {entry.instance: entry.digest for entry in (ref, *others)}

    def worst(self, count: int) -> list[ImageQuality]:
        """List the images of least quality; those of which nothing is known are left out."""
        known = [image for image in self.images if image.quality is not None]
        return sorted(known, key=lambda image: (image.quality, image.id))[:count]


def kept_path(folder: Path, instance: str, split: str) -> Path:
    """Name the file of an artifact's qualities in the folder ``.labelseg``."""
    return below(folder / FOLDER, f"{quote(instance, safe='@')}~{quote(split, safe='')}.json")


def keep_measured(folder: Path, measured: Measured) -> None:
    """Write what was measured, whole or not at all."""
    path = kept_path(folder, measured.instance, measured.split)
    path.parent.mkdir(parents=True, exist_ok=True)
    values = {"format": FORMAT, **asdict(measured), "seal": BLANK}
    write_atomically(path, seal(json.dumps(values, allow_nan=False, separators=(",", ":")).encode("ascii")))


def kept_measured(folder: Path, instance: str, split: str) -> Measured | None:
    """Read what was measured; None where nothing was, or nothing that can be read: it is then measured again."""
    try:
        data = read_file(kept_path(folder, instance, split))
        values: dict[str, Any] = json.loads(data)
        intact_seal(data)
        if values["format"] != FORMAT or (values["instance"], values["split"]) != (instance, split):
            return None
        images = tuple(ImageQuality(**image) for image in values["images"])
        return Measured(instance, split, dict(values["digests"]), images) if all(map(_sound, images)) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, LabelsegError):
        return None


def _sound(image: ImageQuality) -> bool:
    """Whether the values of an image are such as are measured."""
    own = (image.quality, image.agreement, image.kept, image.confidence, image.miou, *image.iou.values())
    parts = [part for of_class in image.classes.values() for part in of_class.values()]
    names = (image.id, image.key, *image.iou, *image.classes)
    return all(map(_is_share, (*own, *parts))) and None not in image.iou.values() and all(isinstance(name, str) for name in names)


def _is_share(value: object) -> bool:
    """Whether a value is None, a yes or no, or a number in [0, 1], rounding apart."""
    return value is None or (isinstance(value, int | float) and -ROUNDING <= value <= 1 + ROUNDING)
