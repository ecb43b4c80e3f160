"""Datasets: what the pipeline asks of one, and the one made of a folder of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from labelseg.class_ids import BACKGROUND
from labelseg.data.domains.joint_dataset import JointDataset, check_name, match_classes
from labelseg.data.domains.mapped_masks import MappedMasks
from labelseg.data.domains.published_ids import IN_FIRST_CHANNEL, id_table, label_map_ids
from labelseg.data.domains.sized_dataset import KEY as LONG_SIDE
from labelseg.data.domains.sized_dataset import SizedDataset, check_long_side
from labelseg.data.folder.folder_dataset import FolderDataset
from labelseg.data.folder.image_ids import IMAGE_SUFFIXES
from labelseg.data.folder.labels import check_classes, read_classes
from labelseg.data.folder.mask_names import Endings
from labelseg.data.folder.splits import check_fractions
from labelseg.errors import DataError, UsageError
from labelseg.protocols import Dataset
from labelseg.suggestions import suggestion

PATH_KEYS = ("images", "labels", "masks", "splits", "voc")
ENDING_KEYS = {"image_suffix": "image", "mask_suffix": "mask"}
KEYS = (*PATH_KEYS, *ENDING_KEYS, "classes", "fractions", "scenes", "label_map", LONG_SIDE)
VOC_CLASSES = (
    BACKGROUND, "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


def open_dataset(root: Path, table: Mapping[str, Any]) -> Dataset:
    """Open the dataset that a ``[data]`` table describes; files are read when they are first asked for.

    Args:
        root: The folder that relative paths start from.
        table: ``images`` folder; ``labels`` table; ``masks`` folder; ``classes`` file or list; ``splits`` folder of
            ``*.txt`` lists, or several; ``fractions`` such as ``{val = 0.2, seed = 0}``; ``voc`` folder of VOC2012, whose
            parts the other keys may replace; ``scenes`` such as ``{train = 200, val = 100}`` for generated images; ``label_map``, the
            name of published ids that masks hold; ``image_suffix`` and ``mask_suffix``, endings of names by which an image and its mask
            differ; ``long_side``, pixels of the longer side that larger images are worked on at. Any other
            key that holds a table is the name of a further data set of the same classes; it has the ``long_side`` of the first unless it
            names one.

    Raises:
        UsageError: an unknown key, a value of the wrong type, or no images named.
        DataError: ``voc`` is no VOC folder, or a further data set has other classes.
    """
    further = {key: value for key, value in table.items() if key not in KEYS and isinstance(value, Mapping)}
    main = _open_one(root, {key: value for key, value in table.items() if key not in further}, "[data]")
    others = {}
    for name, inner in further.items():
        check_name(name, KEYS)
        usual = {LONG_SIDE: table[LONG_SIDE]} if LONG_SIDE in table and "scenes" not in inner else {}
        others[name] = _open_one(root, {**usual, **inner}, f"[data.{name}]", main)
    return JointDataset(main, others) if others else main


def image_file(dataset: Dataset, image_id: str) -> Path | None:
    """Find the file of an image, at whatever size it is worked on; None where it is drawn and has none."""
    identity = dataset.identity(image_id, "image")
    path = identity[0] if isinstance(identity, tuple) else identity
    return path if isinstance(path, Path) else None


def _open_one(root: Path, table: Mapping[str, Any], where: str, main: Dataset | None = None) -> Dataset:
    """Open one data set; a further one has the classes of the main one."""
    for key, value in table.items():
        if key not in KEYS:
            raise UsageError(f"{where} has no key '{key}'.{suggestion(key, KEYS)}")
        parts = value if key == "splits" and isinstance(value, list | tuple) else [value]
        if key in PATH_KEYS and not all(isinstance(part, str | Path) and str(part) and "\0" not in str(part) for part in parts):
            raise UsageError(f"{where} {key}: expected a path, got {value!r}.")
    if "scenes" in table:
        from labelseg.data.scenes.scene_dataset import SceneDataset

        if table.keys() - {"scenes", "splits"}:
            raise UsageError(f"{where} scenes can be combined with splits only: remove it or the other keys.")
        scenes = SceneDataset.from_table(table["scenes"], split_folders(root, table))
        if main is not None and scenes.classes != main.classes:
            match_classes(scenes.classes, main.classes, where)
            order = ", ".join(scenes.classes)
            raise DataError(f"{where}: its classes have another order than those of [data]. List those as scenes do: {order}.")
        return scenes
    paths = {key: root / table[key] for key in PATH_KEYS if key in table and key != "splits"}
    annotations = None
    if "voc" in paths:
        voc = _voc_folder(paths["voc"])
        annotations = None if "labels" in paths else voc / "Annotations"
        usual = {"images": voc / "JPEGImages", "masks": voc / "SegmentationClass"}
        paths = {**{key: path for key, path in usual.items() if key == "images" or path.is_dir()}, **paths}
    if "images" not in paths:
        raise UsageError(f"{where} names no images. Set images, voc or scenes in labelseg.toml.")
    fractions = table.get("fractions", {})
    if not isinstance(fractions, Mapping) or not isinstance(fractions.get("seed", 0), int):
        raise UsageError(f"{where} fractions: expected a table such as {{val = 0.2, seed = 0}}, got {fractions!r}.")
    check_fractions({name: value for name, value in fractions.items() if name != "seed"})
    ids = label_map_ids(table["label_map"], f"{where} label_map") if "label_map" in table else None
    named = tuple(ids) if ids else VOC_CLASSES if "voc" in table else None
    classes = _classes_source(root, table, named, where)
    if ids and classes is not None:
        match_classes(_names(classes), tuple(ids), f"{where} label_map")
    own = None
    if main is not None:
        own = main.classes if classes is None else _names(classes)
        match_classes(own, main.classes, where)
        classes = main.classes
    dataset = FolderDataset(
        images=paths["images"],
        classes_from=classes,
        labels=paths.get("labels"),
        annotations=annotations,
        masks=paths.get("masks"),
        split_lists=split_folders(root, table),
        fractions={name: value for name, value in fractions.items() if name != "seed"},
        fraction_seed=fractions.get("seed", 0),
        endings=_endings(table, where),
    )
    at_file_size: FolderDataset | MappedMasks = dataset
    if ids:
        at_file_size = MappedMasks(dataset, id_table(ids, dataset.classes), in_first_channel=table["label_map"] in IN_FIRST_CHANNEL)
    elif own is not None and own != dataset.classes:
        at_file_size = MappedMasks(dataset, id_table({name: k for k, name in enumerate(own)}, dataset.classes), len(own))
    long_side = check_long_side(table.get(LONG_SIDE, 0), where)
    return SizedDataset(at_file_size, long_side) if long_side else at_file_size


def split_folders(root: Path, table: Mapping[str, Any]) -> tuple[Path, ...]:
    """List the folders of lists that a ``[data]`` table names, or those of its VOC folder."""
    value = table.get("splits", ())
    if "splits" not in table and "voc" in table:
        lists = _voc_folder(root / table["voc"]) / "ImageSets/Segmentation"
        return (lists,) if lists.is_dir() else ()
    return tuple(root / part for part in ([value] if isinstance(value, str | Path) else value))


def _endings(table: Mapping[str, Any], where: str) -> Endings:
    """Read the keys ``image_suffix`` and ``mask_suffix``: endings of names, without extension."""
    given = {key: table[key] for key in ENDING_KEYS if key in table}
    for key, value in given.items():
        if not isinstance(value, str) or "/" in value or Path(value).suffix.lower() in IMAGE_SUFFIXES:
            raise UsageError(f"{where} {key}: expected what names end in before the extension, such as '_mask', got {value!r}.")
    return Endings(**{ENDING_KEYS[key]: value for key, value in given.items()})


def _classes_source(root: Path, table: Mapping[str, Any], default: tuple[str, ...] | None, where: str) -> Path | tuple[str, ...] | None:
    """Read the key ``classes``: a path or a list of names."""
    value = table.get("classes")
    if value is None:
        return default
    if isinstance(value, str | Path) and "\0" not in str(value):
        return root / value
    if isinstance(value, Sequence) and not isinstance(value, str):
        return check_classes(value, f"{where} classes")
    raise UsageError(f"{where} classes: expected a file or a list of names, got {value!r}.")


def _names(classes: Path | tuple[str, ...]) -> tuple[str, ...]:
    """Return class names, or read them from their file."""
    return classes if isinstance(classes, tuple) else read_classes(classes)


def _voc_folder(path: Path) -> Path:
    """Find the VOC2012 folder at ``path`` or below it."""
    for folder in (path, path / "VOC2012", path / "VOCdevkit/VOC2012"):
        if (folder / "JPEGImages").is_dir():
            return folder
    raise DataError(f"{path}: expected VOC2012 with the folder JPEGImages, found none.")
