"""A folder of images as a dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelseg.class_ids import BACKGROUND
from labelseg.data.folder.image_ids import ImageIndex, MaskIndex
from labelseg.data.folder.labels import infer_classes, read_classes, read_labels, read_voc_annotation
from labelseg.data.folder.splits import ALL, HELD_OUT, find_lists, fraction_splits, order_names, read_split
from labelseg.errors import DataError, UsageError
from labelseg.protocols import Kind

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
    """

    images: Path
    classes_from: Path | tuple[str, ...] | None = None
    labels: Path | None = None
    annotations: Path | None = None
    masks: Path | None = None
    split_lists: tuple[Path, ...] = ()
    fractions: Mapping[str, float] = field(default_factory=dict)
    fraction_seed: int = 0

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
            raise DataError("the data names no classes. Set classes (a file or a list) under [data] in labelseg.toml.")
        return infer_classes(self.labels)

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
            raise UsageError(f"the data has no split '{split}'. Splits: {', '.join(self.splits())}.")
        if split not in self._read_splits:
            self._read_splits[split] = self._ids(split)
        if not self._read_splits[split]:
            raise DataError(f"split '{split}' holds no image.")
        return list(self._read_splits[split])

    def matches(self, name: str) -> list[str]:
        """List the ids that a name may mean."""
        return self._index.matches(name)

    def resolve(self, name: str, where: str) -> str:
        """Find the id that a name means: an id, a path with extension, or a bare name where that is unique.

        Raises:
            DataError: no image or several images have that name.
        """
        return self._index.resolve(name, where)

    def has(self, image_id: str, kind: Kind) -> bool:
        """Whether there is an image, tags or a mask under this id."""
        if image_id not in self._index.files:
            return False
        if kind == "tags":
            annotation = self._annotation(image_id)
            return image_id in self._tags if annotation is None else annotation.is_file()
        return kind == "image" or self._mask_path(image_id) is not None

    def identity(self, image_id: str, kind: Kind) -> Path | str:
        """The file of an image, a mask or a VOC annotation; for other tags the ids and the number of classes.

        Raises:
            DataError: there is none.
        """
        path = self._index.path(image_id)
        if kind == "image":
            return path
        if kind == "mask":
            return self._known_mask_path(image_id)
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

        path = self._known_mask_path(image_id)
        return read_mask(path, len(self.classes), size=image_size(self._index.path(image_id)))

    @cached_property
    def _index(self) -> ImageIndex:
        return ImageIndex(self.images, self.masks)

    @cached_property
    def _masks(self) -> MaskIndex | None:
        return None if self.masks is None else MaskIndex(self.masks, self._index)

    @cached_property
    def _read_splits(self) -> dict[str, list[str]]:
        return {}

    @cached_property
    def _lists(self) -> dict[str, Path]:
        """The list of each split; a class file among them is not a list."""
        lists = find_lists(self.split_lists, [self.classes_from] if isinstance(self.classes_from, Path) else [])
        for name in self.fractions:
            if name in lists:
                raise UsageError(f"[data.fractions] {name}: {lists[name]} lists this split. Remove one.")
            if name in HELD_OUT and "train" in lists:
                raise UsageError(f"[data.fractions] {name} would share images with the list {lists['train']}. List {name} too.")
        return lists

    @cached_property
    def _tags(self) -> dict[str, tuple[int, ...]]:
        """Tags by id, from the label table."""
        if self.labels is None:
            return {}
        tags: dict[str, tuple[int, ...]] = {}
        lines: dict[str, int] = {}
        for row in read_labels(self.labels, self.classes):
            image_id = self._index.resolve(row.image, f"{self.labels} line {row.line}")
            if image_id in tags:
                raise DataError(f"{self.labels} line {row.line}: '{image_id}' is on line {lines[image_id]} too.")
            tags[image_id] = row.class_ids
            lines[image_id] = row.line
        return tags

    def _ids(self, split: str) -> list[str]:
        """Work out the ids of a split that exists."""
        if split in self._lists:
            return read_split(self._lists[split], self._index)
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

    def _known_mask_path(self, image_id: str) -> Path:
        self._index.path(image_id)
        path = self._mask_path(image_id)
        if path is None:
            raise DataError(f"'{image_id}' has no mask{f' in {self.masks}' if self.masks else ''}.")
        return path
