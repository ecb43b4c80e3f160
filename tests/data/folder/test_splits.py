"""Lists and fractions."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelseg.data.folder.image_ids import ImageIndex
from labelseg.data.folder.splits import check_fractions, fraction_splits, read_split
from labelseg.errors import DataError, UsageError

IDS = [f"image_{k}" for k in range(400)]


def test_a_list_names_images_in_any_order(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.jpg").touch()
    images = ImageIndex(tmp_path)
    (tmp_path / "list.txt").write_text("\ufeffc\n\n b.jpg \r\n")
    assert read_split(tmp_path / "list.txt", images) == ["b", "c"]
    (tmp_path / "list.txt").write_text("c\na\nc.jpg\n")
    with pytest.raises(DataError, match=r"list\.txt line 3: 'c' is on line 1 too"):
        read_split(tmp_path / "list.txt", images)
    (tmp_path / "list.txt").write_text("c\nd\n")
    with pytest.raises(DataError, match=r"list\.txt line 2: no image 'd'"):
        read_split(tmp_path / "list.txt", images)


def test_fractions_share_no_image_and_come_near_their_size() -> None:
    splits = fraction_splits(IDS, {"val": 0.2, "test": 0.1}, seed=0)
    assert not set(splits["val"]) & set(splits["test"])
    assert abs(len(splits["val"]) - 80) < 25
    assert abs(len(splits["test"]) - 40) < 20


def test_fractions_depend_on_the_seed_alone() -> None:
    fractions = {"val": 0.2, "test": 0.1}
    assert fraction_splits(IDS, fractions, 0) == fraction_splits(IDS[::-1], dict(reversed(fractions.items())), 0)
    assert fraction_splits(IDS, fractions, 0) != fraction_splits(IDS, fractions, 1)


@settings(deadline=None, derandomize=True, max_examples=10)
@given(st.sets(st.sampled_from(IDS), min_size=50), st.integers(0, 5))
def test_an_image_stays_in_its_split_when_others_come(kept: set[str], seed: int) -> None:
    before = fraction_splits(sorted(kept), {"val": 0.3}, seed)
    after = fraction_splits(IDS, {"val": 0.3}, seed)
    assert before["val"] == sorted(set(after["val"]) & kept)


def test_a_fraction_of_few_images_holds_at_least_one() -> None:
    splits = fraction_splits(["a", "b", "c"], {"val": 0.01, "test": 0.01}, seed=0)
    assert [len(ids) for ids in splits.values()] == [1, 1]
    assert splits["val"] != splits["test"]


@pytest.mark.parametrize("fractions", [{"val": 0}, {"val": 1.0}, {"val": "0.2"}, {"val": True}, {"val": 0.6, "test": 0.6}, {"all": 0.5}])
def test_wrong_fractions_are_an_error(fractions: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=r"data\.fractions"):
        check_fractions(fractions)


def test_a_name_that_is_not_utf8_is_dealt_out_too():
    name = os.fsdecode(b"caf\xe9")
    dealt = fraction_splits([name, "b"], {"val": 0.5}, 0)
    assert set(dealt["val"]) <= {name, "b"}


def test_lists_as_they_are_published_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "JPEGImages"
    (folder / "x").mkdir(parents=True)
    for name in ("2007_000032.jpg", "2007_000039.jpg", "x/a b.jpg", "2008_1.jpg"):
        (folder / name).touch()
    lines = ("/JPEGImages/2007_000032.jpg /SegmentationClassAug/2008_1.jpg", "JPEGImages/2007_000039.jpg", "VOC/x/a b.jpg", "2008_1")
    (tmp_path / "train.txt").write_text("\n".join(lines) + "\n")
    assert read_split(tmp_path / "train.txt", ImageIndex(folder)) == ["2007_000032", "2007_000039", "2008_1", "x/a b"]
    (tmp_path / "train.txt").write_text("a wrong name\n")
    with pytest.raises(DataError, match="line 1: no image 'a wrong name'"):
        read_split(tmp_path / "train.txt", ImageIndex(folder))
