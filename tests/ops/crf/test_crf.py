from __future__ import annotations

import sys

import numpy as np
import pytest

from labelseg.data.scenes.drawing import make_scene
from labelseg.errors import MissingExtraError, UsageError
from labelseg.ops.affinity.psa import affinity_labels
from labelseg.ops.cam import with_background
from labelseg.ops.crf import lattice_torch, mean_field
from labelseg.ops.crf.dense_crf import BACKENDS, Bilateral, Gaussian, dense_crf, dense_crf_pair, label_crf

RECORDED = ["crf_psa_40x52_2cls_a4", "crf_psa_47x63_1cls_a16", "crf_psa_5x7_1cls"]


def random_case(height: int = 6, width: int = 9, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8), rng.random((classes, height, width), dtype=np.float32)


def scene_case(height: int, width: int, classes: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """An image and the readings of its maps at two exponents."""
    image = make_scene(0).image[:height, :width]
    row, column = np.mgrid[:height, :width]
    rng = np.random.default_rng(classes)
    middles = rng.uniform(0, 1, (classes - 1, 2)) * [height, width]
    maps = np.stack([np.exp(-((row - y) ** 2 + (column - x) ** 2) / (0.1 * height * width + 1)) for y, x in middles])
    return image, [with_background(maps.astype(np.float32), alpha) for alpha in (4, 32)]


@pytest.fixture(params=BACKENDS)
def backend(request) -> str:
    if request.param == "pydensecrf":
        pytest.importorskip("pydensecrf")
    return request.param


def mean_field_by_definition(image: np.ndarray, scores: np.ndarray, gaussian: Gaussian, bilateral: Bilateral) -> np.ndarray:
    classes, height, width = scores.shape
    place = np.stack(np.mgrid[:height, :width], axis=-1).reshape(-1, 2).astype(np.float64)
    colour = image.reshape(-1, 3).astype(np.float64)
    message = 0.0
    for features, weight in (
        (place / gaussian.sxy, gaussian.weight),
        (np.hstack([place / bilateral.sxy, colour / bilateral.srgb]), bilateral.weight),
    ):
        kernel = np.exp(-0.5 * ((features[:, None] - features[None]) ** 2).sum(axis=-1))
        norm = 1 / np.sqrt(kernel.sum(axis=1))
        message = message + weight * norm[:, None] * kernel * norm
    unary = -np.log(np.clip(scores.reshape(classes, -1).astype(np.float64), 1e-5, 1))
    beliefs = softmax(-unary)
    for _ in range(10):
        beliefs = softmax(-unary + beliefs @ message)
    return beliefs.reshape(scores.shape)


def softmax(energies: np.ndarray) -> np.ndarray:
    powers = np.exp(energies - energies.max(axis=0))
    return powers / powers.sum(axis=0)


@pytest.mark.parametrize("name", RECORDED)
def test_marginals_are_those_of_the_published_code(reference, name, backend):
    recorded = reference(name)
    marginals = dense_crf(recorded["img"], recorded["scores"], backend=backend)
    np.testing.assert_allclose(marginals, recorded["Q"], atol=1e-4)
    np.testing.assert_array_equal(marginals.argmax(axis=0), recorded["argmax"])


def test_both_readings_of_an_image_are_those_of_the_published_code(reference, backend):
    recorded = reference("cls_infer_64x64_1cls")
    stacks = [with_background(recorded["cams"], alpha) for alpha in (4, 32)]
    low, high = dense_crf_pair(recorded["image"], stacks, backend=backend)
    np.testing.assert_allclose(low, recorded["crf_la"], atol=1e-4)
    np.testing.assert_allclose(high, recorded["crf_ha"], atol=1e-4)


@pytest.mark.parametrize("name", RECORDED)
def test_labels_agree_with_an_exact_mean_field(reference, name):
    recorded = reference(name)
    exact = mean_field_by_definition(recorded["img"], recorded["scores"], Gaussian(), Bilateral())
    np.testing.assert_allclose(exact, recorded["Q_exact_bruteforce"], atol=1e-4)
    agreement = np.mean(dense_crf(recorded["img"], recorded["scores"]).argmax(axis=0) == exact.argmax(axis=0))
    assert agreement >= 0.97


def test_kernel_settings_reach_the_inference():
    image, scores = random_case(12, 15)
    gaussian, bilateral = Gaussian(sxy=1.5, weight=1.0), Bilateral(sxy=20.0, srgb=60.0, weight=2.0)
    marginals = dense_crf(image, scores, gaussian=gaussian, bilateral=bilateral)
    exact = mean_field_by_definition(image, scores, gaussian, bilateral)
    assert np.mean(marginals.argmax(axis=0) == exact.argmax(axis=0)) >= 0.97
    assert np.abs(marginals - exact).mean() < 0.02


def test_refined_labels_are_those_of_the_published_code(reference, backend):
    recorded = reference("irn_crflabel_40x52_3")
    labels = label_crf(recorded["img"], recorded["labels"], int(recorded["n_labels"]), backend=backend)
    assert np.mean(labels == recorded["pred"]) >= 0.999


def test_confident_labels_are_those_of_the_published_code(reference):
    recorded = reference("irn_irlabel_47x63_1cls")
    refined = [label_crf(recorded["image"], recorded[key], 2) for key in ("pre_fg", "pre_bg")]
    np.testing.assert_array_equal(refined[0], recorded["crf_fg"])
    np.testing.assert_array_equal(refined[1], recorded["crf_bg"])
    stacks = [np.stack([labels == 0, labels == 1]).astype(np.float32) for labels in refined]
    positions = affinity_labels(*stacks, rule="irn")
    np.testing.assert_array_equal(np.where(positions == 1, recorded["keys"][0] + 1, positions), recorded["ir_label"])


@pytest.mark.parametrize(
    ("height", "width", "classes"), [(1, 1, 2), (5, 7, 2), (1, 90, 4), (70, 1, 3), (110, 130, 2), (110, 130, 4), (90, 100, 21)]
)
def test_marginals_are_those_of_pydensecrf(height, width, classes):
    pytest.importorskip("pydensecrf")
    image, stacks = scene_case(height, width, classes)
    expected = dense_crf_pair(image, stacks, backend="pydensecrf")
    for ours, theirs in zip(dense_crf_pair(image, stacks), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-3)
        assert np.mean(ours.argmax(axis=0) == theirs.argmax(axis=0)) >= 0.999


def test_narrow_kernels_and_few_iterations_are_those_of_pydensecrf():
    pytest.importorskip("pydensecrf")
    image, (scores, _) = scene_case(60, 80, 3)
    settings = {"gaussian": Gaussian(1.2, 2.0), "bilateral": Bilateral(25.0, 4.0, 6.0), "iterations": 3}
    np.testing.assert_allclose(dense_crf(image, scores, **settings), dense_crf(image, scores, backend="pydensecrf", **settings), atol=1e-4)


def test_points_on_the_sides_of_simplices_fall_to_the_vertices_of_pydensecrf():
    pytest.importorskip("pydensecrf")
    image, (scores, _) = scene_case(110, 130, 3)
    settings = {"bilateral": Bilateral(50.0, 5.0, 10.0), "iterations": 1}
    for coarse in (image, image // 5 * 5, np.where(image > 128, 255, 0).astype(np.uint8)):
        ours, theirs = (dense_crf(coarse, scores, backend=name, **settings) for name in BACKENDS)
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("classes", [2, 3, 9])
def test_torch_operations_give_the_same_marginals(monkeypatch, classes):
    image, stacks = scene_case(40, 50, classes)
    on_device = lattice_torch.torch_mean_field
    monkeypatch.setattr(lattice_torch, "torch_mean_field", lambda *given: on_device(*given[:-1], "cpu"))
    for ours, other in zip(dense_crf_pair(image, stacks), dense_crf_pair(image, stacks, device="cuda"), strict=True):
        np.testing.assert_allclose(ours, other, atol=1e-4)


@pytest.mark.parametrize("classes", [(2, 2), (1, 3), (4, 2, 1, 6)])
def test_stacks_give_together_what_they_give_alone(classes):
    image, _ = random_case(30, 40)
    rng = np.random.default_rng(1)
    stacks = [rng.random((count, 30, 40), dtype=np.float32) for count in classes]
    for together, scores in zip(dense_crf_pair(image, stacks), stacks, strict=True):
        np.testing.assert_allclose(together, dense_crf(image, scores), atol=1e-5)


def test_no_stacks_give_nothing():
    assert dense_crf_pair(random_case()[0], []) == []


def test_marginals_follow_the_order_of_labels():
    image, (scores, _) = scene_case(60, 80, 5)
    order = [3, 0, 4, 1, 2]
    np.testing.assert_allclose(dense_crf(image, scores[order]), dense_crf(image, scores)[order], atol=1e-4)


def test_equal_scores_stay_equal_up_to_rounding():
    # A tie is no stable state: each iteration multiplies what rounding adds.
    image, _ = random_case(20, 30)
    np.testing.assert_allclose(dense_crf(image, np.full((4, 20, 30), 0.3), iterations=3), 0.25, atol=1e-4)


def test_a_clear_majority_takes_a_constant_image():
    scores = np.random.default_rng(0).uniform([[[0.4]], [[0.1]]], [[[1.0]], [[0.7]]], (2, 20, 30))
    assert (dense_crf(np.full((20, 30, 3), 90, np.uint8), scores).argmax(axis=0) == 0).all()


def test_equal_inputs_give_equal_bytes():
    image, stacks = scene_case(60, 80, 4)
    first, second = (np.stack(dense_crf_pair(image, stacks)) for _ in range(2))
    assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_tolerance_ends_the_iterations_within_that_of_the_full_number(monkeypatch, device):
    image, (scores, _) = scene_case(40, 50, 2)
    rounds: list[int] = []
    update, torch_filter, on_device = mean_field._update, lattice_torch.torch_lattice_filter, lattice_torch.torch_mean_field
    monkeypatch.setattr(mean_field, "_update", lambda *given: rounds.append(1) or update(*given))
    monkeypatch.setattr(lattice_torch, "torch_lattice_filter", lambda *given: rounds.append(1) or torch_filter(*given))
    monkeypatch.setattr(lattice_torch, "torch_mean_field", lambda *given: on_device(*given[:-1], "cpu"))
    full = dense_crf(image, scores, iterations=150, device=device)
    all_rounds = len(rounds)
    stopped = dense_crf(image, scores, iterations=150, tolerance=1e-3, device=device)
    assert len(rounds) - all_rounds < 0.5 * all_rounds
    np.testing.assert_allclose(stopped, full, atol=1e-3)


def test_a_tolerance_that_is_never_met_changes_nothing():
    image, (scores, _) = scene_case(40, 50, 4)
    np.testing.assert_array_equal(dense_crf(image, scores, tolerance=1e-12), dense_crf(image, scores))


def test_a_missing_backend_comes_with_its_installation(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", None)
    with pytest.raises(MissingExtraError, match=r"Run: pip install 'labelseg\[pydensecrf\]'"):
        dense_crf(*random_case(), backend="pydensecrf")


def test_no_iteration_gives_normalised_scores():
    image, scores = random_case()
    np.testing.assert_allclose(dense_crf(image, scores, iterations=0), scores / scores.sum(axis=0), atol=1e-5)


@pytest.mark.parametrize(("height", "width", "classes"), [(1, 1, 2), (1, 8, 3), (9, 1, 1), (7, 5, 21)])
def test_marginals_sum_to_one_at_any_size(height, width, classes):
    image, scores = random_case(height, width, classes)
    marginals = dense_crf(image, scores)
    assert marginals.dtype == np.float32
    np.testing.assert_allclose(marginals.sum(axis=0), 1, atol=1e-5)


def test_read_only_and_strided_inputs_are_taken_and_stay_unchanged():
    image, scores = random_case(12, 18)
    expected = dense_crf(image[::2, ::2].copy(), scores[:, ::2, ::2].copy())
    before = image.copy(), scores.copy()
    image.flags.writeable = scores.flags.writeable = False
    np.testing.assert_array_equal(dense_crf(image[::2, ::2], scores[:, ::2, ::2]), expected)
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(scores, before[1])


def test_a_map_with_one_label_comes_back():
    image, _ = random_case()
    labels = np.zeros(image.shape[:2], dtype=np.int64)
    np.testing.assert_array_equal(label_crf(image, labels, 1), labels)


def test_unknown_backends_and_other_image_sizes_are_refused():
    image, scores = random_case()
    with pytest.raises(UsageError, match="expected one of native, pydensecrf, got 'magic'"):
        dense_crf(image, scores, backend="magic")
    with pytest.raises(UsageError, match=r"shape \(6, 9, 3\), got \(6, 8, 3\)"):
        dense_crf(image[:, :-1], scores)
