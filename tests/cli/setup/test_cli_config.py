"""config: a parameter answers to its former name as well, in reading as in writing."""

from __future__ import annotations

import pytest
from conftest import labelseg
from PIL import Image

from labelseg.commands.setup.config import EVALUATE_KEYS, RUN_KEYS
from labelseg.data.dataset import KEYS
from labelseg.stages import STAGES

TOML = """\
[data]
images = "images"

[refine]
iters = 6

[refine.wide]
smooth_sxy = 2.0
"""


@pytest.fixture
def root(tmp_path):
    (tmp_path / "labelseg.toml").write_text(TOML)
    return tmp_path


def config(root, *words):
    result = labelseg(root, "config", *words, stages=STAGES)
    assert result.exit_code == 0, result.output
    return result


@pytest.mark.parametrize(
    ("asked", "key", "value"),
    [
        ("refine.iters", "refine.crf_iters", "6"),
        ("refine.crf_iters", "refine.crf_iters", "6"),
        ("refine.wide.iters", "refine.wide.crf_iters", "6"),
        ("refine@wide.smooth_sxy", "refine.wide.crf_smooth_sxy", "2.0"),
        ("train-affinity.labels", "train-affinity.affinity_labels", '"affinity-labels"'),
    ],
)
def test_a_value_is_shown_by_today_s_and_by_its_former_name(root, asked, key, value):
    rows = [line.split()[:2] for line in config(root, asked).stdout.splitlines()]
    assert rows == [["KEY", "VALUE"], [key, value]]


def test_the_name_of_today_is_told_where_the_former_one_was_asked_for(root):
    told = "refine.iters is called refine.crf_iters now.\n"
    assert config(root, "refine.iters").stderr == told
    assert config(root, "refine.crf_iters").stderr == ""
    assert config(root, "refine.iters", "5").stderr == f"{told}{root / 'labelseg.toml'}: refine.crf_iters = 5\n"


def test_what_is_set_by_a_former_name_can_be_read_and_unset_by_it(root):
    config(root, "refine.iters", "5")
    assert config(root, "refine.iters").stdout.splitlines()[1].split()[1] == "5"
    config(root, "refine.iters", "--unset")
    assert config(root, "refine.iters").stdout.splitlines()[1].split()[1:] == ["10", "default"]


def test_a_table_may_have_the_name_of_a_former_parameter(root):
    (root / "labelseg.toml").write_text(TOML.replace("[refine.wide]", "[refine.broad]"))
    assert "refine.broad.crf_iters" in config(root, "refine.broad").stdout


@pytest.mark.parametrize(
    ("key", "default"),
    [
        ("data.long_side", "images are worked on at the size of their files"),
        ("data.masks", "none"),
        ("run.target", "none, so a run needs the name of a stage"),
        ("evaluate.threshold", "the best on the scored images"),
        ("store.url", "none"),
    ],
)
def test_a_key_that_can_be_set_and_is_not_is_told_so(root, key, default):
    assert config(root, key).stdout == f"{key} is not set; the default: {default}.\n"


def test_every_key_of_the_plain_tables_is_known_and_a_misspelt_one_gets_a_name(root):
    for key in (*(f"data.{key}" for key in KEYS), *(f"run.{key}" for key in RUN_KEYS), *(f"evaluate.{key}" for key in EVALUATE_KEYS)):
        assert key == "data.images" or "is not set" in config(root, key).stdout
    (root / "images").mkdir()
    Image.new("RGB", (4, 4)).save(root / "images/a.png")
    (root / "classes.txt").write_text("background\ncat\n")
    config(root, "data.classes", root / "classes.txt")
    config(root, "data.long_side", "64")
    assert config(root, "data.long_side").stdout.splitlines()[1].split()[:2] == ["data.long_side", "64"]
    told = labelseg(root, "config", "data.long_sied", stages=STAGES)
    assert told.exit_code == 2 and "no key is called 'data.long_sied'. Did you mean 'data.long_side'?" in told.stderr
