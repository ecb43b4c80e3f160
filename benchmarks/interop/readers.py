"""Reads exports by the programs that own the formats; run by a Python that has these programs and not labelseg.

    python readers.py EXPORTS TRUTH.npz BACK

EXPORTS holds a folder a format, TRUTH the masks by id. What programs write themselves lands in BACK. One line of JSON on stdout a check.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import json
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

CLASSES = ("background", "cat", "tabby dog")
IDS = {name: number for number, name in enumerate(CLASSES)} | {"ignored": 255}
SPLIT = "all"
Masks = dict[str, np.ndarray]


def coco(exports: Path, truth: Masks, back: Path, name: str = "coco") -> Masks:
    """``COCO.annToMask``."""
    from pycocotools.coco import COCO

    read, found = COCO(str(exports / name / f"annotations/instances_{SPLIT}.json")), {}
    for image in read.loadImgs(read.getImgIds()):
        mask = np.zeros((image["height"], image["width"]), np.uint8)
        for annotation in read.loadAnns(read.getAnnIds(image["id"])):
            mask[read.annToMask(annotation).astype(bool)] = IDS[read.cats[annotation["category_id"]]["name"]]
        found[os.path.splitext(image["file_name"])[0]] = mask
    return found


def coco_polygons(exports: Path, truth: Masks, back: Path) -> Masks:
    """The same, of polygons."""
    return coco(exports, truth, back, "coco-polygons")


def datumaro_masks(dataset: Any, truth: Masks, blank: int) -> Masks:
    """Paint the masks of a data set of datumaro."""
    from datumaro import AnnotationType

    names, found = dataset.categories()[AnnotationType.label], {}
    for item in dataset:
        mask = np.full(truth[item.id].shape, blank, np.uint8)
        for annotation in item.annotations:
            if annotation.type == AnnotationType.mask:
                mask[annotation.image.astype(bool)] = IDS[names[annotation.label].name]
        found[item.id] = mask
    return found


def coco_semantic(exports: Path, truth: Masks, back: Path) -> Masks:
    """``coco_panoptic`` of datumaro."""
    from datumaro import Dataset

    return datumaro_masks(Dataset.import_from(str(exports / "coco-semantic"), "coco_panoptic"), truth, 255)


def cvat(exports: Path, truth: Masks, back: Path) -> Masks:
    """``voc_segmentation`` of datumaro, which CVAT imports and exports with; it also writes a file to bring back."""
    from datumaro import Dataset

    folder = back / "unpacked"
    zipfile.ZipFile(exports / "cvat.zip").extractall(folder)
    dataset = Dataset.import_from(str(folder), "voc_segmentation")
    dataset.export(str(back / "cvat"), "voc_segmentation", save_media=False, label_map="source")
    return datumaro_masks(dataset, truth, 0)


def yolo_seg(exports: Path, truth: Masks, back: Path) -> Masks:
    """``verify_image_label`` and ``polygon2mask`` of ultralytics."""
    from ultralytics.data.utils import check_det_dataset, img2label_paths, polygon2mask, verify_image_label

    data = check_det_dataset(str(exports / "yolo-seg/data.yaml"), autodownload=False)
    root, found = Path(data["train"]), {}
    images = sorted(str(path) for path in root.rglob("*") if path.is_file())
    for image, label in zip(images, img2label_paths(images), strict=True):
        result = verify_image_label((image, label, "", False, len(data["names"]), 0, 0, False))
        _, rows, (height, width), segments, *_, corrupt, message = result
        if corrupt or len(segments) != len(rows):
            raise ValueError(message or f"{len(rows)} lines, {len(segments)} segments")
        mask = np.zeros((height, width), np.uint8)
        for row, segment in zip(rows, segments, strict=True):
            corners = segment * np.array([width, height], np.float32)
            mask[polygon2mask((height, width), [corners.reshape(-1)], 1, 1).astype(bool)] = IDS[data["names"][int(row[0])]]
        name = os.path.splitext(os.path.relpath(image, root))[0]
        found[name.replace("images_/", "images/")] = mask
    return found


def label_studio(exports: Path, truth: Masks, back: Path) -> Masks:
    """``decode_rle`` and ``LabelInterface`` of label-studio-sdk; it also writes an export, by its own encoder, to bring back."""
    from label_studio_sdk.converter.brush import decode_rle, mask2rle
    from label_studio_sdk.label_interface import LabelInterface

    tasks, found = json.loads((exports / "label-studio/tasks.json").read_text()), {}
    interface = LabelInterface((exports / "label-studio/config.xml").read_text())
    interface.validate()
    for task in tasks:
        prediction = task.pop("predictions")[0]
        if problems := interface.validate_prediction(prediction, return_errors=True):
            raise ValueError(str(problems))
        name = task["data"].pop("labelseg")
        mask = np.zeros(truth[name].shape, np.uint8)
        for result in prediction["result"]:
            size = result["original_height"], result["original_width"], 4
            region = decode_rle(result["value"]["rle"]).reshape(size)[..., 3]
            mask[region > 0] = IDS[result["value"]["brushlabels"][0]]
            result["value"]["rle"] = mask2rle(region)
        task["annotations"] = [{"result": prediction["result"], "completed_by": {"email": "anna@example.org"}}]
        found[name] = mask
    (back / "label-studio.json").write_text(json.dumps(tasks))
    return found


def mmseg(exports: Path, truth: Masks, back: Path) -> Masks:
    """``BaseSegDataset`` of mmsegmentation, by the lines of ``dataset.py``; mmcv without its compiled operators."""
    import runpy
    import types

    operators = types.ModuleType("mmcv.ops")
    operators.point_sample = None  # type: ignore[attr-defined]  # the one that is named when the package is loaded
    sys.modules.setdefault("mmcv.ops", operators)
    from mmengine.registry import init_default_scope
    from mmseg.datasets import BaseSegDataset

    init_default_scope("mmseg")
    lines = runpy.run_path(str(exports / "mmseg/dataset.py"))[f"{SPLIT}_dataset"]
    settings = {key: value for key, value in lines.items() if key not in ("type", "data_root")}
    dataset = BaseSegDataset(data_root=str(exports / "mmseg"), **settings)
    if tuple(dataset.metainfo["classes"]) != CLASSES:
        raise ValueError(f"classes {dataset.metainfo['classes']}")
    found, root = {}, exports / "mmseg/img_dir" / SPLIT
    for number in range(len(dataset)):
        sample = dataset[number]
        found[os.path.splitext(os.path.relpath(sample["img_path"], root))[0]] = sample["gt_seg_map"]
    return found


def fiftyone(exports: Path, truth: Masks, back: Path) -> Masks:
    """``ImageSegmentationDirectoryImporter`` of FiftyOne, without its data base."""
    from fiftyone.utils.data import ImageSegmentationDirectoryImporter

    folder, found = exports / "fiftyone" / SPLIT, {}
    with ImageSegmentationDirectoryImporter(data_path=str(folder / "data"), labels_path=str(folder / "labels")) as importer:
        for path, _, label in importer:
            found[os.path.splitext(os.path.relpath(path, folder / "data"))[0]] = label.get_mask()
    return found


def huggingface(exports: Path, truth: Masks, back: Path) -> Masks:
    """``load_dataset("imagefolder")`` of datasets."""
    from datasets import load_dataset

    read = load_dataset("imagefolder", data_dir=str(exports / "huggingface"), cache_dir=str(back / "cache"))
    return {row["id"]: np.asarray(row["mask"]) for part in read.values() for row in part}


# Format -> its reader, the package that owns it, and whether it keeps 255.
READERS: dict[str, tuple[Callable[[Path, Masks, Path], Masks], str, bool]] = {
    "coco": (coco, "pycocotools", False),
    "coco --polygons": (coco_polygons, "pycocotools", False),
    "coco-semantic": (coco_semantic, "datumaro", True),
    "yolo-seg": (yolo_seg, "ultralytics", False),
    "cvat": (cvat, "datumaro", True),
    "label-studio": (label_studio, "label-studio-sdk", True),
    "mmseg": (mmseg, "mmsegmentation", True),
    "fiftyone": (fiftyone, "fiftyone", True),
    "huggingface": (huggingface, "datasets", True),
}


def check(name: str, exports: Path, truth: Masks, back: Path) -> dict[str, Any]:
    """Read a format and compare each mask."""
    reader, package, keeps = READERS[name]
    row: dict[str, Any] = {"format": name, "reader": package, "call": " ".join((reader.__doc__ or "").split()), "keeps_255": keeps}
    row["masks"], row["identical"] = len(truth), None
    try:
        row["version"] = importlib.metadata.version(package)
        with contextlib.redirect_stdout(io.StringIO()):
            found = reader(exports, truth, back)
    except Exception as error:  # whatever a program raises is the result of the check
        row["problem"] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        return row
    wanted = truth if keeps else {key: np.where(mask == 255, 0, mask) for key, mask in truth.items()}
    row["identical"] = sum(key in found and np.array_equal(found[key], mask) for key, mask in wanted.items())
    row["others"] = len(found.keys() - truth.keys())
    return row


if __name__ == "__main__":
    places = [Path(word) for word in sys.argv[1:4]]
    with np.load(places[1]) as file:
        masks = dict(zip(json.loads(str(file["names"])), (file[f"m{n}"] for n in range(len(file.files) - 1)), strict=True))
    for one in READERS:
        print(json.dumps(check(one, places[0], masks, places[2])), flush=True)
