"""Chains of one stage: each link reads the one before, and the highest number brings all of them up to date."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from labelseg.errors import UsageError
from labelseg.pipeline.declare.stage import Stage, option, source, split_option
from labelseg.pipeline.plan.graph import resolve
from labelseg.pipeline.plan.keys import key_params
from labelseg.pipeline.run.options import RunOptions
from labelseg.pipeline.store.artifacts import Model
from tests.pipeline import toy


@dataclass(frozen=True, kw_only=True)
class LinkParams:
    """Parameters of a link."""

    link: int = option(0, help="Number.", minimum=0)
    unit: int = option(1, help="What each link adds.", shared=True)
    bonus: int = option(0, help="What later links add.", effective=lambda params: params.link > 0)
    previous: str = source("", help="Link before.", kind="model")
    split: str = split_option("train", help="Split.")
    more: str = split_option("", help="What later links read too.", effective=lambda params: params.link > 0)

    def __post_init__(self) -> None:
        if self.link and not self.previous:
            object.__setattr__(self, "previous", f"link@{self.link - 1}")


def run_link(inputs, params) -> Model:
    """Add to the link before."""
    toy.note(inputs, inputs.instance)
    before = int(inputs.model("previous").tensors["w"][0]) if params.previous else 0
    return Model({"w": np.array([before + params.unit + params.bonus], np.int64)})


LINK = Stage("link", 1, "model", LinkParams, run_link, lambda params: {"split": ("image",), "more": ("image",)}, numbered="link")
FIRST = RunOptions(workers=0, device="cpu", create=True)


@pytest.fixture
def root(tmp_path) -> Path:
    toy.make(tmp_path / "w", images=2)
    (tmp_path / "w" / "labelseg.toml").write_text("")
    return tmp_path / "w"


def workspace(root, environ=None):
    return toy.ToyWorkspace(root, stages=(LINK,), environ=environ)


def run(root, instance, options=FIRST, **params):
    workspace(root).run(instance, options=options, **params)
    return toy.computed(root)


def test_the_last_link_brings_all_up_to_date(root):
    assert run(root, "link@2") == ["link@0", "link@1", "link@2"]
    assert int(workspace(root).model("link@2").tensors["w"][0]) == 3
    assert run(root, "link@2") == []


def test_links_before_the_highest_need_no_table(root):
    run(root, "link@2")
    assert (root / "labelseg.toml").read_text().split() == ["[link.2]"]
    assert workspace(root).config.instances() == ["link", "link@0", "link@1", "link@2"]
    assert {row.instance: row.state for row in workspace(root).status()} == {"link@0": "fresh", "link@1": "fresh", "link@2": "fresh"}


def test_a_shared_parameter_given_for_one_link_holds_for_all(root):
    assert run(root, "link@1", unit=5) == ["link@0", "link@1"]
    assert int(workspace(root).model("link@1").tensors["w"][0]) == 10
    assert workspace(root).config.tables["link"] == {"unit": 5, "1": {}}
    assert run(root, "link@1") == []


def test_a_dry_run_knows_a_shared_parameter_that_it_does_not_write(root):
    run(root, "link@1")
    report = workspace(root).run("link@1", options=RunOptions(dry_run=True), unit=7)
    assert [result.action for result in report.results] == ["trained", "trained"]
    assert workspace(root).config.params("link@0").unit == 1


def test_a_parameter_without_effect_leaves_a_link_fresh(root):
    run(root, "link@1")
    with (root / "labelseg.toml").open("a") as file:
        file.write("[link]\nbonus = 3\n")
    assert run(root, "link@1") == ["link@1"]
    assert "bonus" not in key_params(LINK, LinkParams(), lambda path: "")
    assert "bonus" in key_params(LINK, LinkParams(link=1), lambda path: "")


def test_a_split_that_a_link_does_not_read_leaves_it_fresh(root):
    run(root, "link@1")
    with (root / "labelseg.toml").open("a") as file:
        file.write('[link]\nmore = "val"\n')
    assert run(root, "link@1") == ["link@1"]
    assert [node.splits for node in resolve(workspace(root).config, "link@1")] == [{"split": "train"}, {"split": "train", "more": "val"}]


def test_a_split_given_for_a_link_that_does_not_read_it_is_refused_and_not_written(root):
    run(root, "link@1")
    with pytest.raises(UsageError, match=r"link@0 --more: under its other parameters link@0 does not read more 'val'\. Leave it out"):
        run(root, "link@0", more="val")
    assert "more" not in (root / "labelseg.toml").read_text()
    with (root / "labelseg.toml").open("a") as file:
        file.write('[link.0]\nmore = "val"\n')
    with pytest.raises(UsageError, match=r"labelseg.toml \[link.0\]: under its other parameters link@0 does not read more"):
        run(root, "link@1")


def test_another_number_than_the_name_says_is_refused(root):
    (root / "labelseg.toml").write_text("[link.1]\nlink = 2\n")
    with pytest.raises(UsageError, match="link@1: its link is 2, but its name says 1"):
        workspace(root)


def test_a_link_beyond_the_highest_is_unknown(root):
    run(root, "link@1")
    with pytest.raises(UsageError, match="has no table"):
        workspace(root).config.params("link@2")


def test_a_named_link_stands_beside_the_chain(root):
    run(root, "link@1")
    assert run(root, "link@side", link=2, bonus=4) == ["link@side"]
    assert int(workspace(root).model("link@side").tensors["w"][0]) == 7
    assert workspace(root).config.instances() == ["link", "link@0", "link@1", "link@side"]


def test_a_shared_parameter_of_a_named_link_is_its_own(root):
    run(root, "link@1")
    assert run(root, "link@side", link=1, unit=4, previous="link@0") == ["link@side"]
    assert workspace(root).config.params("link@0").unit == 1


def test_the_environment_reaches_a_link_without_a_table(root):
    (root / "labelseg.toml").write_text("[link.1]\n")
    config = workspace(root, {"LABELSEG_LINK__0__UNIT": "9"}).config
    assert (config.params("link@0").unit, config.params("link@1").unit) == (9, 1)
