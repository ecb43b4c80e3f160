"""config: a parameter answers to its former name as well, in reading as in writing."""

from __future__ import annotations

import pytest
from conftest import labelseg

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
