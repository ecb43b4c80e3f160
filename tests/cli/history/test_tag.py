"""tag: what stands now is kept by name, whatever is run and removed later."""

from __future__ import annotations

import json

import numpy as np
import pytest
import toy_chain
from conftest import TRAIN, labelseg
from PIL import Image
from safetensors.numpy import load_file

from labelseg.errors import UsageError
from labelseg.results import tags
from labelseg.workspace import Workspace


def scores(root, *words):
    result = labelseg(root, "evaluate", *words, "--json")
    assert result.exit_code == 0, result.output
    return {row["instance"]: row["miou"] for row in json.loads(result.stdout)}


def test_a_kept_state_is_scored_as_it_was(finished):
    assert labelseg(finished, "tag", "before").stderr.strip() == "Kept 4 artifacts under 'before'."
    labelseg(finished, "spread", "--rows", "4")
    now = scores(finished)
    kept = scores(finished, "--tag", "before")
    assert list(kept) == ["cam", "spread", "segment"]
    assert (kept["spread"], now["spread"]) == (1.0, pytest.approx((120 / 180 + 1) / 3))
    assert scores(finished, "spread", "--tag", "before") == {"spread": 1.0}


def test_gc_keeps_what_a_tag_names_until_it_is_deleted(finished):
    labelseg(finished, "tag", "before", "spread")
    labelseg(finished, "spread", "--rows", "4")
    assert "Removed: 0 artifacts, 0 parts" in labelseg(finished, "gc").stderr
    assert scores(finished, "--tag", "before") == {"spread": 1.0}
    assert "which kept 1 artifact" in labelseg(finished, "tag", "--delete", "before").stderr
    assert "Removed: 1 artifact, " in labelseg(finished, "gc").stderr
    assert labelseg(finished, "status", "--exit-code").exit_code == 0


def test_gc_keeps_what_a_tag_names_of_an_instance_that_left_the_file(finished):
    labelseg(finished, "spread", "--as", "wide", "--rows", "4")
    labelseg(finished, "tag", "before", "spread@wide")
    text = (finished / "labelseg.toml").read_text()
    (finished / "labelseg.toml").write_text(text[: text.index("[spread.wide]")])
    assert "Removed: 0 artifacts, 0 parts" in labelseg(finished, "gc").stderr
    assert scores(finished, "--tag", "before") == {"spread@wide": pytest.approx((120 / 180 + 1) / 3)}
    assert scores(finished, "spread@wide", "--tag", "before") == {"spread@wide": pytest.approx((120 / 180 + 1) / 3)}
    assert "spread@wide" not in labelseg(finished, "status").stdout


def test_masks_and_models_under_a_tag_are_exported(finished, tmp_path):
    labelseg(finished, "tag", "before")
    labelseg(finished, "run", "--force", "train-net")
    labelseg(finished, "spread", "--rows", "8")
    labelseg(finished, "config", "train-net.epochs", "7")
    labelseg(finished, "train-net")
    assert labelseg(finished, "export", "spread", "--tag", "before", "-o", tmp_path / "old").exit_code == 0
    assert labelseg(finished, "export", "spread", "-o", tmp_path / "new").exit_code == 0
    for image_id, class_id in TRAIN.items():
        assert np.unique(np.array(Image.open(tmp_path / "old" / f"{image_id}.png"))).tolist() == [0, class_id]
        assert np.unique(np.array(Image.open(tmp_path / "new" / f"{image_id}.png"))).tolist() == [0]
    for words, epochs in ((["--tag", "before"], 2), ([], 7)):
        assert labelseg(finished, "export", "train-net", *words, "--model", tmp_path / "net.safetensors").exit_code == 0
        assert load_file(tmp_path / "net.safetensors")["w"].tolist() == [epochs]


def test_tags_are_listed_with_what_they_keep_and_whether_it_stands(finished):
    labelseg(finished, "tag", "before", "spread", "train-net")
    labelseg(finished, "spread", "--rows", "4")
    labelseg(finished, "spread", "--rows", "5", "--no-save")
    lines = labelseg(finished, "tag", "--list").stdout.splitlines()
    assert lines[0].split() == ["TAG", "STAGE", "SPLIT", "ITEMS", "MADE", "STANDS"]
    cells = [line.split() for line in lines[1:]]
    assert [[*row[:-2], row[-1]] for row in cells] == [
        ["before", "spread", "train", "3", "no"],
        ["before", "train-net", "1", "yes"],
        ["unsaved", "spread", "train", "3", "no"],
    ]
    rows = json.loads(labelseg(finished, "tag", "--json").stdout)
    assert [(row["tag"], row["instance"], row["split"], row["stands"]) for row in rows] == [
        ("before", "spread", "train", False),
        ("before", "train-net", "", True),
        ("unsaved", "spread", "train", False),
    ]


def test_a_tag_takes_up_more_and_replaces_nothing(finished):
    assert labelseg(finished, "tag", "v1", "spread").exit_code == 0
    assert labelseg(finished, "tag", "v1", "spread", "cam").stderr.strip() == "Kept 2 artifacts under 'v1'."
    labelseg(finished, "spread", "--rows", "4")
    result = labelseg(finished, "tag", "v1")
    assert result.exit_code == 2
    assert "the tag 'v1' keeps spread (train) of " in result.stderr
    assert "labelseg tag --delete v1" in result.stderr
    workspace = Workspace(finished, stages=toy_chain.STAGES)
    assert [(ref.instance, ref.split) for ref in tags.tags(workspace)["v1"]] == [("cam", "train"), ("spread", "train")]
    assert scores(finished, "spread", "--tag", "v1") == {"spread": 1.0}


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("tag unsaved", 2, "'unsaved' is where --no-save puts what it tries. Choose another name."),
        ("tag a:b", 2, "'a:b': expected a name of 64 letters"),
        ("tag ../up", 2, "'../up': expected a name"),
        ("tag v1 spred", 2, "Did you mean 'spread'?"),
        ("tag v1 spread@wide", 2, "has no table [spread.wide]"),
        ("tag --delete v0", 1, "there is no tag 'v0'."),
        ("tag --delete unsaved", 2, "labelseg gc --unsaved"),
        ("tag v1 --list", 2, "expected one of NAME, --list and --delete NAME"),
        (
            "evaluate --tag v0",
            1,
            "nothing to evaluate: no stage that makes masks has run here under the tag 'v0'. See: labelseg tag --list",
        ),
        ("evaluate spread --tag v0", 1, "there is no tag 'v0'."),
        ("evaluate spread --tag v0 --unsaved", 2, "expected one of --unsaved and --tag NAME"),
        ("export spread --tag v0 -o out", 1, "there is no tag 'v0'."),
        ("show spread --tag v0", 1, "there is no tag 'v0'."),
    ],
)
def test_tag_refuses(finished, words, code, message):
    before = sorted((finished / ".labelseg").rglob("*"))
    result = labelseg(finished, *words.split())
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert sorted((finished / ".labelseg").rglob("*")) == before


def test_a_tag_that_keeps_nothing_of_a_stage_says_so(finished):
    labelseg(finished, "tag", "v1", "spread")
    assert "the tag 'v1' keeps nothing of cam. See: labelseg tag --list" in labelseg(finished, "show", "cam", "--tag", "v1").stderr
    assert "there is no tag 'v2'. Known: v1." in labelseg(finished, "show", "cam", "--tag", "v2").stderr


def test_python_keeps_states_too(finished):
    workspace = Workspace(finished, stages=toy_chain.STAGES)
    assert [ref.instance for ref in tags.keep(workspace, "v1", ["spread"])] == ["spread"]
    with pytest.raises(UsageError, match="--no-save"):
        tags.keep(workspace, "unsaved")
    assert tags.delete(workspace, "v1") == 1
    assert tags.tags(workspace) == {}
