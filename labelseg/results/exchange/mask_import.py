"""Masks from elsewhere: corrected ones, or those of another program, kept beside the workspace for an instance that reads them."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from labelseg.answers.correction_files import Correction, append_corrections, corrections_path, masks_folder, read_corrections, store_mask
from labelseg.asides.making import clear_asides
from labelseg.class_ids import IGNORE
from labelseg.data.formats.palette import voc_palette
from labelseg.errors import DataError
from labelseg.exchange.readers.formats import READERS, sniff
from labelseg.exchange.readers.incoming import ClassNames
from labelseg.pipeline.engines.progress import show_progress
from labelseg.results.exchange.file_size import mask_of_file, upright_size
from labelseg.suggestions import suggestion

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from labelseg.pipeline.store.artifacts import Artifact
    from labelseg.workspace import Workspace

BATCH = 256  # masks between two lines of the file


@dataclass
class Imported:
    """What became of the masks of a file.

    Attributes:
        form: Its format.
        taken: Images whose mask counts from now on.
        same: Images whose mask counted before.
        untouched: Images whose mask is still that of the stage it came from.
        refused: Place in the file -> why the mask there was not taken.
        bad: Lines of the file of corrections that cannot be read.
    """

    form: str
    taken: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    untouched: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    bad: list[str] = field(default_factory=list)


def import_masks(
    workspace: Workspace, instance: str, path: Path, form: str | None, who: str, changed_from: Sequence[Artifact] = ()
) -> Imported:
    """Take the masks of a file or folder for an instance; one that cannot be used costs no other.

    Args:
        workspace: The workspace.
        instance: Whose masks they will be.
        path: The folder or file.
        form: Its format; None finds out.
        who: Who made them, where the file does not tell.
        changed_from: Masks of the stage that went out; a mask that is still the same is left out.

    Raises:
        DataError: the path is none of the formats, or holds no mask.
    """
    form = form or sniff(path)
    classes = workspace.dataset.classes
    file = corrections_path(workspace.root, instance)
    there = read_corrections(file)
    counted, done = there.current(), Imported(form, bad=[str(line) for line in there.bad])
    places: dict[str, str] = {}
    lines: list[Correction] = []
    found = list(READERS[form](path, ClassNames(classes)))
    with show_progress(len(found), "import-masks") as progress:
        for incoming in found:
            progress.update(1)
            try:
                image = workspace.dataset.resolve(incoming.name, incoming.where)
                if image in places:
                    raise DataError(f"{incoming.where}: a mask of {image} came before, in {places[image]}.")
                mask = checked(incoming.read(upright_size(workspace.dataset, image)), len(classes), incoming.where)
            except DataError as error:
                done.refused[incoming.where] = str(error)
                continue
            places[image] = incoming.where
            sent = (mask_of_file(workspace.dataset, image, artifact[image]) for artifact in changed_from if image in artifact)
            if any(is_same(mask, one) for one in sent):
                done.untouched.append(image)
                continue
            digest = store_mask(workspace.root, as_png(mask))
            last = counted.get(image)
            if last is not None and (last.mask, last.classes) == (digest, classes):
                done.same.append(image)
                continue
            done.taken.append(image)
            given = incoming.who or who
            lines.append(Correction(image, digest, classes, who=given, when=incoming.when, source=str(path), form=form))
            if len(lines) == BATCH:
                append_corrections(file, lines)
                lines = []
    append_corrections(file, lines)
    for folder in masks_folder(workspace.root).glob("*/"):
        clear_asides(folder)
    if not places and not done.refused:
        raise DataError(f"{path}: expected masks of images, found none that somebody made. Read as {form}; another: --format")
    return done


def withdraw(workspace: Workspace, instance: str, names: Iterable[str], who: str) -> list[str]:
    """Have the imported masks of some images count no longer.

    Args:
        workspace: The workspace.
        instance: Whose masks they are.
        names: Images, as a person writes them.
        who: Who says so.

    Returns:
        The images.

    Raises:
        DataError: there is no such image, or no mask was imported for it. Then nothing is withdrawn.
    """
    file = corrections_path(workspace.root, instance)
    counted = read_corrections(file).current()
    # The mask of an image that has left the data can be withdrawn too, by the id that its line has.
    images = [name if name in counted else workspace.dataset.resolve(name, "import-masks --withdraw") for name in names]
    for image in images:
        if image not in counted:
            raise DataError(f"import-masks --withdraw: no mask of {image} was imported for {instance}.{suggestion(image, counted)}")
    append_corrections(file, [Correction(image, None, (), who=who) for image in dict.fromkeys(images)])
    return images


def is_same(mask: NDArray[np.uint8], sent: NDArray[np.uint8]) -> bool:
    """Whether a mask is the one that was sent: in every pixel, but for those of 255 that a format had to write as background.

    Args:
        mask: (H, W), what came back.
        sent: (H, W), what went out.
    """
    return mask.shape == sent.shape and bool(((mask == sent) | ((sent == IGNORE) & (mask == 0))).all())


def checked(mask: NDArray[Any], count: int, where: str) -> NDArray[np.uint8]:
    """Refuse ids that are no class.

    Args:
        mask: (H, W) ids.
        count: Number of classes.
        where: Begins a message.

    Returns:
        (H, W) uint8.

    Raises:
        DataError: an id is neither a class nor 255.
    """
    wrong = [value for value in np.unique(mask).tolist() if value >= count and value != 255]
    if wrong:
        raise DataError(f"{where}: value {wrong[0]} is no class: expected 0 to {count - 1} or 255.")
    return mask.astype(np.uint8)


def as_png(mask: NDArray[np.uint8]) -> bytes:
    """Write a mask (H, W) uint8 as the bytes of a palette PNG."""
    image = Image.fromarray(np.ascontiguousarray(mask)).convert("L")
    image.putpalette(voc_palette().tobytes())
    data = io.BytesIO()
    image.save(data, format="PNG")
    return data.getvalue()
