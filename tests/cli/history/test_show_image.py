"""show: an image answers to the names that lists and tables may call it by."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import labelseg
from PIL import Image

TOML = """\
[data]
images = "images"
classes = ["background", "cat", "dog"]

[run]
target = "spread"
"""
FILES = ("north/a 1.png", "north/b.jpg", "south/b.jpg", "south/c.d.png")


@pytest.fixture
def root(tmp_path):
    for name in FILES:
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "images" / name)
    (tmp_path / "labels.csv").write_text("image,labels\n" + "".join(f"{name},cat\n" for name in FILES))
    (tmp_path / "labelseg.toml").write_text(TOML.replace('"images"\n', '"images"\nlabels = "labels.csv"\n'))
    result = labelseg(tmp_path, "cam", "--split", "all", "--workers", "0")
    assert result.exit_code == 0, result.output
    return tmp_path


@pytest.mark.parametrize(
    ("name", "image_id"),
    [
        ("north/a 1", "north/a 1"),
        ("north/a 1.png", "north/a 1"),
        ("a 1", "north/a 1"),
        ("a 1.png", "north/a 1"),
        ("c.d", "south/c.d"),
        ("south/b", "south/b"),
    ],
)
def test_an_image_is_found_by_its_id_its_path_and_its_bare_name(root, name, image_id):
    result = labelseg(root, "show", "cam", name, "--json")
    assert json.loads(result.stdout)["image"] == image_id


def test_a_bare_name_of_two_images_is_refused_with_both(root):
    result = labelseg(root, "show", "cam", "b")
    assert result.exit_code == 2
    assert "'b' may mean north/b, south/b. Write one of them: labelseg show cam north/b" in result.stderr


def test_an_image_that_has_left_the_data_is_found_by_its_id(root):
    (root / "images" / "north" / "a 1.png").unlink()
    assert json.loads(labelseg(root, "show", "cam", "north/a 1", "--json").stdout)["image"] == "north/a 1"
