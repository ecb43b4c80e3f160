"""One test a reason."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest

from labelseg.pipeline.plan import reasons as module
from labelseg.pipeline.plan.reasons import Kind, Reason, causes, reasons_text


def stale_reasons(current, finished) -> list[str]:
    return list(map(str, module.stale_reasons(current, finished)))


def data_reasons(now, then, **how) -> list[str]:
    return list(map(str, module.data_reasons(now, then, **how)))


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


def test_a_reason_is_data():
    assert module.stale_reasons(with_params(beta=4.0), recipe()) == [Reason("parameter", "beta", 8.0, 4.0)]
    assert module.stale_reasons(recipe(classes=["cat"]), recipe()) == [Reason("classes", "", ["background", "cat"], ["cat"])]
    current = reading("cam", reading("net", with_params(weights="blake3:bb"), "model"))
    finished = reading("cam", reading("net", recipe(), "model"))
    assert module.stale_reasons(current, finished) == [Reason("file", "weights", "blake3:aa", "blake3:bb", of="net")]
    counts = {"total": 2, "new": 1, "changed": 0, "removed": 2}
    found = module.data_reasons({"a": "1", "b": "1"}, {"a": "1", "c": "1", "d": "1"}, trained=False, subject="validation")
    assert found == [Reason("images", "validation", {"total": 3}, counts)]
    assert str(found[0]) == "validation: 1 new image, 2 removed"


TEXTS = {
    Reason("stage", "", "cam", "refine"): "stage cam -> refine",
    Reason("version", "", 1, 2): "version 1 -> 2",
    Reason("parameter", "beta", 8.0, None): "parameter beta: 8.0 -> none",
    Reason("file", "weights", "blake3:aa", "blake3:bb"): "weights changed",
    Reason("classes", "", ("cat", "dog"), ("dog", "owl")): "classes: owl added; cat removed",
    Reason("split", "validation", None, "val"): "validation: none -> val",
    Reason("source", "labels", "cam", ""): "labels: cam -> nothing",
    Reason("artifact", "cam"): "cam changed",
    Reason("order", "validation"): "validation: order of images changed",
    Reason("failed-images"): "images that failed changed",
    Reason("model", "net", "aa", "bb"): "net was retrained",
    Reason("never-ran"): "never ran",
    Reason("manifest-gone"): "its manifest is gone",
    Reason("damaged", after="a.json is damaged."): "a.json is damaged.",
    Reason("will-change", "", None, ("cam", "net")): "cam, net will change",
    Reason("unchecked", "", None, "no split 'nowhere'."): "no split 'nowhere'.",
    Reason("asked", "", None, "three wait."): "three wait.",
    Reason("run-failed", "", None, "not finite."): "the last run failed: not finite.",
    Reason("run-killed"): "the last run was killed",
    Reason("forced"): "forced",
    Reason("not-done", "cam"): "cam is not done",
    Reason("version", "", 1, 2, of="cam"): "cam changed: version 1 -> 2",
}
COUNTED = [
    (Reason("lost-items", "", None, {"lost": 2, "total": 1006}), "2 of 1,006 items were damaged"),
    (Reason("failed-items", "", None, {"failed": 1, "total": 1006}), "1 of 1,006 items failed"),
    (Reason("images", "", {}, {"total": 3, "new": 2, "changed": 1, "removed": 0}), "2 new images, 1 changed"),
    (Reason("trained-images", "", {}, {"total": 3, "new": 1, "changed": 0, "removed": 4}), "trained on 2 of 3 images, 4 removed"),
    (Reason("running", "", None, {"started": "noon", "pid": 7, "host": "node7"}), "since noon, process 7 on node7"),
]


@pytest.mark.parametrize(("reason", "text"), [*TEXTS.items(), *COUNTED])
def test_a_reason_is_worded(reason, text):
    assert str(reason) == text


def test_every_kind_is_worded():
    assert {reason.kind for reason, _ in [*TEXTS.items(), *COUNTED]} == set(get_args(Kind))


def test_changes_of_one_thing_are_told_once():
    reasons = [
        Reason("parameter", "beta", 8.0, 4.0),
        Reason("parameter", "flip", True, False, of="cam"),
        Reason("version", "", 1, 2, of="cam"),
        Reason("classes", "", [], ["owl"]),
    ]
    text = "parameter beta: 8.0 -> 4.0; cam changed: parameter flip: true -> false and 1 more; classes: owl added"
    assert reasons_text(reasons) == text


def test_below_in_a_table_a_cause_is_only_named_by_where_it_lies():
    epochs, alpha = Reason("parameter", "epochs", 1, 2), Reason("parameter", "alpha", 4.0, 2.0)
    upstream = [replace(epochs, of="net"), replace(alpha, of="refine")]
    rows = [
        ("net", [epochs]),
        ("cam", upstream[:1]),
        ("refine", [alpha, upstream[0]]),
        ("walk", upstream),
        ("segment", [Reason("parameter", "crf", True, False), *upstream]),
        ("segment", [Reason("will-change", after=["walk"])]),
    ]
    assert causes(rows) == [
        "parameter epochs: 1 -> 2",
        "net changed",
        "parameter alpha: 4.0 -> 2.0; net changed",
        "net, refine changed",
        "parameter crf: true -> false; net, refine changed",
        "walk will change",
    ]


def test_a_cause_that_lies_in_no_row_of_the_table_is_told_in_the_first_that_reads_it():
    beta, gamma = Reason("parameter", "beta", 8.0, 4.0, of="walk"), Reason("parameter", "gamma", 1, 2, of="walk")
    assert causes([("train", [beta]), ("segment", [beta]), ("segment", [beta, gamma])]) == [
        "walk changed: parameter beta: 8.0 -> 4.0",
        "walk changed",
        "walk changed: parameter gamma: 1 -> 2",
    ]


def test_of_many_places_of_change_the_first_are_named():
    many = [Reason("version", "", 1, 2, of=f"stage-{number}") for number in range(5)]
    assert causes([*[(reason.of, [replace(reason, of="")]) for reason in many], ("last", many)])[-1] == (
        "stage-0, stage-1, stage-2 and 2 more changed"
    )


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (None, "none", "parameter weights is new"),
        ("", None, "parameter weights is gone"),
        ("", "none", "parameter weights: '' -> 'none'"),
        (None, 3, "parameter weights: none -> 3"),
        (1, True, "parameter weights: 1 -> true"),
    ],
)
def test_a_parameter_never_seems_to_change_from_a_value_to_the_same(before, after, text):
    assert str(Reason("parameter", "weights", before, after)) == text
