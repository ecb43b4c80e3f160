from __future__ import annotations

import numpy as np
import pytest

from labelseg.ops.metrics import ConfusionMatrix
from labelseg.tuning.judges import TagEvidence, TrueMasks
from labelseg.tuning.makers import gain_error, measure_with

TRUTH = {f"i{k}": np.random.default_rng(k).choice([0, 1, 2, 255], size=(6, 7)).astype(np.uint8) for k in range(12)}
GUESSES = {
    name: np.where(np.random.default_rng(99).random(mask.shape) < 0.3, 1, mask % 255).astype(np.uint8) for name, mask in TRUTH.items()
}


class Drawn:
    """True masks by id; images are grey 10 where class 1 is, 200 elsewhere."""

    def mask(self, image_id):
        return TRUTH[image_id]

    def image(self, image_id):
        return np.repeat(np.where(TRUTH[image_id] == 1, 10, 200)[..., None], 3, axis=2).astype(np.uint8)

    def tags(self, image_id):
        return (1,)


class Guesses:
    """Masks that are the truth, more or less: ``wrong`` gives the guess."""

    def masks(self, image_id, points):
        for point in points:
            yield GUESSES[image_id] if point["wrong"] else np.where(TRUTH[image_id] == 255, 0, TRUTH[image_id])


def miou(names, masks):
    matrix = ConfusionMatrix(3)
    for name in names:
        matrix.update(TRUTH[name], masks[name])
    return matrix.miou()


def test_settings_are_scored_by_one_confusion_matrix_over_all_images():
    measure = measure_with(Guesses(), TrueMasks(Drawn(), ("background", "a", "b")), list(TRUTH), "test")
    assert measure([{"wrong": 1}, {"wrong": 0}]) == pytest.approx([miou(TRUTH, GUESSES), 1.0])


@pytest.mark.parametrize("count", [3, 12])
def test_the_error_of_a_gain_is_that_of_the_jackknife(count):
    names = list(TRUTH)[:count]
    right = {name: np.where(mask == 255, 0, mask) for name, mask in TRUTH.items()}
    groups = min(10, count)
    left = [[name for k, name in enumerate(names) if k % groups != group] for group in range(groups)]
    gains = [miou(some, right) - miou(some, GUESSES) for some in left]
    expected = np.sqrt((groups - 1) * np.var(gains))
    found = gain_error(Guesses(), TrueMasks(Drawn(), ("background", "a", "b")), names, ({"wrong": 1}, {"wrong": 0}), "test")
    assert found == pytest.approx(expected)
    assert found > 0


def test_of_one_image_no_error_can_be_told():
    judge = TrueMasks(Drawn(), ("background", "a", "b"))
    assert gain_error(Guesses(), judge, ["i0"], ({"wrong": 1}, {"wrong": 0}), "test") == float("inf")


class Seer:
    """A classifier whose logit of the first class is the share of dark pixels, in tens."""

    def views(self, image):
        return np.array([[10 * float((image[..., 0] < 50).mean()), -3.0]])


def test_evidence_is_what_is_seen_inside_and_missed_outside_less_a_third_of_the_area():
    judge = TagEvidence(Drawn(), Seer())
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    dark = float((TRUTH["i0"] == 1).mean())
    exact, everything = judge.tally(), judge.tally()
    judge.add(exact, "i0", (TRUTH["i0"] == 1).astype(np.uint8))
    assert judge.value(exact) == pytest.approx(sigmoid(10 * dark) - sigmoid(0) - dark / 3)
    judge.add(everything, "i0", np.ones_like(TRUTH["i0"]))
    assert judge.value(everything) == pytest.approx(sigmoid(10 * dark) - sigmoid(0) - 1 / 3)
    nothing = judge.tally()
    assert np.isnan(judge.value(nothing))
    judge.add(nothing, "i0", np.zeros_like(TRUTH["i0"]))
    assert judge.value(nothing) == pytest.approx(sigmoid(0) - sigmoid(10 * dark))
    judge.merge(exact, nothing)
    assert judge.value(exact) == pytest.approx((2 * 0 - dark / 3) / 2)
