"""Masks come back as they went out, and what is wrong with a file is told of the mask that it concerns."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from labelseg.data.formats.palette import voc_palette
from labelseg.data.formats.png import export_masks
from labelseg.errors import DataError
from labelseg.exchange.readers.formats import READERS, sniff
from labelseg.exchange.readers.incoming import ClassNames
from labelseg.exchange.shapes.brush_rle import encode_brush
from tests.exchange.conftest import CLASSES

NAMES = ClassNames(CLASSES)


def masks_of(path, samples, form=None):
    form = form or sniff(path)
    by_name = {sample.file_name: sample for sample in samples.values()} | samples
    return form, {by_name[one.name].id: one.read(by_name[one.name].size) for one in READERS[form](path, NAMES)}


def test_a_folder_of_png_comes_back(samples, tmp_path):
    for grey in (False, True):
        export_masks(((name, sample.mask) for name, sample in samples.items()), tmp_path / str(grey), grey=grey)
        form, found = masks_of(tmp_path / str(grey), samples)
        assert form == "png"
        assert all((found[name] == sample.mask).all() for name, sample in samples.items())


def test_ids_of_a_folder_mean_what_its_list_of_classes_says(tmp_path):
    Image.fromarray(np.array([[0, 1, 2, 255]], np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "classes.txt").write_text("background\ntabby dog\ncat\n")
    (one,) = READERS["png"](tmp_path, NAMES)
    assert one.read((1, 4)).tolist() == [[0, 2, 1, 255]]


def test_a_palette_in_another_order_is_refused(tmp_path):
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8)).convert("L")
    palette = voc_palette()
    palette[[1, 2]] = palette[[2, 1]]
    image.putpalette(palette.tobytes())
    image.save(tmp_path / "a.png")
    (one,) = READERS["png"](tmp_path, NAMES)
    with pytest.raises(DataError, match="value 1 has the colour of class 2"):
        one.read((1, 3))


def test_an_archive_of_cvat_comes_back_packed_or_not(write, samples, tmp_path):
    output, _ = write("cvat")
    zipfile.ZipFile(output).extractall(tmp_path / "folder")
    for path in (output, tmp_path / "folder"):
        form, found = masks_of(path, samples)
        assert form == "cvat"
        assert all((found[name] == sample.mask).all() for name, sample in samples.items())


@pytest.mark.parametrize("polygons", [False, True])
def test_coco_comes_back_without_what_is_unknown(write, samples, polygons):
    pytest.importorskip("pycocotools.mask", reason="needs the extra coco")
    output, _ = write("coco", polygons=polygons)
    form, found = masks_of(output / "annotations/instances_val.json", samples)
    assert form == "coco" and len(found) == 6
    assert all((mask == np.where(samples[name].mask == 255, 0, samples[name].mask)).all() for name, mask in found.items())


def test_of_coco_the_later_annotation_lies_above_and_a_crowd_beneath_all(tmp_path):
    pytest.importorskip("pycocotools.mask", reason="needs the extra coco")
    drawn = ((1, 0, [0, 2, 4]), (2, 0, [1, 2, 3]), (1, 1, [2, 4]))  # category, crowd or not, run lengths in six pixels
    shapes = [
        {"id": k, "image_id": 1, "category_id": category, "iscrowd": crowd, "segmentation": {"size": [1, 6], "counts": counts}}
        for k, (category, crowd, counts) in enumerate(drawn)
    ]
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 1, "width": 6}],
        "categories": [{"id": k, "name": name} for k, name in enumerate(CLASSES)],
        "annotations": shapes,
    }
    (tmp_path / "instances.json").write_text(json.dumps(content))
    (one,) = READERS["coco"](tmp_path / "instances.json", NAMES)
    assert one.read((1, 6)).tolist() == [[1, 2, 2, 255, 255, 255]]


def annotated(write):
    """Tasks whose predictions somebody made annotations of."""
    tasks = json.loads((write("label-studio")[0] / "tasks.json").read_text())
    for task in tasks:
        result = task.pop("predictions")[0]["result"]
        task["annotations"] = [{"result": result, "completed_by": {"email": "anna@x.org"}, "updated_at": "2026-01-31T10:00:00Z"}]
    return tasks


def test_label_studio_comes_back(write, samples, tmp_path):
    (tmp_path / "export.json").write_text(json.dumps(annotated(write)))
    form, found = masks_of(tmp_path / "export.json", samples)
    assert form == "label-studio"
    assert all((found[name] == sample.mask).all() for name, sample in samples.items())
    one = next(READERS[form](tmp_path / "export.json", NAMES))
    assert (one.who, one.when) == ("anna@x.org", "2026-01-31T10:00:00Z")


def test_of_a_task_the_last_annotation_that_was_submitted_counts(write, tmp_path):
    task = annotated(write)[0]
    dot = np.zeros((18, 24), bool)
    dot[0, 0] = True
    value = {"format": "rle", "rle": encode_brush(dot), "brushlabels": ["cat"]}
    result = [{"type": "brushlabels", "original_height": 18, "original_width": 24, "value": value}]
    task["annotations"] += [
        {"result": result, "completed_by": 7, "updated_at": "2026-02-01T10:00:00Z"},
        {"result": [], "was_cancelled": True, "updated_at": "2026-03-01T10:00:00Z"},
    ]
    (tmp_path / "export.json").write_text(json.dumps([task, {"data": {"image": "x.png"}, "annotations": []}]))
    (one,) = READERS["label-studio"](tmp_path / "export.json", NAMES)
    assert (one.read((18, 24)) == dot).all()
    assert one.who == "7"


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("/data/local-files/?d=out/images/farm/with%20space.jpg", "out/images/farm/with space.jpg"),
        ("/data/upload/3/0a1b2c3d-one.jpg", "one.jpg"),
        ("https://x.org/photos/one.jpg?key=1", "https://x.org/photos/one.jpg"),
        ("s3://bucket/one.jpg", "s3://bucket/one.jpg"),
    ],
)
def test_the_image_of_a_task_is_told_by_its_address(tmp_path, address, name):
    (tmp_path / "export.json").write_text(json.dumps([{"data": {"image": address}, "annotations": [{"result": []}]}]))
    (one,) = READERS["label-studio"](tmp_path / "export.json", NAMES)
    assert one.name == name


def picture(colour):
    data = io.BytesIO()
    Image.new("RGB", (3, 2), colour).save(data, format="PNG")
    return data.getvalue()


def archive(path, labels="background:0,0,0::\ncow:1,2,3::\n", **files):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("labelmap.txt", labels)
        for name, data in files.items():
            file.writestr(f"SegmentationClass/{name}.png", data)
    return path


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (picture((9, 9, 9)), "colour 9,9,9 is not in labelmap.txt"),
        (picture((1, 2, 3)), "'cow' is no class of the data"),
        (b"no picture", "expected a picture"),
    ],
)
def test_an_archive_of_cvat_with_something_wrong(tmp_path, data, message):
    (one,) = READERS["cvat"](archive(tmp_path / "a.zip", x=data), NAMES)
    with pytest.raises(DataError, match=message) as error:
        one.read((2, 3))
    assert "SegmentationClass/x.png" in str(error.value)


def test_a_mask_of_another_size_is_refused(tmp_path):
    (one,) = READERS["cvat"](archive(tmp_path / "a.zip", x=picture((0, 0, 0))), NAMES)
    with pytest.raises(DataError, match=r"expected the size of its image, 3 x 2, got 2 x 3"):
        one.read((3, 2))


def coco_file(path, **changes):
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 2, "width": 3}],
        "annotations": [{"id": 5, "image_id": 1, "category_id": 1, "segmentation": {"size": [2, 3], "counts": [0, 1, 5]}}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    path.write_text(json.dumps({**content, **changes}))
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"categories": [{"id": 1, "name": "cow"}]}, "image a.png: 'cow' is no class"),
        ({"categories": []}, "annotation 5 has the category 1, which the file does not name"),
        (
            {"annotations": [{"id": 5, "image_id": 1, "category_id": 1, "segmentation": {"size": [2, 3], "counts": [9]}}]},
            "that fill the image",
        ),
        ({"images": [{"id": 1, "file_name": "a.png", "height": 3, "width": 2}]}, "expected the size of its image"),
    ],
)  # fmt: skip
def test_a_coco_file_with_something_wrong(tmp_path, changes, message):
    pytest.importorskip("pycocotools.mask", reason="needs the extra coco")
    (one,) = READERS["coco"](coco_file(tmp_path / "a.json", **changes), NAMES)
    with pytest.raises(DataError, match=message):
        one.read((2, 3))


def test_coco_masks_are_blank_where_no_annotation_is(tmp_path):
    pytest.importorskip("pycocotools.mask", reason="needs the extra coco")
    (one,) = READERS["coco"](coco_file(tmp_path / "a.json"), NAMES)
    assert one.read((2, 3)).tolist() == [[1, 0, 0], [0, 0, 0]]
    (one,) = READERS["coco"](coco_file(tmp_path / "a.json"), ClassNames(("cat", "dog")))
    assert one.read((2, 3)).tolist() == [[0, 255, 255], [255, 255, 255]]


@pytest.mark.parametrize("text", ["[1]", "{}", "no json", "[" * 100_000])
def test_a_file_of_no_known_format_is_refused(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=r"a\.json: expected"):
        sniff(tmp_path / "a.json")


def test_a_folder_without_masks_is_refused(tmp_path):
    with pytest.raises(DataError, match="expected masks"):
        list(READERS["png"](tmp_path, NAMES))


def test_names_of_what_is_unknown_and_of_the_background():
    assert [NAMES.id_of(name, "x") for name in ("cat", "ignored", "background")] == [1, 255, 0]
    without = ClassNames(("cat", "ignored"))
    assert [without.id_of(name, "x") for name in ("cat", "ignored", "ignored (255)", "background")] == [0, 1, 255, 255]
