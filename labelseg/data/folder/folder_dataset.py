"""A folder of images as a dataset."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelseg.class_ids import BACKGROUND
from labelseg.data.folder.findings import Finding
from labelseg.data.folder.image_ids import ImageIndex
from labelseg.data.folder.label_tables import LabelTable, class_folders, labels_in, read_table
from labelseg.data.folder.labels import infer_classes, read_classes, read_labels, read_voc_annotation
from labelseg.data.folder.mask_names import Endings, MaskIndex
from labelseg.data.folder.splits import ALL, HELD_OUT, USUAL_ORDER, find_lists, fraction_splits, names_images, order_names, read_split
from labelseg.errors import DataError, UsageError
from labelseg.protocols import Kind
from labelseg.suggestions import suggestion, unknown_split
from labelseg.wording import counted, some_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class FolderDataset:
    """A folder of images, with tags, masks and splits where there are any.

    What the files say is read once, when first asked for; a later change of the files needs a new object.

    Attributes:
        images: Folder of the images.
        classes_from: Class names, a file of them, or None to take those the label table names.
        labels: Label table, or None.
        annotations: Folder of VOC annotations to take tags from, or None.
        masks: Folder of masks, or None.
        split_lists: Folders of lists.
        fractions: Share of the images by split, dealt out among the images that no list of ``val`` or ``test`` holds.
        fraction_seed: Seed of that dealing.
        endings: Of the names of images and masks, where those differ.
    """

    images: Path
    classes_from: Path | tuple[str, ...] | None = None
    labels: Path | None = None
    annotations: Path | None = None
    masks: Path | None = None
    split_lists: tuple[Path, ...] = ()
    fractions: Mapping[str, float] = field(default_factory=dict)
    fraction_seed: int = 0
    endings: Endings = field(default_factory=Endings)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Class names by id.

        Raises:
            DataError: the class file is wrong, or nothing names classes.
        """
        if isinstance(self.classes_from, tuple):
            return self.classes_from
        if self.classes_from is not None:
            return read_classes(self.classes_from)
        # Ids in masks follow the order of a list; names collected from a table have none.
        if self.labels is None or self.masks is not None:
            held = "masks hold ids, and nothing names their classes" if self.masks is not None else "the data names no classes"
            raise DataError(
                f"{held}. Write the names to a file, one a line, background first, and give it to labelseg init: --classes FILE; "
                "in a workspace that is there: labelseg config data.classes FILE"
            )
        return infer_classes(self._table)

    @property
    def has_background(self) -> bool:
        """Whether class 0 is the background."""
        return self.classes[0] == BACKGROUND

    def splits(self) -> list[str]:
        """Names of the splits: listed, dealt out by fractions, ``train`` and ``all``."""
        return order_names({*self._lists, *self.fractions, "train", ALL})

    def ids(self, split: str) -> list[str]:
        """Sorted ids of a split; without a list ``train`` is every image outside ``val`` and ``test``.

        Raises:
            UsageError: there is no such split.
            DataError: its list names no image, an unknown one, or one twice.
        """
        if split not in self.splits():
            other = next((f" {path} is there, but names no image." for path in self._other_texts if path.stem == split), "")
            raise UsageError(unknown_split(split, self.splits(), other))
        if split not in self._read_splits:
            self._read_splits[split] = self._ids(split)
        if not self._read_splits[split]:
            raise DataError(f"split '{split}' holds no image.")
        return list(self._read_splits[split])

    def matches(self, name: str, exactly: bool = False) -> list[str]:
        """List the ids that a name may mean."""
        return self._index.matches(name, exactly)

    def resolve(self, name: str, where: str) -> str:
        """Find the id that a name means, by the rules of ``ImageIndex.matches``.

        Raises:
            DataError: no image or several images have that name.
        """
        return self._index.resolve(name, where)

    def has(self, image_id: str, kind: Kind) -> bool:
        """Whether there is an image, tags or a mask under this id."""
        if (kind == "mask" and self.masks is None) or image_id not in self._index.files:
            return False
        if kind == "tags":
            annotation = self._annotation(image_id)
            return image_id in self._tags if annotation is None else annotation.is_file()
        return kind == "image" or self._mask_path(image_id) is not None

    def image_path(self, image_id: str) -> Path:
        """The file of an image.

        Raises:
            DataError: no image has this id.
        """
        return self._index.path(image_id)

    def mask_path(self, image_id: str) -> Path:
        """The file of a mask.

        Raises:
            DataError: there is none.
        """
        self._index.path(image_id)
        path = self._mask_path(image_id)
        if path is None:
            raise DataError(f"'{image_id}' has no mask{f' in {self.masks}' if self.masks else ''}.")
        return path

    def image_files(self, image_ids: Iterable[str]) -> Iterator[str]:
        """Paths of the files of images, which are identified by their bytes."""
        start, files = os.fspath(self.images / "x")[:-1], self._index.files
        return (start + files[image_id] for image_id in image_ids)

    @property
    def other_files(self) -> Mapping[str, int]:
        """How many files in the folder of images are none, by extension."""
        return self._index.others

    def unused_masks(self) -> list[str]:
        """Masks that have the name of no image, as paths below their folder."""
        if self._masks is None:
            return []
        used = {self._masks.path(image_id) for image_id in self._index.files}
        return [name for name in self._masks.files if self._masks.folder / name not in used]

    def identity(self, image_id: str, kind: Kind) -> Path | str:
        """The file of an image, a mask or a VOC annotation; for other tags the ids and the number of classes.

        Raises:
            DataError: there is none.
        """
        path = self._index.path(image_id)
        if kind == "image":
            return path
        if kind == "mask":
            return self.mask_path(image_id)
        if not self.has(image_id, "tags"):
            raise DataError(f"'{image_id}' has no tags{f' in {self.labels}' if self.labels else ''}.")
        return self._annotation(image_id) or f"{','.join(map(str, self._tags[image_id]))}/{len(self.classes)}"

    def image(self, image_id: str) -> NDArray[Any]:
        """Read an image, (H, W, 3) uint8 RGB.

        Raises:
            DataError: the id is unknown or the file cannot be read.
        """
        from labelseg.data.folder.images import read_image

        return read_image(self._index.path(image_id))

    def tags(self, image_id: str) -> tuple[int, ...] | None:
        """Sorted ids of the classes in the image; empty when it is known to hold none, None when unknown."""
        self._index.path(image_id)
        if not self.has(image_id, "tags"):
            return None
        annotation = self._annotation(image_id)
        return self._tags[image_id] if annotation is None else read_voc_annotation(annotation, self.classes)

    def mask(self, image_id: str) -> NDArray[Any]:
        """Read the true mask, (H, W) uint8 class ids, 255 = ignore.

        Raises:
            DataError: there is none, it cannot be read, holds other values or differs in size from the image.
        """
        from labelseg.data.folder.images import image_size, read_mask

        path = self.mask_path(image_id)
        return read_mask(path, len(self.classes), size=image_size(self._index.path(image_id)))

    def scaling(self, image_id: str) -> None:
        """An image is worked on at the size of its file."""

    def at_file_size(self) -> FolderDataset:
        """Itself."""
        return self

    @cached_property
    def _index(self) -> ImageIndex:
        return ImageIndex(self.images, self.masks)

    @cached_property
    def _masks(self) -> MaskIndex | None:
        return None if self.masks is None else MaskIndex(self.masks, self._index, self.endings)

    @cached_property
    def _read_splits(self) -> dict[str, list[str]]:
        return {}

    def findings(self) -> list[Finding]:
        """Tell what of the table and of the lists names no image, and what was read in another way than it is written.

        Raises:
            LabelsegError: the table or a list cannot be read.
        """
        found = list(self._findings) if self._tags or self.labels is not None else []
        for name, path in self._lists.items():
            self._split_list(name)
            if missing := self._missing.get(name):
                lines = some_of([f"'{text}' (line {number})" for number, text in missing])
                found.append(
                    Finding("warning", str(path), f"{counted(len(missing), 'line')} of no image: {lines}", "left out of the split")
                )
        found += [Finding("note", str(path), "no list of images: none of its first lines names one") for path in self._other_texts]
        return found

    def line_of(self, class_name: str) -> int:
        """The first line of the label table that names a class; 0 where none does."""
        named = (row.line for row in self._table.rows if class_name in _words(row.labels))
        return next(named, 0)

    @cached_property
    def _missing(self) -> dict[str, list[tuple[int, str]]]:
        """Lines of each list that name no image, as far as lists were read."""
        return {}

    @cached_property
    def _texts(self) -> dict[str, Path]:
        """Text files in the folders of lists; a class file among them is none."""
        return find_lists(self.split_lists, [self.classes_from] if isinstance(self.classes_from, Path) else [])

    @cached_property
    def _other_texts(self) -> list[Path]:
        """Of these, the ones that are no lists, such as a README beside them."""
        return [path for name, path in self._texts.items() if name not in USUAL_ORDER and not names_images(path, self._index)]

    @cached_property
    def _lists(self) -> dict[str, Path]:
        """The list of each split."""
        lists = {name: path for name, path in self._texts.items() if path not in self._other_texts}
        for name in self.fractions:
            if name in lists:
                raise UsageError(f"[data.fractions] {name}: {lists[name]} lists this split. Remove one.")
            if name in HELD_OUT and "train" in lists:
                raise UsageError(f"[data.fractions] {name} would share images with the list {lists['train']}. List {name} too.")
        return lists

    @cached_property
    def _table(self) -> LabelTable:
        """The label table; a folder of a folder per class is one too."""
        if self.labels is None:
            raise DataError("the data names no label table. Set labels under [data] in labelseg.toml.")
        if not self.labels.is_dir():
            return read_table(self.labels)
        start = os.path.relpath(os.path.abspath(self.images), os.path.abspath(self.labels))
        if start.startswith(".."):
            raise DataError(f"{self.labels}: expected a label table, or the folder of images whose folders are the classes.")
        return class_folders(self.labels, [file if start == "." else f"{start}/{file}" for file in self._index.files.values()])

    @cached_property
    def _tags(self) -> dict[str, tuple[int, ...]]:
        """Tags by id, from the label table; rows of no image are left out."""
        return self._read_tags[0]

    @property
    def _findings(self) -> list[Finding]:
        return self._read_tags[1]

    @cached_property
    def _read_tags(self) -> tuple[dict[str, tuple[int, ...]], list[Finding]]:
        """Read the label table: tags by id, and what is to be told."""
        if self.labels is None:
            return {}, []
        findings: list[Finding] = []
        tags: dict[str, tuple[int, ...]] = {}
        lines: dict[str, int] = {}
        missing: list[tuple[str, int]] = []
        table = self._table
        for row in read_labels(table, self.classes, findings, listed=self.classes_from is not None):
            if not row.image and not row.class_ids:
                continue
            if not self._index.matches(row.image):
                missing.append((row.image, row.line))
                continue
            image_id = self._index.resolve(row.image, f"{self.labels} line {row.line}")
            if image_id in tags and not table.joined:
                raise DataError(f"{self.labels} line {row.line}: '{image_id}' is on line {lines[image_id]} too.")
            tags[image_id] = tuple(sorted({*tags.get(image_id, ()), *row.class_ids}))
            lines[image_id] = row.line
        if missing:
            name, line = missing[0]
            if not tags:
                raise DataError(
                    f"{self.labels} line {line}: no image '{name}' in {self.images}, and no row names one; images are called "
                    f"{some_of(self._index.ids)}. Write these names, with or without folder and ending, or name their folder: --images DIR"
                )
            hint = suggestion(name, self._index.ids, listed="")
            findings.append(
                Finding(
                    "warning", f"{self.labels} line {line}", f"no image '{name}' in {self.images}{_more(len(missing))}",
                    "the row is left out" if len(missing) == 1 else "these rows are left out", hint.strip(),
                )
            )  # fmt: skip
        return tags, findings

    def _ids(self, split: str) -> list[str]:
        """Work out the ids of a split that exists."""
        if split in self._lists:
            return read_split(self._lists[split], self._index, self._missing.setdefault(split, []))
        if split == ALL:
            return self._index.ids
        listed = {image_id for name in HELD_OUT if name in self._lists for image_id in self._split_list(name)}
        free = [image_id for image_id in self._index.ids if image_id not in listed]
        dealt = fraction_splits(free, self.fractions, self.fraction_seed)
        if split in dealt:
            return dealt[split]
        held_out = {image_id for name in HELD_OUT for image_id in dealt.get(name, [])}
        return [image_id for image_id in free if image_id not in held_out]

    def _split_list(self, name: str) -> Sequence[str]:
        if name not in self._read_splits:
            self._read_splits[name] = self._ids(name)
        return self._read_splits[name]

    def _annotation(self, image_id: str) -> Path | None:
        return None if self.annotations is None else self.annotations / f"{image_id}.xml"

    def _mask_path(self, image_id: str) -> Path | None:
        return None if self._masks is None else self._masks.path(image_id)


def _words(labels: str | tuple[str, ...]) -> list[str]:
    """List what a row of a label table may name."""
    return [*labels_in(labels)[0], *labels.split()] if isinstance(labels, str) else list(labels)


def _more(count: int) -> str:
    """Tell how many rows more are alike."""
    return f", and {counted(count - 1, 'row')} more of no image" if count > 1 else ""
