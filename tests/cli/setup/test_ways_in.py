"""Data in the forms of other tools: what init takes each for, and what comes of it."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from labelseg.cli import program
from labelseg.workspace import Workspace

SIZE = (24, 36)


@pytest.fixture
def root(tmp_path):
    """Three photos."""
    (tmp_path / "photos").mkdir()
    for k in range(3):
        pixels = np.random.default_rng(k).integers(0, 256, (*SIZE, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"photos/{k}.png")
    return tmp_path


def init(root, *arguments):
    """Run init in the folder ws; its output."""
    (root / "ws").mkdir(exist_ok=True)
    call = CliRunner().invoke(program, ["-C", str(root / "ws"), "init", *map(str, arguments)])
    return call.exit_code, " ".join((call.stdout + call.stderr).split())


def data(root):
    return Workspace(root / "ws").dataset


def runs_of(region):
    """Uncompressed run lengths of a region, column by column, as crowds of COCO have them."""
    flat = region.ravel(order="F").astype(int)
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *edges.tolist(), flat.size]).tolist()
    return {"size": list(region.shape), "counts": counts if not flat[0] else [0, *counts]}


def crowd_region():
    region = np.zeros(SIZE, bool)
    region[2:20, 10:30] = True
    return region


def coco(root, **changes):
    """Annotations: polygons of two categories that overlap, and a crowd beneath them."""
    square, ring = [4, 4, 15, 4, 15, 15, 4, 15], [10.5, 8.5, 22, 9, 21, 18, 11, 17]
    annotations = [
        {"id": 1, "image_id": 7, "category_id": 18, "segmentation": [square], "iscrowd": 0},
        {"id": 2, "image_id": 7, "category_id": 3, "segmentation": [ring], "iscrowd": 0},
        {"id": 3, "image_id": 7, "category_id": 44, "segmentation": runs_of(crowd_region()), "iscrowd": 1},
        {"id": 4, "image_id": 9, "category_id": 3, "segmentation": [[0, 0, 9, 0, 9, 5], [20, 10, 30, 10, 30, 20]], "iscrowd": 0},
    ]
    images = [{"id": i, "file_name": f"{name}.png", "height": SIZE[0], "width": SIZE[1]} for i, name in ((7, "0"), (9, "1"), (4, "gone"))]
    categories = [{"id": 44, "name": "person"}, {"id": 3, "name": "cat"}, {"id": 18, "name": "dog"}]
    content = {"images": images, "annotations": annotations, "categories": categories, **changes}
    (root / "instances.json").write_text(json.dumps(content))
    return content


def drawn(root):
    """Masks by pycocotools: its own drawing of each annotation, crowds first as 255."""
    from pycocotools.coco import COCO

    api = COCO(str(root / "instances.json"))
    classes = ["background", "cat", "dog", "person"]
    masks, tags = {}, {}
    for image in api.loadImgs(api.getImgIds()):
        mask = np.zeros(SIZE, np.uint8)
        own = api.loadAnns(api.getAnnIds(imgIds=image["id"]))
        for annotation in [a for a in own if a["iscrowd"]] + [a for a in own if not a["iscrowd"]]:
            name = api.loadCats(annotation["category_id"])[0]["name"]
            mask[api.annToMask(annotation) == 1] = 255 if annotation["iscrowd"] else classes.index(name)
        name = image["file_name"].removesuffix(".png")
        masks[name], tags[name] = mask, tuple(sorted({classes.index(api.loadCats(a["category_id"])[0]["name"]) for a in own}))
    return masks, tags


def test_tags_masks_and_crowds_of_coco_agree_with_pycocotools(root, capfd):
    coco(root)
    code, told = init(root, "--images", root / "photos", "--labels", root / "instances.json", "--masks", root / "instances.json")
    assert code == 0, told
    assert "instances.json is COCO instances: tags of 2 images" in told
    assert "instances.json is COCO instances: 2 masks" in told
    assert told.count("left out, as not in the folder: 1 image") == 2
    dataset, (masks, tags) = data(root), drawn(root)
    assert dataset.classes == ("background", "cat", "dog", "person")
    for name in ("0", "1"):
        np.testing.assert_array_equal(dataset.mask(name), masks[name])
        assert dataset.tags(name) == tags[name]
    values, counts = np.unique(dataset.mask("0"), return_counts=True)
    assert values.tolist() == [0, 1, 2, 255]
    assert counts.min() > 10
    assert dataset.mask("0")[9, 14] == 1  # the later of two things that overlap
    assert dataset.tags("2") is None
    assert not dataset.has("2", "mask")


def test_annotations_of_an_image_that_the_file_does_not_list_are_told(root):
    annotations = coco(root)["annotations"]
    coco(root, annotations=[*annotations, {**annotations[0], "id": 5, "image_id": 77}, {**annotations[0], "id": 6, "image_id": 77}])
    code, told = init(root, "--images", root / "photos", "--labels", root / "instances.json", "--masks", root / "instances.json")
    assert (code, told.count("left out, as not in the folder: 2 images")) == (0, 2)


def test_tags_come_with_masks_of_one_file(root):
    coco(root)
    assert init(root, "--images", root / "photos", "--masks", root / "instances.json")[0] == 0
    assert data(root).tags("0") == (1, 2, 3)


def test_categories_that_a_list_leaves_out_are_background_and_told(root):
    coco(root)
    (root / "classes.txt").write_text("background\ndog\n")
    files = ("--labels", root / "instances.json", "--masks", root / "instances.json", "--classes", root / "classes.txt")
    code, told = init(root, "--images", root / "photos", *files)
    assert code == 0, told
    assert "left out, since" in told
    assert "cat, person; in masks they are background" in told
    dataset, (masks, _) = data(root), drawn(root)
    np.testing.assert_array_equal(dataset.mask("0"), np.where(masks["0"] == 2, 1, 0))
    assert [dataset.tags(name) for name in ("0", "1")] == [(1,), ()]


def test_more_classes_than_a_byte_holds_are_refused_with_the_reason(root):
    coco(root, categories=[{"id": k, "name": f"thing {k}"} for k in range(300)])
    code, told = init(root, "--images", root / "photos", "--labels", root / "instances.json")
    assert code == 1
    assert "expected 1 to 255 classes, got 301: masks hold an id in a byte, of which 255 means ignore" in told
    assert "--classes FILE" in told
    assert not (root / "ws/converted").exists()


def test_a_mask_that_cannot_be_read_is_told_and_left_out(root):
    content = coco(root)
    content["annotations"][3]["segmentation"] = [[0, 0, 9]]
    (root / "instances.json").write_text(json.dumps(content))
    code, told = init(root, "--images", root / "photos", "--masks", root / "instances.json")
    assert code == 0, told
    assert "warning: 1 mask could not be read and is left out" in told
    assert "annotation 4: expected polygons of three corners or more" in told
    assert not data(root).has("1", "mask")


def test_after_an_error_nothing_is_left_and_what_is_there_is_not_overwritten(root):
    coco(root)
    (root / "classes.txt").write_text("cat\ndog\nperson\n")
    files = ("--labels", root / "instances.json", "--classes", root / "classes.txt")
    code, told = init(root, "--images", root / "photos", *files)
    assert (code, (root / "ws/converted").exists()) == (1, False)
    assert "no background among the classes" in told
    (root / "ws/converted").mkdir()
    code, told = init(root, "--images", root / "photos", "--labels", root / "instances.json")
    assert code == 2
    assert "converted, found it there" in told


def test_stacks_are_taken_apart_frame_by_frame(root):
    frames = [np.full(SIZE, 1000 * k, np.uint16) for k in range(1, 4)]
    labels = [np.full(SIZE, k % 2, np.uint8) for k in range(1, 4)]
    for name, pictures in (("cells.tif", frames), ("truth.tif", labels)):
        first, *rest = map(Image.fromarray, pictures)
        first.save(root / name, save_all=True, append_images=rest)
    (root / "classes.txt").write_text("background\ncell\n")
    (root / "labels.csv").write_text("image,labels\n0000,cell\n0001,\n")
    files = ("--masks", root / "truth.tif", "--classes", root / "classes.txt", "--labels", root / "labels.csv")
    code, told = init(root, "--images", root / "cells.tif", *files)
    assert code == 0, told
    assert "cells.tif is 1 stack of 3 frames" in told
    dataset = data(root)
    assert dataset.ids("all") == ["cells/0000", "cells/0001", "cells/0002"]
    for k, image_id in enumerate(dataset.ids("all")):
        assert np.unique(dataset.image(image_id)).tolist() == [round(1000 * (k + 1) / 257)]
        np.testing.assert_array_equal(dataset.mask(image_id), labels[k])
    assert dataset.tags("cells/0000") == (1,)


def test_a_second_picture_of_another_size_makes_no_stack(root):
    pictures = [Image.fromarray(np.zeros(size, np.uint8)) for size in (SIZE, (4, 6))]
    pictures[0].save(root / "photos/scan.tif", save_all=True, append_images=pictures[1:])
    (root / "labels.csv").write_text("image,labels\n" + "".join(f"{name},cat\n" for name in ("0", "1", "2", "scan")))
    assert init(root, "--images", root / "photos", "--labels", root / "labels.csv")[0] == 0
    assert not (root / "ws/converted").exists()


@pytest.mark.parametrize("name", ["tags.npy", "tags.npz"])
def test_an_array_of_tags_has_a_row_for_each_image(root, name):
    values = np.array([[1, 0], [0, 0], [1, 1]], np.float32)
    np.savez(root / name, tags=values) if name.endswith("z") else np.save(root / name, values)
    (root / "classes.txt").write_text("background\ncat\ndog\n")
    code, told = init(root, "--images", root / "photos", "--labels", root / name, "--classes", root / "classes.txt")
    assert code == 0, told
    assert f"{name} is an array of tags: tags of 3 images" in told
    assert [data(root).tags(k) for k in "012"] == [(1,), (), (1, 2)]


@pytest.mark.parametrize(("values", "message"), [
    (np.ones((2, 2)), "expected 0 and 1 of 3 images, in the order of their names, and 2 classes"),
    (np.full((3, 2), 0.5), "and 2 classes, without background; got the value 0.5."),
    ({"0": [1, 0]}, "found Python objects, which are never loaded"),
])  # fmt: skip
def test_other_arrays_are_refused(root, values, message):
    np.save(root / "tags.npy", values, allow_pickle=True)
    (root / "classes.txt").write_text("background\ncat\ndog\n")
    code, told = init(root, "--images", root / "photos", "--labels", root / "tags.npy", "--classes", root / "classes.txt")
    assert code == 1
    assert message in told


def test_an_array_of_tags_asks_for_the_names_of_its_columns(root):
    np.save(root / "tags.npy", np.ones((3, 2)))
    code, told = init(root, "--images", root / "photos", "--labels", root / "tags.npy")
    assert code == 1
    assert "names no classes. List them in the order of its columns, one a line: --classes FILE" in told


def label_studio(root):
    """Tasks: a choice; a polygon of percents; a task that nobody did."""
    corners = [[0, 0], [50, 0], [50, 50], [0, 50]]
    region = {"type": "polygonlabels", "original_width": SIZE[1], "original_height": SIZE[0],
              "value": {"points": corners, "polygonlabels": ["cat"]}}  # fmt: skip
    choice = {"type": "choices", "value": {"choices": ["dog", "cat"]}}
    tasks = [
        {"id": 1, "data": {"image": "/data/upload/1/0123abcd-0.png"}, "annotations": [{"result": [choice, region]}]},
        {"id": 2, "data": {"image": "/data/upload/1/0123abce-1.png"}, "annotations": [{"result": []}]},
        {"id": 3, "data": {"image": "/data/upload/1/0123abcf-2.png"}, "annotations": []},
    ]
    (root / "tasks.json").write_text(json.dumps(tasks))


def test_exports_of_label_studio_are_tags_and_masks(root):
    label_studio(root)
    code, told = init(root, "--images", root / "photos", "--labels", root / "tasks.json", "--masks", root / "tasks.json")
    assert code == 0, told
    assert "tasks.json is an export of Label Studio: tags of 2 images" in told
    dataset = data(root)
    assert dataset.classes == ("background", "cat", "dog")
    assert [dataset.tags(k) for k in "012"] == [(1, 2), (), None]
    expected = np.zeros(SIZE, np.uint8)
    expected[: SIZE[0] // 2, : SIZE[1] // 2] = 1
    assert (dataset.mask("0") != expected).sum() <= sum(SIZE)  # the border of a polygon belongs to it
    np.testing.assert_array_equal(dataset.mask("0")[:11, :17], 1)
    np.testing.assert_array_equal(dataset.mask("0")[14:, 20:], 0)


XML = f"""<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><job><labels><label><name>dog</name></label><label><name>cat</name></label>
<label><name>bird</name></label></labels></job></meta>
<image id="0" name="sub/0.png" width="{SIZE[1]}" height="{SIZE[0]}">
<mask label="dog" rle="3, 4, 6, 2, 5" left="8" top="6" width="5" height="4" z_order="2"/>
<polygon label="cat" points="2.0,2.0;14.0,2.0;14.0,12.0;2.0,12.0" z_order="1"/>
<mask label="cat" rle="0, 6" left="30" top="20" width="3" height="2" z_order="0"/>
<box label="bird" xtl="1" ytl="1" xbr="5" ybr="5" z_order="3"/></image>
<image id="1" name="1.png" width="{SIZE[1]}" height="{SIZE[0]}"><tag label="bird"/></image>
</annotations>"""


@pytest.mark.parametrize("packed", [False, True])
def test_exports_of_cvat_are_tags_and_masks(root, packed):
    path = root / "annotations.xml"
    path.write_text(XML)
    if packed:
        path = root / "export.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("annotations.xml", XML)
    code, told = init(root, "--images", root / "photos", "--masks", path)
    assert code == 0, told
    assert "is annotations of CVAT: tags of 2 images" in told
    dataset = data(root)
    assert dataset.classes == ("background", "dog", "cat", "bird")
    assert [dataset.tags(k) for k in "012"] == [(1, 2, 3), (3,), None]
    brush = np.repeat([False, True, False, True, False], [3, 4, 6, 2, 5]).reshape(4, 5)
    mask = dataset.mask("0")
    np.testing.assert_array_equal(mask[6:10, 8:13] == 1, brush)
    assert mask[5, 5] == 2
    assert (mask[20:22, 30:33] == 2).all()
    assert (mask == 1).sum() == brush.sum()
    assert not (mask == 3).any()
    assert not dataset.mask("1").any()


@pytest.mark.parametrize(("name", "content", "message"), [
    ("a.json", "{}", "or a JSON file of COCO instances or Label Studio, found none of these"),
    ("a.xml", "<other/>", "export of CVAT ('Segmentation mask 1.1', 'CVAT for images 1.1')"),
    ("a.npy", "nothing", "expected a whole file of arrays (npy, npz or zarr)"),
])  # fmt: skip
def test_files_of_another_form_are_refused_with_what_is_known(root, name, content, message):
    (root / name).write_text(content)
    (root / "classes.txt").write_text("background\ncat\n")
    code, told = init(root, "--images", root / "photos", "--labels", root / name, "--classes", root / "classes.txt")
    assert code == 1
    assert message in told
    assert name in told
