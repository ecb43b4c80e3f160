from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from labelseg.ops.plateau import plateau_middle, smoothed


def slowly_smoothed(scores):
    """Every neighbour by itself."""
    result = np.full(scores.shape, np.nan)
    for place in np.ndindex(scores.shape):
        around = [tuple(np.add(place, shift)) for shift in product((-1, 0, 1), repeat=scores.ndim)]
        values = [scores[p] for p in around if all(0 <= x < n for x, n in zip(p, scores.shape, strict=True))]
        if not np.isnan(scores[place]):
            result[place] = np.nanmean(values)
    return result


@pytest.mark.parametrize("shape", [(1,), (7,), (4, 5), (3, 4, 2)])
def test_smoothing_is_the_mean_over_all_neighbours(shape):
    scores = np.random.default_rng(3).random(shape)
    if scores.size > 4:
        scores.flat[2] = np.nan
    np.testing.assert_allclose(smoothed(scores), slowly_smoothed(scores))


def test_the_middle_of_a_plateau_is_taken_and_not_a_lone_peak():
    surface = np.full(14, 0.5)
    surface[2], surface[6:11] = 0.9, 0.75
    assert plateau_middle(surface) == (8,)


def test_on_a_drawn_surface_the_plateau_wins_over_the_higher_peak():
    """A peak of one setting, higher than anything, beside a table of five by five."""
    surface = np.full((9, 12), 0.4)
    surface[1, 1] = 0.9
    surface[3:8, 5:10] = 0.7
    surface[5, 7] = 0.69  # a dent in the middle moves nothing far
    place = plateau_middle(surface)
    assert abs(place[0] - 5) <= 1
    assert abs(place[1] - 7) <= 1


def test_a_broad_hill_is_climbed_to_its_top():
    x, y = np.meshgrid(np.arange(9), np.arange(7), indexing="ij")
    assert plateau_middle(-((x - 6) ** 2) - (y - 2.0) ** 2) == (6, 2)


def test_a_slope_ends_at_its_border():
    assert plateau_middle(np.linspace(0, 1, 5)) == (4,)


def test_settings_without_a_score_are_never_chosen():
    assert plateau_middle(np.array([np.nan, 0.1, np.nan, 0.3, np.nan])) == (3,)
