from __future__ import annotations

import numpy as np
import pytest

from labelseg.errors import UsageError
from labelseg.ops.affinity import affinity_labels
from labelseg.ops.cam import with_background
from labelseg.ops.crf import Bilateral, Gaussian, dense_crf, dense_crf_pair, label_crf

RECORDED = ["crf_psa_40x52_2cls_a4", "crf_psa_47x63_1cls_a16", "crf_psa_5x7_1cls"]


def random_case(height: int = 6, width: int = 9, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8), rng.random((classes, height, width), dtype=np.float32)


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
def test_marginals_are_those_of_the_published_code(reference, name):
    recorded = reference(name)
    marginals = dense_crf(recorded["img"], recorded["scores"])
    np.testing.assert_allclose(marginals, recorded["Q"], atol=1e-4)
    np.testing.assert_array_equal(marginals.argmax(axis=0), recorded["argmax"])


def test_both_readings_of_an_image_are_those_of_the_published_code(reference):
    recorded = reference("cls_infer_64x64_1cls")
    stacks = [with_background(recorded["cams"], alpha) for alpha in (4, 32)]
    low, high = dense_crf_pair(recorded["image"], stacks)
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


def test_refined_labels_are_those_of_the_published_code(reference):
    recorded = reference("irn_crflabel_40x52_3")
    labels = label_crf(recorded["img"], recorded["labels"], int(recorded["n_labels"]))
    assert np.mean(labels == recorded["pred"]) >= 0.999


def test_confident_labels_are_those_of_the_published_code(reference):
    recorded = reference("irn_irlabel_47x63_1cls")
    refined = [label_crf(recorded["image"], recorded[key], 2) for key in ("pre_fg", "pre_bg")]
    np.testing.assert_array_equal(refined[0], recorded["crf_fg"])
    np.testing.assert_array_equal(refined[1], recorded["crf_bg"])
    stacks = [np.stack([labels == 0, labels == 1]).astype(np.float32) for labels in refined]
    positions = affinity_labels(*stacks, rule="irn")
    np.testing.assert_array_equal(np.where(positions == 1, recorded["keys"][0] + 1, positions), recorded["ir_label"])


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
    with pytest.raises(UsageError, match="expected one of pydensecrf, got 'magic'"):
        dense_crf(image, scores, backend="magic")
    with pytest.raises(UsageError, match=r"shape \(6, 9, 3\), got \(6, 8, 3\)"):
        dense_crf(image[:, :-1], scores)
