from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from labelseg.errors import UsageError
from labelseg.ops.affinity import random_walk_torch
from labelseg.ops.affinity.grid import block_mean
from labelseg.ops.affinity.pairs import pair_offsets, pair_validity, psa_origins
from labelseg.ops.affinity.psa import pair_affinities
from labelseg.ops.affinity.random_walk import power_coefficients, random_walk, transition_matrix, walk_weights
from labelseg.ops.cam import resize_maps, score_mask, with_background

OFFSETS = pair_offsets(5)
WALKS = ["rw_104x128_b1_t3", "rw_104x128_constfeat", "rw_40x72_1cls_min", "rw_64x80_2cls", "rw_97x121_1cls"]
SMALL_GRIDS = [(1, 1), (1, 7), (6, 1), (5, 2), (3, 4), (9, 11)]  # in narrow ones, offsets share a step of the flat index


def weights_by_definition(affinities: np.ndarray, beta: float) -> np.ndarray:
    _, h, w = affinities.shape
    weights = np.eye(h * w)
    for k, y, x in np.ndindex(affinities.shape):
        to_y, to_x = y + OFFSETS[k][0], x + OFFSETS[k][1]
        if 0 <= to_y < h and 0 <= to_x < w:
            weights[y * w + x, to_y * w + to_x] = weights[to_y * w + to_x, y * w + x] = affinities[k, y, x] ** beta
    return weights


def walk_by_definition(scores: np.ndarray, affinities: np.ndarray, beta: float, steps: int) -> np.ndarray:
    weights = weights_by_definition(affinities, beta)
    transition = weights / weights.sum(axis=0)  # columns sum to 1 and maps are rows, as the published code has it
    return (scores.reshape(len(scores), -1) @ np.linalg.matrix_power(transition, steps)).reshape(scores.shape)


def random_case(size: tuple[int, int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.random((3, *size), dtype=np.float32), rng.random((len(OFFSETS), *size), dtype=np.float32)


def psa_affinities(features: np.ndarray) -> np.ndarray:
    affinities = pair_affinities(torch.from_numpy(features)[None], OFFSETS)[0].numpy()
    return affinities * psa_origins(affinities.shape[1:], 5)


@pytest.mark.parametrize("name", WALKS)
@pytest.mark.parametrize(("tolerance", "error"), [(0, 1e-5), (1e-4, 1e-4)])
def test_walks_are_those_of_the_published_code(reference, name, tolerance, error):
    recorded = reference(name)
    walked = random_walk(
        recorded["cam_in_lowres"],
        psa_affinities(recorded["features"]),
        OFFSETS,
        beta=float(recorded["beta"]),
        steps=2 ** int(recorded["logt"]),
        tolerance=tolerance,
    )
    np.testing.assert_allclose(walked, recorded["cam_rw_lowres"], atol=error)
    height, width = recorded["image_size"]
    scores = resize_maps(walked, tuple(8 * recorded["feat_size"]))[:, :height, :width]
    assert np.mean(score_mask(scores, range(21)) == recorded["label"]) >= 0.999


@pytest.mark.parametrize("name", ["rw_40x72_1cls_min", "rw_64x80_2cls", "rw_97x121_1cls"])
def test_start_maps_and_affinities_are_those_of_the_published_code(reference, name):
    recorded = reference(name)
    origins = psa_origins(recorded["features"].shape[1:], 5)
    np.testing.assert_allclose(psa_affinities(recorded["features"])[:, origins], recorded["pair_affinity"], atol=1e-6)
    start = block_mean(with_background(recorded["cams"], float(recorded["alpha"])), count_padding=True)
    np.testing.assert_allclose(start, recorded["cam_in_lowres"][[0, *recorded["cam_keys"] + 1]], atol=1e-6)


def test_the_transition_is_that_of_the_published_code(reference):
    recorded = reference("rw_64x80_2cls")
    affinities = psa_affinities(recorded["features"])
    np.testing.assert_allclose(walk_weights(affinities, OFFSETS, 1.0).toarray(), recorded["dense_affinity"], atol=1e-6)
    walked = np.linalg.matrix_power(transition_matrix(affinities, OFFSETS, 8.0).toarray(), 256)
    np.testing.assert_allclose(walked.T, recorded["transition_pow"], atol=1e-4)


@pytest.mark.parametrize("size", SMALL_GRIDS)
@pytest.mark.parametrize(("tolerance", "error"), [(0, 1e-6), (1e-6, 1e-6), (1e-3, 1e-3)])
def test_walks_follow_their_definition(size, tolerance, error):
    scores, affinities = random_case(size)
    walked = random_walk(scores, affinities, OFFSETS, beta=3.0, steps=9, tolerance=tolerance)
    np.testing.assert_allclose(walked, walk_by_definition(scores, affinities, 3.0, 9), atol=error)


@pytest.fixture
def torch_walk(monkeypatch):
    """The walk of other devices, run on the CPU."""
    on_device = random_walk_torch.torch_random_walk
    monkeypatch.setattr(random_walk_torch, "torch_random_walk", lambda *given, **named: on_device(*given, **{**named, "device": "cpu"}))
    return lambda *given, **named: random_walk(*given, **named, device="cuda")


@pytest.mark.parametrize("size", SMALL_GRIDS)
@pytest.mark.parametrize(("tolerance", "error"), [(0, 1e-6), (1e-6, 1e-6), (1e-3, 1e-3)])
def test_walks_by_shifted_maps_follow_the_definition_too(torch_walk, size, tolerance, error):
    scores, affinities = random_case(size)
    walked = torch_walk(scores, affinities, OFFSETS, beta=3.0, steps=9, tolerance=tolerance)
    np.testing.assert_allclose(walked, walk_by_definition(scores, affinities, 3.0, 9), atol=error)


@pytest.mark.parametrize(("tolerance", "error"), [(0, 1e-6), (1e-5, 1e-6), (1e-4, 3e-4)])
def test_walks_by_shifted_maps_are_those_by_diagonals(torch_walk, tolerance, error):
    scores, affinities = random_case((40, 33))
    affinities[:, :, :9] *= 0.2
    given = {"beta": 8.0, "steps": 256, "tolerance": tolerance}
    np.testing.assert_allclose(
        torch_walk(scores, affinities, OFFSETS, **given), random_walk(scores, affinities, OFFSETS, **given), atol=error
    )


def test_walks_by_shifted_maps_take_no_maps_and_refuse_other_offsets(torch_walk):
    scores, affinities = random_case((4, 5))
    assert torch_walk(scores[:0], affinities, OFFSETS).shape == (0, 4, 5)
    np.testing.assert_allclose(torch_walk(scores, affinities, OFFSETS, steps=0), scores, atol=1e-6)
    with pytest.raises(UsageError, match="expected affinities of 34 offsets, got 3"):
        torch_walk(scores, affinities[:3], OFFSETS)


@pytest.mark.parametrize("size", SMALL_GRIDS)
def test_weights_follow_their_definition(size):
    _, affinities = random_case(size)
    np.testing.assert_allclose(walk_weights(affinities, OFFSETS, 2.5).toarray(), weights_by_definition(affinities, 2.5), atol=1e-12)


@pytest.mark.parametrize("size", SMALL_GRIDS)
def test_rows_of_the_transition_sum_to_one(size):
    _, affinities = random_case(size)
    transition = transition_matrix(affinities, OFFSETS, 8.0).toarray()
    np.testing.assert_allclose(transition.sum(axis=1), 1)
    assert transition.min() >= 0


@settings(deadline=None, derandomize=True, max_examples=25)
@given(h=st.integers(1, 9), w=st.integers(1, 9), steps=st.integers(0, 400), tolerance=st.sampled_from([0, 1e-6, 1e-4, 1e-2]))
@example(h=1, w=2, steps=319, tolerance=1e-4)
def test_constant_maps_stay_and_others_keep_their_range(h, w, steps, tolerance):
    scores, affinities = random_case((h, w), seed=steps)
    scores[0] = 0.7
    walked = random_walk(scores, affinities, OFFSETS, steps=steps, tolerance=tolerance)
    np.testing.assert_allclose(walked[0], 0.7, atol=1e-7)
    slack = 10 * tolerance + 1e-5
    assert np.all(walked.max(axis=(1, 2)) <= scores.max(axis=(1, 2)) + slack)
    assert np.all(walked.min(axis=(1, 2)) >= scores.min(axis=(1, 2)) - slack)


@settings(deadline=None, derandomize=True, max_examples=25)
@given(steps=st.integers(1, 600), tolerance=st.sampled_from([1e-5, 1e-4, 1e-3, 1e-2]), seed=st.integers(0, 99))
def test_the_tolerance_bounds_the_weighted_error(steps, tolerance, seed):
    scores, affinities = random_case((6, 8), seed)
    exact = random_walk(scores, affinities, OFFSETS, steps=steps, tolerance=0).astype(np.float64)
    walked = random_walk(scores, affinities, OFFSETS, steps=steps, tolerance=tolerance)
    degrees = walk_weights(affinities, OFFSETS, 8.0).sum(axis=0).reshape(6, 8)
    error = np.sqrt((degrees * (walked - exact) ** 2).sum(axis=(1, 2)))
    norm = np.sqrt((degrees * scores**2).sum(axis=(1, 2)))
    assert np.all(error <= (tolerance + 2e-6) * norm)


def test_values_of_pairs_outside_of_the_grid_are_not_read():
    scores, affinities = random_case((4, 6))
    outside = ~pair_validity((4, 6), OFFSETS)
    poisoned = np.where(outside, np.float32(np.nan), affinities)
    np.testing.assert_array_equal(random_walk(scores, poisoned, OFFSETS), random_walk(scores, affinities, OFFSETS))


def test_without_affinity_nothing_moves():
    scores, affinities = random_case((5, 7))
    np.testing.assert_allclose(random_walk(scores, np.zeros_like(affinities), OFFSETS), scores, atol=1e-6)


def test_zero_steps_and_zero_maps_come_back():
    scores, affinities = random_case((5, 7))
    np.testing.assert_allclose(random_walk(scores, affinities, OFFSETS, steps=0), scores, atol=1e-6)
    assert random_walk(scores[:0], affinities, OFFSETS).shape == (0, 5, 7)


def test_inputs_stay_unchanged():
    scores, affinities = random_case((5, 7))
    before = scores.copy(), affinities.copy()
    random_walk(scores, affinities, OFFSETS)
    np.testing.assert_array_equal(scores, before[0])
    np.testing.assert_array_equal(affinities, before[1])


def test_memory_grows_with_the_pairs_not_with_their_square():
    scores, affinities = random_case((128, 256))
    tracemalloc.start()
    random_walk(scores, affinities, OFFSETS, steps=16)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6  # one dense float32 matrix would hold 4.3 GB


@pytest.mark.parametrize("steps", [0, 1, 2, 7, 64, 256, 1000])
@pytest.mark.parametrize("tolerance", [1e-8, 1e-4, 1e-2])
def test_coefficients_approach_the_power_within_the_tolerance(steps, tolerance):
    coefficients = power_coefficients(steps, tolerance)
    x = np.linspace(-1, 1, 1001)
    error = np.abs(np.polynomial.chebyshev.chebval(x, coefficients) - x**steps).max()
    assert error <= tolerance + 1e-12
    assert coefficients.sum() == pytest.approx(1, abs=1e-12)


def test_256_steps_cost_some_sixty_products():
    assert len(power_coefficients(256, 1e-4)) == 65


@pytest.mark.parametrize("wrong", [{"beta": 0.0}, {"steps": -1}, {"tolerance": -1e-4}, {"tolerance": 1.0}])
def test_senseless_parameters_are_refused(wrong):
    scores, affinities = random_case((3, 3))
    with pytest.raises(UsageError, match="expected"):
        random_walk(scores, affinities, OFFSETS, **wrong)


def test_affinities_of_other_offsets_are_refused():
    scores, affinities = random_case((3, 3))
    with pytest.raises(UsageError, match="34 offsets, got 33"):
        random_walk(scores, affinities[1:], OFFSETS)
