"""Ids of images and masks."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from labelseg.data.folder.image_ids import ImageIndex
from labelseg.data.folder.mask_names import Endings, MaskIndex, fitting_endings
from labelseg.errors import DataError


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_an_id_is_the_relative_path_without_extension(tmp_path: Path) -> None:
    folder = touch(tmp_path, "b.JPG", "a.b.png", "x/y/c.tif", ".hidden.jpg", ".git/d.jpg", "note.txt", "._b.jpg")
    assert ImageIndex(folder).files == {"a.b": "a.b.png", "b": "b.JPG", "x/y/c": "x/y/c.tif"}


def test_ids_come_in_their_own_order_and_not_in_that_of_files(tmp_path: Path) -> None:
    assert ImageIndex(touch(tmp_path, "a-b.png", "a.png", "a/c.png")).ids == ["a", "a-b", "a/c"]


def test_files_that_would_collide_keep_their_extension(tmp_path: Path) -> None:
    folder = touch(tmp_path, "a.jpg", "a.png", "b.jpg", "a.jpg.png")
    index = ImageIndex(folder)
    assert index.files == {"a.jpg": "a.jpg", "a.jpg.png": "a.jpg.png", "a.png": "a.png", "b": "b.jpg"}
    assert index.resolve("b.jpg", "list") == "b"
    with pytest.raises(DataError, match=r"list: 'a' may mean a\.jpg, a\.png"):
        index.resolve("a", "list")


def test_a_name_may_be_an_id_a_path_or_a_bare_name_where_unique(tmp_path: Path) -> None:
    index = ImageIndex(touch(tmp_path, "x/a.jpg", "x/b.jpg", "y/b.jpg", "c d.jpg"))
    resolved = [index.resolve(name, "list") for name in ("x/a", "x/a.jpg", "a", "a.jpg", "c d")]
    assert resolved == ["x/a", "x/a", "x/a", "x/a", "c d"]
    with pytest.raises(DataError, match=r"list: 'b' may mean x/b, y/b\."):
        index.resolve("b", "list")
    with pytest.raises(DataError, match=r"list: no image 'x/aa' in .*\. Did you mean 'x/a'\?"):
        index.resolve("x/aa", "list")


def test_accents_match_composed_or_not(tmp_path: Path) -> None:
    name = unicodedata.normalize("NFD", "caf\u00e9")
    index = ImageIndex(touch(tmp_path, f"{name}.jpg"))
    assert index.resolve("caf\u00e9", "list") == name


def test_linked_folders_are_followed_and_circles_end(tmp_path: Path) -> None:
    touch(tmp_path, "far/a.jpg", "images/b.jpg")
    (tmp_path / "images/far").symlink_to(tmp_path / "far")
    (tmp_path / "images/far/back").symlink_to(tmp_path / "images")
    assert ImageIndex(tmp_path / "images").ids == ["b", "far/a"]


def test_a_folder_without_images_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected images"):
        _ = ImageIndex(tmp_path).ids
    with pytest.raises(DataError, match="expected a folder of images"):
        _ = ImageIndex(tmp_path / "none").ids


def test_a_mask_lies_at_the_path_of_its_image_or_has_its_unique_stem(tmp_path: Path) -> None:
    images = ImageIndex(touch(tmp_path / "images", "x/a.jpg", "y/a.jpg", "x/b.jpg", "c.jpg", "c.png", "d.jpg"))
    masks = MaskIndex(touch(tmp_path / "masks", "x/a.png", "b.png", "c.jpg.png", "a.png"), images)
    found = {image_id: masks.path(image_id) for image_id in images.ids}
    expected = {"x/a": "x/a.png", "y/a": None, "x/b": "b.png", "c.jpg": "c.jpg.png", "c.png": None, "d": None}
    assert found == {image_id: file and tmp_path / "masks" / file for image_id, file in expected.items()}


def test_masks_are_found_by_an_ending_that_their_images_have_not(tmp_path: Path) -> None:
    names = ("aachen/a_1_leftImg8bit.png", "bonn/b_2_leftImg8bit.png", "c.png")
    images = ImageIndex(touch(tmp_path / "images", *names))
    kinds = ("labelIds", "color", "instanceIds")
    folder = touch(
        tmp_path / "masks", "c_labelIds.png", "c.png", *(f"{name}_{kind}.png" for kind in kinds for name in ("aachen/a_1", "b_2"))
    )
    masks = MaskIndex(folder, images, Endings("_leftImg8bit", "_labelIds"))
    found = [masks.path(image_id) for image_id in images.ids]
    assert found == [folder / "aachen/a_1_labelIds.png", folder / "b_2_labelIds.png", folder / "c_labelIds.png"]
    assert masks.files == ["aachen/a_1_labelIds.png", "b_2_labelIds.png", "c_labelIds.png"]
    assert MaskIndex(folder, images).path("aachen/a_1_leftImg8bit") is None


@pytest.mark.parametrize(
    ("images", "masks", "found"),
    [
        (["a", "b"], ["a_L", "b_L"], Endings("", "_L")),
        (["x/a_1", "a_2"], ["a_1-mask", "y/a_2-mask", "other"], Endings("", "-mask")),
        (
            ["u_0_leftImg8bit", "v_1_leftImg8bit"],
            ["u_0_gtFine_labelIds", "v_1_gtFine_labelIds"],
            Endings("_leftImg8bit", "_gtFine_labelIds"),
        ),
        (["a_rgb", "b_rgb"], ["a", "b"], Endings("_rgb", "")),
        (["a_rgb", "b_rgb", "cut", "other_x"], ["a_seg", "b_seg"], Endings("_rgb", "_seg")),
        (["a_rgb", "b", "cut"], ["a_seg", "x_seg", "y_seg"], None),
        (["a", "b"], ["c_L", "d_L"], None),
        (["a", "b", "c"], ["a_L", "x", "y"], None),
        (["a"], [], None),
    ],
)
def test_endings_by_which_masks_fit_images_are_found(images, masks, found) -> None:
    assert fitting_endings(images, masks) == found


def test_two_masks_of_one_image_are_an_error(tmp_path: Path) -> None:
    images = ImageIndex(touch(tmp_path / "images", "a.jpg"))
    with pytest.raises(DataError, match=r"a\.png and a\.tif are masks of one image"):
        MaskIndex(touch(tmp_path / "masks", "a.png", "a.tif"), images).path("a")


def test_a_folder_of_masks_below_the_images_holds_no_images(tmp_path):
    folder = touch(tmp_path / "images", "a.jpg", "masks/a.png", "more/b.jpg")
    assert ImageIndex(folder, folder / "masks").ids == ["a", "more/b"]
    assert ImageIndex(folder, folder).ids == ["a", "masks/a", "more/b"]
    assert ImageIndex(folder, tmp_path).ids == ["a", "masks/a", "more/b"]
    (tmp_path / "linked").symlink_to(folder / "masks")
    assert ImageIndex(folder, tmp_path / "linked").ids == ["a", "more/b"]


@pytest.mark.parametrize(
    ("name", "image_id"),
    [
        ("images/farm/1.jpg", "farm/1"),
        (".\\farm\\1.jpg", "farm/1"),
        ("C:\\Users\\me\\photos\\farm\\1.jpg", "farm/1"),
        ("/home/me/photos/top.JPG", "top"),
        ("./farm/./1", "farm/1"),
        ("top.png", "top"),
        ("FARM/1.jpeg", "farm/1"),
        ("Top", "top"),
        ("PIER.2.jpg", "coast/pier.2"),
        ("Pier.2", "coast/pier.2"),
        (" top ", "top"),
    ],
)
def test_a_name_is_found_as_other_systems_write_it(tmp_path: Path, name: str, image_id: str) -> None:
    touch(tmp_path, "farm/1.jpg", "coast/1.jpg", "coast/pier.2.JPG", "top.jpg")
    assert ImageIndex(tmp_path).resolve(name, "x") == image_id
    assert ImageIndex(tmp_path).matches(name, exactly=True) == []


@pytest.mark.parametrize("name", ["sea/1.jpg", "1", "other/2.jpg", "farm"])
def test_no_image_of_another_folder_is_taken_for_one_that_is_not_there(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "farm/1.jpg", "coast/1.jpg", "coast/2.jpg")
    assert len(ImageIndex(tmp_path).matches(name)) != 1
