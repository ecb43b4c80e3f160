"""Datasets of folders, of VOC and of scenes."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from labelseg.data.dataset import VOC_CLASSES, open_dataset
from labelseg.data.formats.png import write_palette_png
from labelseg.errors import DataError, UsageError

TABLE: dict[str, Any] = {"images": "images", "labels": "labels.csv", "masks": "masks", "classes": "lists/classes.txt", "splits": "lists"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six images; labels for five; masks for two; lists val and few beside the class file."""
    for folder in ("images/x", "masks", "lists"):
        (tmp_path / folder).mkdir(parents=True)
    for number, name in enumerate(("a", "b", "c", "d", "x/e", "x/f")):
        Image.fromarray(np.full((4, 6, 3), 10 * number, np.uint8)).save(tmp_path / f"images/{name}.png")
    for name in "ab":
        Image.fromarray(np.array([[0, 1, 2, 255, 0, 0]] * 4, np.uint8)).save(tmp_path / f"masks/{name}.png")
    (tmp_path / "lists/classes.txt").write_text("background\ncat\ndog\n")
    (tmp_path / "lists/val.txt").write_text("b\nf\n")
    (tmp_path / "lists/few.txt").write_text("a\n")
    (tmp_path / "labels.csv").write_text("image,labels\na,cat dog\nb,cat\nc,\nd.png,dog\ne,dog\n")
    return tmp_path


def test_a_folder_dataset_knows_classes_splits_tags_and_masks(root: Path) -> None:
    data = open_dataset(root, TABLE)
    assert data.classes == ("background", "cat", "dog")
    assert data.has_background
    assert data.splits() == ["train", "val", "few", "all"]
    assert {split: data.ids(split) for split in data.splits()} == {
        "train": ["a", "c", "d", "x/e"],
        "val": ["b", "x/f"],
        "few": ["a"],
        "all": ["a", "b", "c", "d", "x/e", "x/f"],
    }
    assert [data.tags(image_id) for image_id in data.ids("all")] == [(1, 2), (1,), (), (2,), (2,), None]
    assert data.image("d").tolist() == np.full((4, 6, 3), 30).tolist()
    assert data.mask("a")[0].tolist() == [0, 1, 2, 255, 0, 0]


def test_has_and_identity_agree(root: Path) -> None:
    data = open_dataset(root, TABLE)
    assert [data.has("a", kind) for kind in ("image", "tags", "mask")] == [True, True, True]
    assert [data.has("x/f", kind) for kind in ("image", "tags", "mask")] == [True, False, False]
    assert not data.has("none", "image")
    assert data.identity("x/e", "image") == root / "images/x/e.png"
    assert data.identity("a", "mask") == root / "masks/a.png"
    with pytest.raises(DataError, match=r"'x/f' has no tags in .*labels\.csv"):
        data.identity("x/f", "tags")
    with pytest.raises(DataError, match=r"'c' has no mask in .*masks"):
        data.identity("c", "mask")
    with pytest.raises(DataError, match="no image 'none'"):
        data.identity("none", "image")


def test_the_identity_of_tags_tells_ids_and_number_of_classes(root: Path) -> None:
    before = open_dataset(root, TABLE)
    identities = {before.identity(image_id, "tags") for image_id in "abc"}
    assert len(identities) == 3
    (root / "lists/classes.txt").write_text("background\ncat\ndog\ncow\n")
    assert not identities & {open_dataset(root, TABLE).identity(image_id, "tags") for image_id in "abc"}


def test_a_dataset_can_be_pickled_before_and_after_use(root: Path) -> None:
    data = open_dataset(root, TABLE)
    fresh = pickle.loads(pickle.dumps(data))
    assert fresh.ids("train") == data.ids("train")
    assert pickle.loads(pickle.dumps(data)).tags("a") == data.tags("a")


def test_ids_are_the_callers_own(root: Path) -> None:
    data = open_dataset(root, TABLE)
    data.ids("all").clear()
    assert len(data.ids("all")) == 6


def test_fractions_are_dealt_out_of_what_no_held_out_list_names(root: Path) -> None:
    data = open_dataset(root, {**TABLE, "fractions": {"test": 0.5, "seed": 3}})
    splits = {split: set(data.ids(split)) for split in ("train", "val", "test")}
    assert splits["val"] == {"b", "x/f"}
    assert set.union(*splits.values()) == set(data.ids("all"))
    assert sum(map(len, splits.values())) == 6
    with pytest.raises(UsageError, match="lists this split"):
        open_dataset(root, {**TABLE, "fractions": {"val": 0.5}}).splits()


def test_a_listed_train_shares_no_image_with_a_share_that_is_held_out(root: Path) -> None:
    (root / "more").mkdir()
    (root / "more" / "train.txt").write_text("a\nb\n")
    table = {**TABLE, "splits": "more"}
    with pytest.raises(UsageError, match=r"\[data.fractions\] val would share images with the list .*train\.txt. List val too"):
        open_dataset(root, {**table, "fractions": {"val": 0.5}}).splits()
    assert "tune" in open_dataset(root, {**table, "fractions": {"tune": 0.5}}).splits()


def test_images_alone_make_a_dataset(root: Path) -> None:
    data = open_dataset(root, {"images": "images", "classes": ["cat", "dog"]})
    assert data.splits() == ["train", "all"]
    assert data.ids("train") == data.ids("all")
    assert not data.has_background
    assert data.tags("a") is None
    assert not data.has("a", "mask")


def test_classes_come_from_the_labels_where_no_list_names_them(root: Path) -> None:
    table = {"images": "images", "labels": "labels.csv"}
    assert open_dataset(root, table).classes == ("background", "cat", "dog")
    with pytest.raises(DataError, match="nothing names their classes"):
        _ = open_dataset(root, {**table, "masks": "masks"}).classes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lables": "x.csv"}, r"no key 'lables'\. Did you mean 'labels'\?"),
        ({"labels": 3}, "labels: expected a path, got 3"),
        ({"masks": ""}, "masks: expected a path"),
        ({"classes": 5}, "classes: expected a file or a list"),
        ({"fractions": 0.2}, "fractions: expected a table"),
        ({"scenes": {}}, "scenes can be combined with splits only"),
    ],
)
def test_a_wrong_table_is_a_usage_error(root: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_dataset(root, {**TABLE, **change})


def test_no_images_named_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="names no images"):
        open_dataset(tmp_path, {"masks": "masks"})


def test_an_unknown_split_is_a_usage_error_that_lists_the_known(root: Path) -> None:
    with pytest.raises(UsageError, match=r"no split 'vall'\. Did you mean 'val'\? Splits: train, val, few, all"):
        open_dataset(root, TABLE).ids("vall")


def test_an_empty_split_is_an_error(root: Path) -> None:
    (root / "lists/few.txt").write_text("\n")
    with pytest.raises(DataError, match="split 'few' holds no image"):
        open_dataset(root, TABLE).ids("few")


def test_a_list_called_all_is_an_error(root: Path) -> None:
    (root / "lists/all.txt").write_text("a\n")
    with pytest.raises(DataError, match="always holds every image"):
        open_dataset(root, TABLE).splits()


def test_rows_of_the_label_table_must_name_images_once(root: Path) -> None:
    (root / "labels.csv").write_text("image,labels\na,cat\nx/e,dog\na.png,dog\n")
    with pytest.raises(DataError, match=r"labels\.csv line 4: 'a' is on line 2 too"):
        open_dataset(root, TABLE).tags("a")
    (root / "labels.csv").write_text("image,labels\nz,cat\n")
    with pytest.raises(DataError, match=r"labels\.csv line 2: no image 'z'"):
        open_dataset(root, TABLE).tags("a")


def test_a_mask_of_another_size_than_its_image_is_an_error(root: Path) -> None:
    Image.fromarray(np.zeros((6, 4), np.uint8)).save(root / "masks/a.png")
    with pytest.raises(DataError, match=r"a\.png: expected the size of its image, 4 x 6, got 6 x 4"):
        open_dataset(root, TABLE).mask("a")


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    folder = tmp_path / "VOCdevkit/VOC2012"
    for part in ("JPEGImages", "SegmentationClass", "Annotations", "ImageSets/Segmentation"):
        (folder / part).mkdir(parents=True)
    for name in ("2007_1", "2007_2", "2007_3"):
        Image.new("RGB", (8, 6)).save(folder / f"JPEGImages/{name}.jpg")
        (folder / f"Annotations/{name}.xml").write_text("<a><object><name>cat</name></object></a>")
    write_palette_png(np.full((6, 8), 8, np.uint8), folder / "SegmentationClass/2007_1.png")
    (folder / "ImageSets/Segmentation/train.txt").write_text("2007_1\n")
    (folder / "ImageSets/Segmentation/val.txt").write_text("2007_2\n")
    return tmp_path


@pytest.mark.parametrize("folder", [".", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_voc_needs_its_folder_only(voc: Path, folder: str) -> None:
    data = open_dataset(voc, {"voc": folder})
    assert data.classes == VOC_CLASSES
    assert data.splits() == ["train", "val", "all"]
    assert data.ids("train") == ["2007_1"]
    assert data.tags("2007_3") == (8,)
    assert data.identity("2007_3", "tags") == voc / "VOCdevkit/VOC2012/Annotations/2007_3.xml"
    assert np.unique(data.mask("2007_1")).tolist() == [8]
    assert not data.has("2007_2", "mask")


def test_a_label_table_takes_the_place_of_voc_annotations(voc: Path) -> None:
    (voc / "tags.csv").write_text("image,labels\n2007_1,dog\n")
    data = open_dataset(voc, {"voc": "VOCdevkit", "labels": "tags.csv"})
    assert data.tags("2007_1") == (12,)
    assert data.tags("2007_2") is None


def test_a_folder_that_is_no_voc_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected VOC2012"):
        open_dataset(tmp_path, {"voc": "."})


def test_scenes_are_a_dataset_without_files(tmp_path: Path) -> None:
    data = open_dataset(tmp_path, {"scenes": {"train": 3, "val": 2, "seed": 1}})
    assert data.splits() == ["train", "val", "all"]
    assert data.ids("all") == ["train_0000", "train_0001", "train_0002", "val_0000", "val_0001"]
    assert data.has("val_0001", "mask")
    assert not data.has("val_0002", "image")
    assert not data.has("val_1", "image")
    assert data.image("val_0000").shape[:2] == data.mask("val_0000").shape
    assert data.tags("val_0000") == tuple(sorted(set(np.unique(data.mask("val_0000")).tolist()) - {0, 255}))
    assert len({data.identity(image_id, kind) for image_id in data.ids("all") for kind in ("image", "tags", "mask")}) == 15
    with pytest.raises(DataError, match="no scene 'val_0002'"):
        data.image("val_0002")


@pytest.mark.parametrize("scenes", [{"trian": 3}, {"train": -1}, {"train": True}, {"style": "noon"}, 200])
def test_a_wrong_scenes_table_is_a_usage_error(tmp_path: Path, scenes: Any) -> None:
    with pytest.raises(UsageError, match=r"\[data\] scenes"):
        open_dataset(tmp_path, {"scenes": scenes})


@pytest.mark.parametrize("table", [TABLE, {"scenes": {"train": 3}}])
def test_indexing_loads_neither_numpy_nor_pillow_nor_torch(root: Path, table: dict[str, Any]) -> None:
    code = (
        "import sys; from pathlib import Path; from labelseg.data.dataset import open_dataset; "
        f"data = open_dataset(Path({str(root)!r}), {table!r}); data.classes; "
        "[data.identity(i, 'image') for s in data.splits() for i in data.ids(s)]; data.has('a', 'tags'); data.has('a', 'mask'); "
        "sys.exit(bool({'numpy', 'PIL', 'torch', 'zarr'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
