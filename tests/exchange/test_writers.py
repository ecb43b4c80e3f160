"""What each format holds, read by its owner where that is light, else line by line; the heavier owners read in `make interop`."""

from __future__ import annotations

import ast
import io
import json
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from labelseg.data.formats.palette import voc_palette
from labelseg.errors import UsageError
from labelseg.exchange import READ, WRITTEN
from labelseg.exchange.readers.formats import READERS
from labelseg.exchange.shapes.brush_rle import decode_brush
from labelseg.exchange.writers.formats import FORMATS
from labelseg.exchange.writers.publication import published
from labelseg.results.exchange.mask_export import refuse_twice
from tests.exchange.conftest import CLASSES


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data) if isinstance(data, bytes) else data))


def known(mask):
    """A mask without 255, which a format has no word for."""
    return np.where(mask == 255, 0, mask)


def test_the_names_that_a_command_offers_are_those_that_there_are():
    assert tuple(FORMATS) == WRITTEN
    assert tuple(READERS) == READ


@pytest.mark.parametrize("polygons", [False, True])
def test_coco_reads_one_annotation_a_region(write, samples, polygons):
    coco = pytest.importorskip("pycocotools.coco", reason="needs the extra coco")
    output, losses = write("coco", polygons=polygons)
    assert losses == [
        "coco has no word for unknown pixels: 112 pixels of 255 (unknown) in 8 masks are part of no annotation, so that they count as "
        "background."
    ]
    seen = 0
    for split in ("train", "val"):
        read = coco.COCO(str(output / "annotations" / f"instances_{split}.json"))
        assert [(entry["id"], entry["name"]) for entry in read.loadCats(read.getCatIds())] == [(1, "cat"), (2, "tabby dog")]
        for image in read.loadImgs(read.getImgIds()):
            seen += 1
            sample = samples[image["file_name"].rpartition(".")[0]]
            assert (image["height"], image["width"]) == sample.mask.shape
            mask = np.zeros(sample.mask.shape, np.uint8)
            annotations = read.loadAnns(read.getAnnIds(image["id"]))
            assert len(annotations) == 5  # two blobs that touch by a corner are one region
            for annotation in annotations:
                region = read.annToMask(annotation).astype(bool)
                rows, columns = np.nonzero(region)
                box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
                assert (annotation["area"], annotation["bbox"], annotation["iscrowd"]) == (region.sum(), box, 0)
                mask[region] = annotation["category_id"]
            assert (mask == known(sample.mask)).all()
    assert seen == len(samples)
    assert not (output / "images").exists()


def test_coco_calls_no_category_0_where_there_is_no_background(write):
    pytest.importorskip("pycocotools.coco", reason="needs the extra coco")
    output, _ = write("coco", classes=("sky", "cat", "tabby dog"))
    content = json.loads((output / "annotations/instances_train.json").read_text())
    assert [(entry["id"], entry["name"]) for entry in content["categories"]] == [(1, "sky"), (2, "cat"), (3, "tabby dog")]
    assert {annotation["category_id"] for annotation in content["annotations"]} == {1, 2, 3}


def test_coco_semantic_keeps_what_is_unknown(write, samples):
    output, losses = write("coco-semantic", images=True)
    assert losses == []
    content = json.loads((output / "annotations/panoptic_val.json").read_text())
    names = {category["id"]: category["name"] for category in content["categories"]}
    files = {image["id"]: image["file_name"] for image in content["images"]}
    assert len(content["annotations"]) == 6
    for annotation in content["annotations"]:
        sample = samples[annotation["file_name"].removesuffix(".png")]
        assert (output / "images" / files[annotation["image_id"]]).is_file()
        codes = pixels(output / "annotations/panoptic_val" / annotation["file_name"]).astype(int) @ [1, 256, 65536]
        mask = np.full(codes.shape, 255)
        for segment in annotation["segments_info"]:
            assert segment["area"] == (codes == segment["id"]).sum()
            mask[codes == segment["id"]] = CLASSES.index(names[segment["category_id"]])
        assert (mask == sample.mask).all()
        assert {0, *(segment["id"] for segment in annotation["segments_info"])} == set(np.unique(codes).tolist())


def test_yolo_names_every_image_and_class(write, samples):
    output, losses = write("yolo-seg")
    assert len(losses) == 1 and losses[0].startswith("yolo-seg has no word for unknown pixels: 112 pixels")
    assert (output / "data.yaml").read_text() == 'train: "images/train"\nval: "images/val"\nnames:\n  0: "cat"\n  1: "tabby dog"\n'
    images = sorted(p.relative_to(output / "images").with_suffix("") for p in (output / "images").rglob("*") if p.is_file())
    labels = sorted(p.relative_to(output / "labels").with_suffix("") for p in (output / "labels").rglob("*.txt"))
    assert images == labels and len(images) == len(samples)
    assert Path("val/images_/x") in images  # the reader looks for labels by the last /images/ of a path
    rows = [line.split() for line in (output / "labels/train/plain.txt").read_text().splitlines()]
    assert [row[0] for row in rows] == ["0", "0", "0", "1", "1"]
    height, width = samples["plain"].mask.shape
    dot = np.array(rows[4][1:], float).reshape(-1, 2) * (width, height)  # the class within another one: a single pixel
    assert np.floor(dot).tolist() == [[5, 7]] * 3


def test_cvat_holds_colours_objects_and_lists(write, samples):
    output, losses = write("cvat")
    assert losses == ["Unknown pixels (255) go to CVAT as the label 'ignored': the task needs a label of that name."]
    with zipfile.ZipFile(output) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    assert files["labelmap.txt"].decode().splitlines() == [
        "# label:color_rgb:parts:actions", "background:0,0,0::", "cat:128,0,0::", "tabby dog:0,128,0::", "ignored:224,224,192::",
    ]  # fmt: skip
    assert files["ImageSets/Segmentation/train.txt"].decode() == "plain\nwith space\n"
    assert files["ImageSets/Segmentation/val.txt"].decode().splitlines() == list(samples)[2:]
    for image_id, sample in samples.items():
        assert (pixels(files[f"SegmentationClass/{image_id}.png"]) == voc_palette()[sample.mask]).all()
        objects = pixels(files[f"SegmentationObject/{image_id}.png"]).astype(int) @ [1, 256, 65536]
        assert ((objects == 0) == (sample.mask == 0)).all()
        for code in set(np.unique(objects).tolist()) - {0}:
            assert len(np.unique(sample.mask[objects == code])) == 1
        assert len(np.unique(objects)) == 7
    assert len(files) == 2 * len(samples) + 3
    again, _ = write("cvat")
    assert again.read_bytes() == output.read_bytes()


def test_cvat_keeps_black_for_the_background(write, samples):
    with zipfile.ZipFile(write("cvat", classes=("sky", "cat", "tabby dog"))[0]) as archive:
        assert archive.read("labelmap.txt").decode().splitlines()[1:3] == ["background:0,0,0::", "sky:128,0,0::"]
        mask = samples["plain"].mask
        assert (pixels(archive.read("SegmentationClass/plain.png")) == voc_palette()[np.where(mask == 255, 255, mask + 1)]).all()


def test_cvat_refuses_a_class_that_its_list_cannot_hold(write):
    with pytest.raises(UsageError, match="cannot hold the class 'a:b'"):
        write("cvat", classes=("background", "a:b", "dog"))


def test_label_studio_holds_a_brush_a_class(write, samples):
    output, losses = write("label-studio")
    assert losses == ["Unknown pixels (255) are a brush of the label 'ignored'."]
    tasks = json.loads((output / "tasks.json").read_text())
    assert [task["data"]["labelseg"] for task in tasks] == list(samples)
    assert tasks[1]["data"]["image"] == "/data/local-files/?d=out/images/with%20space.jpg"
    ids = {"cat": 1, "tabby dog": 2, "ignored": 255}
    for task, sample in zip(tasks, samples.values(), strict=True):
        mask = np.zeros(sample.mask.shape, np.uint8)
        for result in task["predictions"][0]["result"]:
            size = result["original_height"], result["original_width"]
            mask[decode_brush(result["value"]["rle"], size)] = ids[result["value"]["brushlabels"][0]]
        assert (mask == sample.mask).all()
    config = ElementTree.parse(output / "config.xml")
    assert [label.get("value") for label in config.iter("Label")] == list(ids)
    assert (config.find("Image").get("name"), config.find("BrushLabels").get("name")) == ("image", "mask")


def test_mmseg_has_one_suffix_and_grey_masks(write, samples):
    output, losses = write("mmseg", common_suffix=".png")
    assert losses == []
    for image_id, sample in samples.items():
        with Image.open(output / "ann_dir" / sample.split / f"{image_id}.png") as image:
            assert image.mode == "L"
            assert (np.asarray(image) == sample.mask).all()
        with Image.open(output / "img_dir" / sample.split / f"{image_id}.png") as image:
            assert image.size == sample.mask.shape[::-1]
    lines = (output / "dataset.py").read_text()
    ast.parse(lines)
    found: dict = {}
    exec(lines, found)
    assert found["metainfo"] == {"classes": CLASSES, "palette": voc_palette()[:3].tolist()}
    assert found["val_dataset"]["data_prefix"] == {"img_path": "img_dir/val", "seg_map_path": "ann_dir/val"}


@pytest.mark.parametrize(("name", "images", "masks"), [("fiftyone", "data", "labels"), ("huggingface", "images", "masks")])
def test_folders_of_images_and_masks(write, samples, name, images, masks):
    output, losses = write(name)
    assert losses == []
    for image_id, sample in samples.items():
        folder = output / sample.split
        assert (pixels(folder / masks / f"{image_id}.png") == sample.mask).all()
        suffix = ".png" if image_id == "turned" else sample.picture.suffix
        assert pixels(folder / images / f"{image_id}{suffix}").shape == (*sample.mask.shape, 3)


def test_the_lines_for_fiftyone_name_the_classes(write):
    tree = ast.parse((write("fiftyone")[0] / "load.py").read_text())
    named = {node.targets[0].id: node.value for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)}
    assert ast.literal_eval(named["TARGETS"]) == {0: "background", 1: "cat", 2: "tabby dog", 255: "ignored"}
    assert ast.literal_eval(named["SPLITS"]) == ["train", "val"]


def test_hugging_face_rows_name_both_files(write, samples):
    output, _ = write("huggingface")
    rows = [json.loads(line) for line in (output / "val/metadata.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == list(samples)[2:]
    assert all((output / "val" / row["file_name"]).is_file() and (output / "val" / row["mask_file_name"]).is_file() for row in rows)
    assert "- 2: tabby dog" in (output / "README.md").read_text()


def test_a_photo_turned_by_exif_is_saved_upright_and_others_are_copied(write, samples):
    output, _ = write("fiftyone")
    assert (pixels(output / "val/data/turned.png") == samples["turned"].picture.read()).all()
    assert (output / "val/data/farm/one.jpg").read_bytes() == samples["farm/one"].picture.path.read_bytes()


def test_the_id_of_one_of_two_files_of_one_stem_keeps_its_suffix(samples):
    sample = samples["farm/one"]
    assert sample.file_name == "farm/one.jpg"
    assert type(sample)("farm/one.jpg", "val", sample.mask, sample.picture).file_name == "farm/one.jpg"
    assert type(sample)("scene/1", "val", sample.mask, type(sample.picture)(None, sample.picture.read)).file_name == "scene/1.png"


def test_nothing_is_there_after_an_error(tmp_path):
    for archive in (False, True):
        with pytest.raises(KeyError), published(tmp_path / "out", archive=archive) as folder:
            (folder / "a.png").write_bytes(b"1")
            raise KeyError
        assert not list(tmp_path.iterdir())


def test_what_is_there_is_not_replaced(tmp_path):
    (tmp_path / "out").mkdir()
    with published(tmp_path / "out") as folder:
        (folder / "a.png").write_bytes(b"1")
    with pytest.raises(UsageError, match="something is there already"), published(tmp_path / "out"):
        pytest.fail("it was opened")


def test_an_image_in_two_of_several_splits_is_refused():
    refuse_twice({"train": {"b": 1, "a": 1}, "val": {"c": 1}})
    with pytest.raises(UsageError, match="export: a is in the splits train and val"):
        refuse_twice({"train": {"b": 1, "a": 1}, "other": {"d": 1}, "val": {"c": 1, "a": 1}})
