"""Masks of an instance in the format of another tool."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labelseg.class_ids import IGNORE
from labelseg.data.dataset import image_file
from labelseg.errors import DataError, UsageError
from labelseg.exchange.writers.formats import FORMATS
from labelseg.exchange.writers.publication import demand_new, published
from labelseg.exchange.writers.samples import Picture, Sample, Target
from labelseg.pipeline.files.paths import below
from labelseg.results.exchange.file_size import mask_of_file
from labelseg.working_size import enlarged

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from labelseg.pipeline.store.artifacts import Artifact
    from labelseg.workspace import Workspace


@dataclass
class Exported:
    """What was written.

    Attributes:
        masks: How many.
        losses: What the format did not take, a line each.
        failed: Image -> why it could not be written.
    """

    masks: int = 0
    losses: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Choices:
    """How a format is to be written.

    Attributes:
        polygons: Write polygons where run lengths are usual.
        images: Copy images where a format can do without.
        min_confidence: Pixels of less confidence become 255; None leaves all as they are.
    """

    polygons: bool = False
    images: bool = False
    min_confidence: float | None = None


def refuse_choices(name: str, output: Path, choices: Choices) -> None:
    """Refuse what a format has no choice of, and a place that it cannot be written to.

    Raises:
        UsageError: it has no polygons, or copies images always or never; the name is no archive; something is there.
    """
    form = FORMATS[name]
    if choices.polygons and not form.polygons:
        raise UsageError(f"export --format {name}: --polygons belongs to {_able(lambda other: other.polygons)}.")
    if choices.images and form.images != "request":
        raise UsageError(
            f"export --format {name}: images are copied {form.images}. --images belongs to {_able(lambda o: o.images == 'request')}."
        )
    if form.archive and output.suffix.lower() != ".zip":
        raise UsageError(f"-o {output}: {name} is one file. Name it: -o {output}.zip")
    if not form.archive and output.suffix.lower() in (".zip", ".json", ".txt", ".xml"):
        raise UsageError(f"-o {output}: {name} is a folder of files. Name one: -o {output.with_suffix('')}")
    demand_new(output)


def export_as(
    workspace: Workspace,
    artifacts: Mapping[str, Artifact],
    classes: tuple[str, ...],
    output: Path,
    name: str,
    choices: Choices,
    on_mask: Callable[[], Any],
) -> Exported:
    """Write masks in the format of another tool, one after the other; the folder or archive appears whole or not at all.

    Args:
        workspace: Where the images are.
        artifacts: Split -> what to write.
        classes: Those that the masks were made with.
        output: The folder, or the zip archive.
        name: One of ``FORMATS``.
        choices: How.
        on_mask: Called after each mask.

    Raises:
        UsageError: as ``refuse_choices``, or an image is in several splits.
        DataError: nothing could be written.
    """
    refuse_choices(name, output, choices)
    refuse_twice(artifacts)
    form, done = FORMATS[name], Exported()
    suffix = _common_suffix(workspace, artifacts) if form.one_suffix else ""
    with published(output, archive=form.archive) as folder:
        target = Target(
            folder, classes, tuple(artifacts), output.stem if form.archive else output.name, choices.polygons, choices.images, suffix
        )
        writer = form.open(target)
        for split, artifact in artifacts.items():
            for image_id in artifact:
                below(folder, f"{image_id}.png")
                try:
                    writer.add(
                        Sample(
                            image_id, split, read_mask(workspace, artifact, image_id, choices.min_confidence), picture(workspace, image_id)
                        )
                    )
                    done.masks += 1
                except DataError as error:
                    done.failed[image_id] = str(error)
                on_mask()
        if not done.masks:
            raise DataError(f"no mask could be written. The first: {next(iter(done.failed.values()), 'there is none')}")
        writer.finish()
    done.losses = writer.losses()
    return done


def read_mask(workspace: Workspace, artifact: Artifact, image_id: str, min_confidence: float | None) -> NDArray[np.uint8]:
    """Read a mask (H, W) uint8 at the size of its file, with 255 where the confidence is less than asked for."""
    arrays = artifact[image_id]
    mask = mask_of_file(workspace.dataset, image_id, arrays)
    if min_confidence is None:
        return mask
    doubtful = enlarged(arrays["confidence"] < min_confidence, (mask.shape[0], mask.shape[1]))
    return np.where(doubtful, IGNORE, mask).astype(np.uint8)


def demand_confidence(artifact: Artifact, name: str) -> None:
    """Refuse ``--min-confidence`` for masks that say nothing of it.

    Raises:
        UsageError: an item holds no confidence.
    """
    first = next(iter(artifact), None)
    if first is not None and "confidence" not in artifact[first]:
        raise UsageError(f"export --min-confidence: {name} writes no confidence. Name masks of a network, such as those of segment.")


def refuse_twice(artifacts: Mapping[str, Artifact]) -> None:
    """Refuse splits that share an image: which of its masks should count?

    Raises:
        UsageError: an image is in two of them.
    """
    for (first, artifact), (second, other) in combinations(artifacts.items(), 2):
        for image_id in sorted(artifact):  # looked up leaf after leaf
            if image_id in other:
                raise UsageError(f"export: {image_id} is in the splits {first} and {second}. Name splits that share no image.")


def picture(workspace: Workspace, image_id: str) -> Picture:
    """Find the image of a mask.

    Raises:
        DataError: the data has no such image any more.
    """
    dataset = workspace.dataset.at_file_size()
    return Picture(image_file(dataset, image_id), lambda: dataset.image(image_id))


def _common_suffix(workspace: Workspace, artifacts: Mapping[str, Artifact]) -> str:
    """Find the suffix that all images have, or ``.png``; one that cannot be read has none."""
    suffixes = set()
    for image_id in _ids(artifacts):
        try:
            suffixes.add(picture(workspace, image_id).copied_suffix())
        except DataError:
            continue
        if len(suffixes) > 1:
            return ".png"
    return suffixes.pop() if suffixes else ".png"


def _ids(artifacts: Mapping[str, Artifact]) -> Iterator[str]:
    for artifact in artifacts.values():
        yield from artifact


def _able(is_able: Callable[[Any], bool]) -> str:
    """List the formats that can do something."""
    return " and ".join(name for name, form in FORMATS.items() if is_able(form))
