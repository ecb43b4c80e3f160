"""Readers of what other programs wrote: out comes an error of labelseg, or a plain result."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr
from PIL import Image
from safetensors.torch import save_file

from labelseg.answers.questions import Question
from labelseg.data.dataset import open_dataset
from labelseg.data.folder.images import image_size, read_image
from labelseg.data.folder.labels import read_voc_annotation
from labelseg.errors import LabelsegError
from labelseg.exchange.readers.array_files import read_arrays, take_array
from labelseg.exchange.readers.formats import READERS, TAGS, sniff
from labelseg.exchange.readers.incoming import ClassNames
from labelseg.exchange.shapes.brush_rle import encode_brush
from labelseg.exchange.shapes.run_lengths import decode_shape
from labelseg.exchange.taking import stacks, take_in
from labelseg.models.weights.segmenter_files import read_segmenter
from labelseg.pages.annotation.answer_sources import table_answers
from tests.faults.mutations import bytes_changed, crashes, value_changed

CLASSES = ("background", "cat", "dog")
NAMES = ClassNames(CLASSES)
SIZE = (6, 8)
BRUSH = np.pad(np.ones((2, 3), bool), ((1, 3), (1, 4)))
POLYGON = [[1.0, 1.0, 5.0, 1.0, 5.0, 4.0, 1.0, 4.0]]
COCO = {
    "images": [{"id": 1, "file_name": "a1.png", "height": 6, "width": 8}, {"id": 2, "file_name": "a2.png", "height": 6, "width": 8}],
    "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "segmentation": POLYGON, "iscrowd": 0},
        {"id": 2, "image_id": 1, "category_id": 2, "segmentation": {"size": [6, 8], "counts": [7, 5, 36]}, "iscrowd": 1},
        {"id": 3, "image_id": 2, "category_id": 2, "segmentation": {"size": [6, 8], "counts": "75T1"}, "iscrowd": 0},
    ],
}
STUDIO = [
    {
        "id": 1,
        "data": {"image": "/data/upload/1/0123abcd-a1.png"},
        "annotations": [
            {
                "completed_by": {"email": "anna"},
                "updated_at": "2026-01-31",
                "result": [
                    {
                        "type": "brushlabels",
                        "original_height": 6,
                        "original_width": 8,
                        "value": {"brushlabels": ["cat"], "rle": encode_brush(BRUSH)},
                    },
                    {
                        "type": "polygonlabels",
                        "original_height": 6,
                        "original_width": 8,
                        "value": {"polygonlabels": ["dog"], "points": [[10, 10], [90, 10], [90, 90]]},
                    },
                    {"type": "choices", "value": {"choices": ["cat"]}},
                ],
            }
        ],
    }
]
POINTS = [
    {
        "data": {"image": "a1.png"},
        "annotations": [
            {
                "result": [
                    {
                        "type": "keypointlabels",
                        "original_height": 6,
                        "original_width": 8,
                        "value": {"x": 20.0, "y": 20.0, "keypointlabels": ["cat"]},
                    }
                ]
            }
        ],
    }
]
CVAT = """<annotations><meta><task><labels><label><name>cat</name></label></labels></task></meta>
<image id="0" name="a1.png" width="8" height="6"><polygon label="cat" points="1.0,1.0;5.0,1.0;5.0,4.0" z_order="0"/>
<mask label="dog" rle="1, 2, 1" left="2" top="1" width="2" height="2" z_order="1"/><tag label="dog"/></image></annotations>"""
VOC = "<annotation><object><name>cat</name></object><object><name>dog</name></object></annotation>"
TABLE = "image,y,x,class,who,ms\na1,1,1,cat,anna,900\na1,2,2,?,,\n"
FORMS = ("jpg", "png", "webp", "bmp", "tif")
QUESTIONS = (Question("0", "a1", ((1, 1),), "cat"), Question("1", "a1", ((2, 2),)))


# What Pillow and zarr think of files that were changed.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A folder with a file of every kind."""
    root = tmp_path_factory.mktemp("programs")
    for folder in ("images", "stack", "masks/SegmentationClass"):
        (root / folder).mkdir(parents=True)
    for name in ("a1", "a2"):
        Image.new("RGB", SIZE[::-1]).save(root / "images" / f"{name}.png")
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8))
    for form in FORMS:
        picture.save(root / f"picture.{form}", **({"exif": _sideways()} if form in ("jpg", "webp") else {}))
    frames = [Image.new("L", SIZE[::-1], grey) for grey in (10, 20)]
    frames[0].save(root / "stack" / "s.tif", save_all=True, append_images=frames[1:])
    mask = Image.fromarray(np.where(BRUSH, 1, 0).astype(np.uint8))
    mask.putpalette([0, 0, 0, 250, 50, 50, 0, 0, 250])
    mask.save(root / "masks" / "SegmentationClass" / "a1.png")
    (root / "masks" / "labelmap.txt").write_text("# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:250,50,50::\n")
    with zipfile.ZipFile(root / "cvat.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((root / "masks").rglob("*.*")):
            archive.write(path, path.relative_to(root / "masks").as_posix())
    with zipfile.ZipFile(root / "images.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("annotations.xml", CVAT)
    for name, content in {"coco": COCO, "studio": STUDIO, "points": POINTS}.items():
        (root / f"{name}.json").write_text(json.dumps(content))
    for name, text in {"cvat.xml": CVAT, "voc.xml": VOC, "answers.csv": TABLE}.items():
        (root / name).write_text(text)
    scores = np.linspace(0, 1, 24, dtype=np.float32).reshape(2, 3, 4)
    np.save(root / "scores.npy", scores)
    np.savez_compressed(root / "scores.npz", scores=scores, classes=np.array(CLASSES[1:]))
    group = zarr.open_group(root / "scores.zarr", mode="w", zarr_format=3)
    group.create_array("scores", data=scores)
    tensors = {"conv.weight": torch.ones(2, 3), "conv.bias": torch.zeros(2)}
    torch.save({"state_dict": tensors, "epoch": 3}, root / "net.pth")
    save_file(tensors, root / "net.safetensors", {"network": "line"})
    group.attrs["classes"] = list(CLASSES[1:])
    return root


def _sideways() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def image(root: Path, form: str) -> None:
    """Read a picture at its own size and at a smaller one."""
    path = root / f"picture.{form}"
    height, width = image_size(path)
    assert read_image(path).shape == (height, width, 3)
    read_image(path, 4)


def masks(name: str, size: tuple[int, int] = SIZE) -> Callable[[Path], None]:
    """A reader of the masks, and of the tags where the format has them."""

    def read(root: Path) -> None:
        path = root / name
        form = sniff(path)
        if form in TAGS:
            tags, listed = TAGS[form](path)
            assert all(isinstance(label, str) for label in (*listed, *(label for one in tags for label in one.labels)))
        refusals = []
        for incoming in READERS[form](path, NAMES):
            try:
                found = incoming.read(size)
            except LabelsegError as error:
                refusals.append(error)
                continue
            assert found.shape == size
            assert {*np.unique(found).tolist()} <= {0, 1, 2, 255}

    return read


def arrays(name: str) -> Callable[[Path], None]:
    """A reader of arrays."""

    def read(root: Path) -> None:
        found = read_arrays(root / name)
        assert np.isfinite(take_array(found, "scores", root / name)).all()

    return read


def answers(name: str) -> Callable[[Path], None]:
    """A reader of answers, each to what was asked."""

    def read(root: Path) -> None:
        dataset = open_dataset(root, {"images": "images", "classes": list(CLASSES)})
        found = table_answers(root / name, dataset, QUESTIONS, "anna")
        assert {answer.point for answer in found} <= {(question.image, *point) for question in QUESTIONS for point in question.points}
        json.dumps([vars(answer) for answer in found], allow_nan=False)

    return read


def stack(root: Path) -> None:
    """Take in a stack of pictures."""
    if stacks(root / "stack"):
        take_in({"images": root / "stack"}, root / "taken")


JSON: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "COCO": ("coco.json", masks("coco.json")),
    "Label Studio": ("studio.json", masks("studio.json")),
    "keypoints of Label Studio": ("points.json", answers("points.json")),
    "group of zarr": ("scores.zarr/zarr.json", arrays("scores.zarr")),
    "array of zarr": ("scores.zarr/scores/zarr.json", arrays("scores.zarr")),
}
OTHERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "archive of CVAT": ("cvat.zip", masks("cvat.zip")),
    "mask of CVAT": ("masks/SegmentationClass/a1.png", masks("masks")),
    "colours of CVAT": ("masks/labelmap.txt", masks("masks")),
    "annotations of CVAT": ("cvat.xml", masks("cvat.xml")),
    "annotations of CVAT, packed": ("images.zip", masks("images.zip")),
    "annotation of VOC": ("voc.xml", lambda root: read_voc_annotation(root / "voc.xml", CLASSES)),
    "table of answers": ("answers.csv", answers("answers.csv")),
    "npy": ("scores.npy", arrays("scores.npy")),
    "npz": ("scores.npz", arrays("scores.npz")),
    "chunk of zarr": ("scores.zarr/scores/c/0/0/0", arrays("scores.zarr")),
    "pth": ("net.pth", lambda root: read_segmenter(str(root / "net.pth"))),
    "safetensors": ("net.safetensors", lambda root: read_segmenter(str(root / "net.safetensors"))),
    **{form: (f"picture.{form}", lambda root, form=form: image(root, form)) for form in FORMS},
    "stack of pictures": ("stack/s.tif", stack),
}


def test_all_reads_well_as_long_as_nothing_is_changed(root):
    for _, read in (JSON | OTHERS).values():
        read(root)


@pytest.mark.parametrize("name", JSON | OTHERS)
def test_changed_bytes_give_an_error_of_ours_or_a_result(root, name):
    assert crashes(root, *(JSON | OTHERS)[name], bytes_changed) == []


@pytest.mark.parametrize("name", JSON)
def test_changed_values_give_an_error_of_ours_or_a_result(root, name):
    assert crashes(root, *JSON[name], value_changed) == []


@pytest.mark.parametrize("place", [float("nan"), float("inf"), 1e308, 10**400])
def test_a_keypoint_without_a_place_is_no_answer(root, tmp_path, place):
    studio = json.loads(json.dumps(POINTS))
    studio[0]["annotations"][0]["result"][0]["value"]["x"] = place
    (tmp_path / "points.json").write_text(json.dumps(studio))
    dataset = open_dataset(root, {"images": "images", "classes": list(CLASSES)})
    with pytest.raises(LabelsegError):
        table_answers(tmp_path / "points.json", dataset, QUESTIONS, "anna")


def test_a_corner_far_from_the_image_is_refused_before_anything_walks_there():
    far = [[1.0, 1.0, 5.0, 1.0, 5.0, 1e200, 1.0, 4.0]]
    with pytest.raises(ValueError, match="near it, got one at 1e"):
        decode_shape(far, SIZE)
    assert decode_shape([[-1.0, -1.0, 9.0, -1.0, 9.0, 7.0, -1.0, 7.0]], SIZE)[1:5, 1:7].all()
