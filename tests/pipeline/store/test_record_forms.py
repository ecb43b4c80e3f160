"""Recipes, metrics and failures in records: what is not of their form is damage; what is of another declaration is a difference."""

from __future__ import annotations

import json

import pytest

from labelseg.pipeline.files.seals import BLANK, seal
from labelseg.pipeline.plan.normal_form import normal_form
from labelseg.pipeline.record_forms import failed_problem, meta_problem, recipe_problem
from tests.pipeline import toy

INNER = {"stage": "cam", "version": 1, "params": {"flip": True}, "classes": ["cat"], "splits": {}, "sources": {}}
RECIPE = {
    **INNER,
    "stage": "refine",
    "sources": {"cam": {"instance": "cam", "recipe": INNER}, "labels": {"instance": "masks", "recipe": None}},
}
STAGES = {stage.name: stage for stage in toy.STAGES}


def test_a_recipe_as_it_is_recorded_has_no_problem():
    assert [recipe_problem(recipe) for recipe in (RECIPE, INNER, {}, {**RECIPE, "inputs": {"cam": "0"}})] == ["", "", "", ""]


@pytest.mark.parametrize(("name", "value"), [
    ("stage", None), ("stage", 5), ("version", "1"), ("version", True), ("version", 1.0), ("params", []), ("params", None),
    ("classes", "cat"), ("classes", [5]), ("splits", []), ("splits", {"split": None}), ("sources", []), ("sources", {"cam": None}),
    ("sources", {"cam": {}}),
    ("sources", {"cam": {"instance": []}}), ("sources", {"cam": {"instance": "cam", "recipe": 5}}), ("inputs", []), ("inputs", {"cam": 5}),
])  # fmt: skip
def test_a_value_of_another_type_is_a_problem_wherever_it_stands(name, value):
    assert recipe_problem({**INNER, name: value})
    assert recipe_problem({**RECIPE, "sources": {"cam": {"instance": "cam", "recipe": {**INNER, name: value}}}})


def test_what_belongs_to_a_model_has_one_form():
    meta = {
        "model": {"classes": []},
        "metrics": {"last": {"loss": 1}, "images": 3},
        "curves": [{"epoch": 1}],
        "rows": {"split": [["a", "0"]]},
    }
    assert [meta_problem(found) for found in ({}, meta, {"model": {}}, {**meta, "metrics": {"resumed": True}})] == [""] * 4
    for name, value in [
        ("model", None), ("model", []), ("metrics", 5), ("metrics", {"last": 5}), ("metrics", {"best": []}), ("curves", {}),
        ("curves", [5]),
        ("rows", []), ("rows", {"split": 5}), ("rows", {"split": [["a"]]}), ("rows", {"split": [[[], "0"]]}), ("rows", {"split": ["ab"]}),
    ]:  # fmt: skip
        assert meta_problem({**meta, name: value}), (name, value)
    assert meta_problem({"metrics": {}})
    assert not meta_problem({"classes": ["cat"]})


def test_failed_items_have_an_id_and_an_error():
    assert [failed_problem(found) for found in ([], [{"id": "a", "error": "no", "more": 1}])] == ["", ""]
    assert all(failed_problem([row]) for row in ([], 5, {"id": "a"}, {"id": 5, "error": "no"}, {"id": "a", "error": None}))


@pytest.mark.parametrize("value", [None, [], {}, "x", 1e308, -1, [[1]]])
@pytest.mark.parametrize("name", ["scales", "flip", "model"])
def test_a_parameter_of_another_type_stays_as_a_difference(name, value):
    recipe = {**INNER, "params": {"scales": [1.0], "flip": True, name: value}}
    assert normal_form(recipe, STAGES)["params"][name] == value


def test_a_record_whose_recipe_has_no_such_form_is_told_and_made_again(tmp_path):
    root = toy.make(tmp_path / "w", 3)
    toy.ToyWorkspace(root).run("refine")
    toy.computed(root)
    for kind in ("refs/cam/train.json", "manifests/cam/*.json"):
        (path,) = (root / ".labelseg").glob(kind)
        values = json.loads(path.read_text())
        path.write_bytes(seal(json.dumps({**values, "recipe": {**values["recipe"], "sources": {"model": 5}}, "seal": BLANK}).encode()))
        rows = {row.instance: row for row in toy.ToyWorkspace(root).status()}
        assert rows["cam"].state == "damaged"
        assert "a source of a recipe names no instance. Repair: labelseg verify --repair cam" in str(rows["cam"].reasons[0])
        toy.ToyWorkspace(root).run("refine")
        assert (toy.computed(root), {row.state for row in toy.ToyWorkspace(root).status()} - {"missing"}) == ([], {"fresh"})


@pytest.mark.parametrize("change", [{"meta": {"model": 5}}, {"failed": [{"id": 5}]}])
def test_a_manifest_of_another_form_is_told_and_made_again(tmp_path, change):
    root = toy.make(tmp_path / "w", 3)
    toy.ToyWorkspace(root).run("cam")
    (path,) = (root / ".labelseg").glob("manifests/train-classifier/*.json")
    path.write_bytes(seal(json.dumps({**json.loads(path.read_text()), **change, "seal": BLANK}).encode()))
    assert {row.instance: row.state for row in toy.ToyWorkspace(root).status()}["train-classifier"] == "damaged"
    toy.ToyWorkspace(root).run("cam")
    assert {row.state for row in toy.ToyWorkspace(root).status()} - {"missing"} == {"fresh"}


def test_a_ref_that_says_nothing_of_how_it_was_made_is_judged_by_its_key(tmp_path):
    root = toy.make(tmp_path / "w", 3)
    toy.ToyWorkspace(root).run("cam")
    toy.computed(root)
    path = root / ".labelseg/refs/cam/train.json"
    for change in ({"recipe": {}}, {"recipe": {}, "key": "0" * 32}):
        path.write_bytes(seal(json.dumps({**json.loads(path.read_text()), **change, "seal": BLANK}).encode()))
        state = {row.instance: row.state for row in toy.ToyWorkspace(root).status()}["cam"]
        assert state == ("missing" if "key" in change else "fresh")
        toy.ToyWorkspace(root).run("cam")
        assert toy.computed(root) == []
