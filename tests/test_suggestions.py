"""The tail of messages about unknown names."""

from __future__ import annotations

from pathlib import Path

import pytest

from labelseg.libraries import LIBRARIES, library_versions
from labelseg.suggestions import suggestion, unknown_split

STAGES = ("train-classifier", "cam", "refine", "train-affinity")
MANY = [f"class{number:02d}" for number in range(33)]


@pytest.mark.parametrize(
    ("word", "known", "options", "expected"),
    [
        ("can", STAGES, {}, " Did you mean 'cam'?"),
        ("train-affinit", STAGES, {"count": 3}, " Did you mean 'train-affinity' or 'train-classifier'?"),
        ("xyz", STAGES, {}, " Known: train-classifier, cam, refine, train-affinity."),
        ("xyz", ("cat", "cat", "dog"), {"listed": "Classes"}, " Classes: cat, dog."),
        ("xyz", STAGES, {"listed": ""}, ""),
        ("xyz", (), {}, ""),
        ("zebra", MANY, {}, f" Known: {', '.join(MANY[:30])} and 3 more."),
        ("zebra", MANY[:30], {}, f" Known: {', '.join(MANY[:30])}."),
    ],
)
def test_an_unknown_name_is_answered_with_a_near_one_or_with_the_known_ones(word, known, options, expected):
    assert suggestion(word, known, **options) == expected


@pytest.mark.parametrize(
    ("split", "tail"),
    [
        ("trian", " Did you mean 'train'? Splits: train, val."),
        ("x", " Splits: train, val."),
        ("target:all", " There is no data set 'target' yet. Add it: labelseg data add target --images DIR. Splits: train, val."),
    ],
)
def test_an_unknown_split_is_told_in_one_way(split, tail):
    assert unknown_split(split, ["train", "val"]) == f"the data has no split '{split}'.{tail}"
    package = Path(__file__).parents[1] / "labelseg"
    assert [path.name for path in package.rglob("*.py") if "data has no split" in path.read_text()] == ["suggestions.py"]


def test_versions_follow_the_list_and_leave_out_what_is_not_installed():
    versions = library_versions()
    assert list(versions) == [name for name in LIBRARIES if name in versions]
    assert {"labelseg", "torch", "numpy", "zarr"} <= versions.keys()
