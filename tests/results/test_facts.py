"""What is told of a model: the metrics of the epoch whose weights were kept."""

from types import SimpleNamespace

import pytest

from labelseg.results.facts import kept_metrics

BOTH = {"last": {"mAP": 0.779}, "best": {"mAP": 0.882}, "best_epoch": 32}


@pytest.mark.parametrize(
    ("params", "metrics", "expected"),
    [
        ({"keep": "best"}, BOTH, {"mAP": 0.882}),
        ({"keep": "last"}, BOTH, {"mAP": 0.779}),
        ({}, BOTH, {"mAP": 0.779}),
        ({"keep": "best"}, {"last": {"mAP": 0.5}}, {"mAP": 0.5}),
        ({"keep": "best"}, {}, {}),
        ({}, {"last": None}, {}),
    ],
)
def test_the_metrics_are_those_of_the_epoch_that_was_kept(params, metrics, expected):
    assert kept_metrics(SimpleNamespace(params=params, meta={"metrics": metrics})) == expected


def test_a_map_has_no_metrics():
    assert kept_metrics(SimpleNamespace(params={}, meta={})) == {}
