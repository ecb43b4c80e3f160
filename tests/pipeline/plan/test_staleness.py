"""One test a reason."""

from __future__ import annotations

from typing import Any

import pytest

from labelseg.pipeline.plan.staleness import data_reasons, stale_reasons


def recipe(**changes: Any) -> dict[str, Any]:
    params = {"beta": 8.0, "scales": [1.0, 2.0], "flip": True, "weights": "blake3:aa"}
    return {"stage": "spread", "version": 1, "params": params, "classes": ["background", "cat"], "splits": {}, "sources": {}} | changes


def with_params(**changes: Any) -> dict[str, Any]:
    return recipe(params=recipe()["params"] | changes)


def reading(instance: str, made: dict[str, Any] | None, role: str = "cam") -> dict[str, Any]:
    return recipe(sources={role: {"instance": instance, "recipe": made}})


def test_equal_recipes_give_no_reason():
    assert stale_reasons(recipe(), recipe()) == []


@pytest.mark.parametrize(
    ("current", "reason"),
    [
        (with_params(beta=4.0), "parameter beta: 8.0 -> 4.0"),
        (with_params(scales=[1.0]), "parameter scales: [1.0, 2.0] -> [1.0]"),
        (with_params(flip=False), "parameter flip: true -> false"),
        (with_params(weights="blake3:bb"), "weights changed"),
        (with_params(weights="none"), "parameter weights: a file -> none"),
        (with_params(seed=3), "parameter seed: none -> 3"),
        (recipe(version=2), "version 1 -> 2"),
        (recipe(classes=["background", "cat", "dog"]), "classes: dog added"),
        (recipe(classes=["cat", "background"]), "classes: order changed"),
        (recipe(splits={"split": "all"}), "split: none -> all"),
    ],
)
def test_a_change_of_its_own_is_named(current, reason):
    assert stale_reasons(current, recipe()) == [reason]


def test_true_and_one_are_different_values():
    assert stale_reasons(with_params(flip=1), recipe()) == ["parameter flip: true -> 1"]


def test_another_source_is_named_by_its_role():
    assert stale_reasons(reading("masks", None, "labels"), reading("spread", recipe(), "labels")) == ["labels: spread -> masks"]


def test_a_source_that_comes_or_goes_is_named():
    assert stale_reasons(reading("cam", recipe()), recipe()) == ["cam: nothing -> cam"]
    assert stale_reasons(recipe(), reading("cam", recipe())) == ["cam: cam -> nothing"]


def test_a_change_in_what_is_read_is_traced_to_where_it_begins():
    current = reading("cam", reading("train-classifier", with_params(beta=4.0), "model"))
    finished = reading("cam", reading("train-classifier", recipe(), "model"))
    assert stale_reasons(current, finished) == ["train-classifier changed: parameter beta: 8.0 -> 4.0"]


def test_a_source_that_reads_another_source_is_named():
    current, finished = reading("cam", reading("b", recipe())), reading("cam", reading("a", recipe()))
    assert stale_reasons(current, finished) == ["cam changed: cam: a -> b"]


def test_a_change_seen_along_two_ways_is_told_once():
    def both(made: dict[str, Any]) -> dict[str, Any]:
        return recipe(sources={role: {"instance": "cam", "recipe": made} for role in ("cam", "other")})

    assert stale_reasons(both(recipe(version=2)), both(recipe())) == ["cam changed: version 1 -> 2"]


@pytest.mark.parametrize(
    ("now", "then", "for_map", "for_model"),
    [
        ({"a": "1"}, {"a": "1"}, [], []),
        ({"a": "1", "b": "1"}, {"a": "1"}, ["1 new image"], ["trained on 1 of 2 images"]),
        ({"a": "2"}, {"a": "1"}, ["1 changed"], ["trained on 1 of 1 images, 1 changed"]),
        ({"a": "1"}, {"a": "1", "b": "1"}, ["1 removed"], ["trained on 1 of 1 images, 1 removed"]),
        ({"b": "1", "a": "1"}, {"a": "1", "b": "1"}, ["order of images changed"], ["order of images changed"]),
    ],
)
def test_changes_of_the_data_are_counted(now, then, for_map, for_model):
    assert data_reasons(now, then, trained=False) == for_map
    assert data_reasons(now, then, trained=True) == for_model


def test_counts_are_written_with_separators():
    now = {str(i): "2" if i == 0 else "1" for i in range(1010)}
    then = {str(i): "1" for i in range(1000)}
    assert data_reasons(now, then, trained=True) == ["trained on 1,000 of 1,010 images, 1 changed"]
    assert data_reasons(now, then, trained=False) == ["10 new images, 1 changed"]
