"""Prototype maps: against a loop over places, and on features whose likeness is known."""

from __future__ import annotations

import numpy as np
import pytest

from labelseg.ops.prototypes import prototype_maps


def slow(features, cams, top, bottom, temperature):
    """The same, a place at a time."""
    n_classes, height, width = cams.shape
    places = [(y, x) for y in range(height) for x in range(width)]
    by_background = sorted(places, key=lambda place: cams[:, place[0], place[1]].max())
    lowest = by_background[: max(int(bottom * len(places)), 1)]
    prototypes = [np.mean([features[:, y, x] for y, x in lowest], axis=0)]
    for cam in cams:
        sure = sorted(places, key=lambda place: -cam[place])[: max(int(top * len(places)), 1)]
        prototypes.append(sum(cam[place] * features[:, place[0], place[1]] for place in sure) / sum(cam[place] for place in sure))
    scores = np.zeros((n_classes, height, width))
    for y, x in places:
        feature = features[:, y, x]
        cosines = [feature @ one / np.linalg.norm(feature) / np.linalg.norm(one) for one in prototypes]
        odds = np.exp(np.array(cosines) / temperature)
        scores[:, y, x] = odds[1:] / odds.sum()
    return scores


@pytest.mark.parametrize(("top", "bottom", "temperature"), [(0.2, 0.3, 0.1), (0.5, 0.1, 1.0), (1.0, 1.0, 0.3)])
@pytest.mark.parametrize("n_classes", [1, 3])
def test_scores_are_those_of_a_loop_over_places(top, bottom, temperature, n_classes):
    rng = np.random.default_rng(4)
    features, cams = rng.normal(size=(7, 5, 6)), rng.random((n_classes, 5, 6))
    before = cams.copy()
    found = prototype_maps(features, cams, top=top, bottom=bottom, temperature=temperature)
    assert np.allclose(found, slow(features, cams, top, bottom, temperature), atol=1e-5)
    assert found.min() >= 0
    assert found.sum(axis=0).max() <= 1 + 1e-6
    assert np.array_equal(cams, before)


def test_what_looks_like_the_sure_places_is_found_where_the_map_was_silent():
    features = np.zeros((2, 4, 6), np.float32)
    features[0], features[0, :, :3], features[1, :, :3] = 1, 0, 1  # the left half is the object
    cams = np.zeros((1, 4, 6))
    cams[0, :, :3] = 0.05
    cams[0, 1:3, 0:2] = [[1.0, 0.9], [0.8, 0.7]]
    found = prototype_maps(features, cams, top=0.17, bottom=0.5, temperature=0.1)
    assert found[0, :, :3].min() > 0.99
    assert found[0, :, 3:].max() < 0.01


def test_an_image_without_classes_has_no_maps():
    assert prototype_maps(np.ones((3, 4, 5)), np.zeros((0, 4, 5))).shape == (0, 4, 5)


def test_silent_features_give_every_class_the_same():
    found = prototype_maps(np.zeros((3, 4, 5)), np.random.default_rng(0).random((2, 4, 5)))
    assert np.allclose(found, 1 / 3)
