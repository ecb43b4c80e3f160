"""Data in the forms of other tools, written once as a folder of images, a table of tags, masks and a list of classes."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from labelseg.class_ids import BACKGROUND
from labelseg.data.folder.image_ids import ImageIndex, scan_files
from labelseg.data.folder.images import UNREADABLE, image_size, opened
from labelseg.data.folder.labels import check_classes, read_classes
from labelseg.data.formats.png import write_palette_png
from labelseg.errors import DataError
from labelseg.exchange.readers.array_files import read_arrays, take_array
from labelseg.exchange.readers.formats import CALLED, READERS, TAGS, sniff
from labelseg.exchange.readers.incoming import IGNORED, ClassNames, ImageTags
from labelseg.wording import counted, some_of

STACKS = frozenset({".tif", ".tiff"})
ANNOTATIONS = (".json", ".xml", ".zip")
ARRAYS = (".npy", ".npz")


@dataclass
class Taken:
    """What was written.

    Attributes:
        parts: Key of ``[data]`` -> what was written for it.
        told: What each path was taken for, a line each.
    """

    parts: dict[str, Path] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)


def needs_taking(parts: dict[str, Path]) -> bool:
    """Whether some part of the data is in a form that is written anew: a stack, annotations, or arrays."""
    labels, masks, images = (parts.get(key) for key in ("labels", "masks", "images"))
    if images is None:
        return False
    return _is_foreign(labels) or (masks is not None and masks.is_file()) or images.is_file() or bool(stacks(images))


def take_in(parts: dict[str, Path], out: Path) -> Taken:
    """Write the parts of a dataset that are in other forms.

    Args:
        parts: ``images``, and of ``labels``, ``masks``, ``classes`` those there are.
        out: Folder to write to.

    Raises:
        DataError: a part is in none of the forms that are known, or nothing of it can be used.
    """
    taken = Taken()
    images, masks, labels = parts["images"], parts.get("masks"), parts.get("labels")
    if images.is_file() or stacks(images):
        images = _take_stacks(images, out / "images", "images", taken)
        if masks is not None and (masks.suffix.lower() in STACKS or (masks.is_dir() and stacks(masks))):
            only = masks.is_file()
            masks = _take_stacks(masks, out / "masks", "masks", taken, parts["images"].stem if only and parts["images"].is_file() else "")
    source = masks if masks is not None and masks.is_file() else None
    form = sniff(source) if source is not None else ""
    if labels is None and form in TAGS:
        labels = source
    listed = read_classes(parts["classes"]) if "classes" in parts else None
    rows: list[ImageTags] = []
    names: tuple[str, ...] = ()
    if labels is not None and labels.suffix.lower() in ANNOTATIONS:
        kind = sniff(labels)
        if kind not in TAGS:
            raise DataError(f"{labels}: expected annotations that name what is in each image, found {CALLED[kind]}. Give it as --masks.")
        rows, names = TAGS[kind](labels)
    elif source is not None and form in TAGS:
        _, names = TAGS[form](source)
    classes = listed or check_classes((BACKGROUND, *(name for name in names if name not in (BACKGROUND, *IGNORED))), str(labels or source))
    left = frozenset(names) - {*classes, BACKGROUND, *IGNORED}
    if left:
        taken.told.append(
            f"left out, since {parts.get('classes')} does not list them: {some_of(sorted(left))}; in masks they are background"
        )
    if labels is not None and _is_foreign(labels):
        _take_tags(labels, rows, classes, ImageIndex(images, masks if masks and masks.is_dir() else None), out / "labels.csv", taken)
    if source is not None:
        _take_masks(source, form, ClassNames(classes, left), images, out / "masks", taken)
    if listed is None and names:
        out.mkdir(parents=True, exist_ok=True)
        (out / "classes.txt").write_text("\n".join(classes) + "\n", encoding="utf-8")
        taken.parts["classes"] = out / "classes.txt"
    return taken


def stacks(folder: Path) -> list[str]:
    """List the files below a folder that hold several pictures of one size, as paths below it."""
    return [name for name in scan_files(folder, STACKS) if len(_sizes(folder / name)) > 1] if folder.is_dir() else []


def _is_foreign(labels: Path | None) -> bool:
    return labels is not None and labels.is_file() and labels.suffix.lower() in (*ANNOTATIONS, *ARRAYS)


def _sizes(path: Path) -> list[tuple[int, int]]:
    """The size of each frame of a file where all are the same; else that of the first: a second picture of another size is no frame."""
    try:
        with opened(path) as image:
            sizes = []
            for k in range(getattr(image, "n_frames", 1)):
                image.seek(k)
                sizes.append(image.size)
    except UNREADABLE as error:
        raise DataError(f"{path}: expected a TIFF file, found none that can be read: {error}. Save it anew.") from error
    return sizes if len(set(sizes)) == 1 else sizes[:1]


def _frames(path: Path) -> Iterator[Image.Image]:
    """Read the frames of a stack."""
    sizes = _sizes(path)
    try:
        with opened(path) as image:
            for k in range(len(sizes)):
                image.seek(k)
                yield image.copy()
    except UNREADABLE as error:
        raise DataError(f"{path}: expected a whole stack of {counted(len(sizes), 'frame')}: {error}. Save it anew.") from error


def _take_stacks(path: Path, out: Path, what: str, taken: Taken, stem: str = "") -> Path:
    """Write each frame of a stack, or of all files of a folder, to a file of its own: ``NAME/0000.tif``."""
    if path.is_file() and path.suffix.lower() not in STACKS:
        raise DataError(
            f"{path}: expected a folder, or a stack of pictures ({', '.join(sorted(STACKS))}), found another file. Name its folder."
        )
    files = [path.name] if path.is_file() else scan_files(path, STACKS)
    folder = path.parent if path.is_file() else path
    count = 0
    for name in files:
        target = out / (Path(stem) if stem else Path(name).with_suffix(""))
        target.mkdir(parents=True, exist_ok=True)
        for k, frame in enumerate(_frames(folder / name)):
            frame.save(target / f"{k:04}.tif", compression="tiff_deflate")
            count += 1
    taken.parts[what] = out
    taken.told.append(f"{what}: {path} is {counted(len(files), 'stack')} of {counted(count, 'frame')}, each written to a file in {out}")
    return out


def _take_tags(path: Path, rows: Sequence[ImageTags], classes: tuple[str, ...], index: ImageIndex, out: Path, taken: Taken) -> None:
    """Write the table of tags."""
    first = 1 if classes[0] == BACKGROUND else 0
    table: list[tuple[str, list[str]]] = []
    kind = "an array of tags"
    if path.suffix.lower() in ARRAYS:
        table = [
            (image_id, [classes[first + k] for k in np.flatnonzero(row)]) for image_id, row in _array_rows(path, classes[first:], index.ids)
        ]
    else:
        kind = CALLED[sniff(path)]
        table = [(row.name, [label for label in row.labels if label in classes[first:]]) for row in rows]
    there = [(name, labels) for name, labels in table if index.matches(name)]
    if not there:
        found = f"{len(table):,} of other images, such as {table[0][0]!r}" if table else "none"
        raise DataError(
            f"{path}: expected tags of images such as {index.ids[0]!r}, found {found}. Name the folder of its images: --images DIR"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("image", "labels"))
        writer.writerows((index.resolve(name, str(path)), ";".join(labels)) for name, labels in there)
    taken.parts["labels"] = out
    rest = f"; left out, as not in the folder: {counted(len(table) - len(there), 'image')}" if len(there) < len(table) else ""
    taken.told.append(f"labels: {path} is {kind}: tags of {counted(len(there), 'image')}, written to {out}{rest}")


def _array_rows(path: Path, names: Sequence[str], ids: Sequence[str]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Read an array (N, C) of 0 and 1: a row for each image in the order of ids, a column for each class but the background."""
    values = take_array(read_arrays(path), "tags", path)
    if not names:
        raise DataError(f"{path}: an array of tags names no classes. List them in the order of its columns, one a line: --classes FILE")
    if values.shape != (len(ids), len(names)) or not np.isin(values, (0, 1)).all():
        alike = values.shape == (len(ids), len(names))
        other = f"the value {values[~np.isin(values, (0, 1))].flat[0]:g}" if alike else f"the shape {values.shape}"
        raise DataError(
            f"{path}: expected 0 and 1 of {len(ids)} images, in the order of their names, and {len(names)} classes, without {BACKGROUND}; "
            f"got {other}. Or write a table: image,labels"
        )
    yield from zip(ids, values.astype(bool), strict=True)


def _take_masks(path: Path, form: str, names: ClassNames, images: Path, out: Path, taken: Taken) -> None:
    """Write the masks of annotated images; one that cannot be read is told and left out."""
    index = ImageIndex(images, None)
    done: set[str] = set()
    refused: list[str] = []
    elsewhere = 0
    for incoming in READERS[form](path, names):
        if not index.matches(incoming.name):
            elsewhere += 1
            continue
        try:
            image_id = index.resolve(incoming.name, incoming.where)
            if image_id in done:
                raise DataError(f"{incoming.where}: a mask of {image_id} came before. Leave one of them out.")
            mask = incoming.read(image_size(index.path(image_id)))
        except DataError as error:
            refused.append(str(error))
            continue
        done.add(image_id)
        target = out / f"{image_id}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        write_palette_png(mask, target)
    if not done:
        found = refused[0] if refused else f"those of {elsewhere} other images"
        raise DataError(f"{path}: expected masks of images in {images}, found none that can be used: {found}")
    taken.parts["masks"] = out
    rest = f"; left out, as not in the folder: {counted(elsewhere, 'image')}" if elsewhere else ""
    taken.told.append(f"masks: {path} is {CALLED[form]}: {counted(len(done), 'mask')}, written to {out}{rest}")
    if refused:
        taken.told.append(f"warning: {counted(len(refused), 'mask')} could not be read and is left out, the first: {refused[0]}")
