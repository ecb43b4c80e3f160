from __future__ import annotations

import numpy as np
import pytest

from labelseg.ops.cam import background_score, cam_mask, merge_cams, normalize_cam, resize_maps, scaled_size, score_mask, with_background

RECORDED = ["cls_infer_64x64_1cls", "cls_infer_75x101_2cls"]
MIRRORED = [False, True] * 4


@pytest.mark.parametrize("name", RECORDED)
def test_merged_maps_are_those_of_the_published_code(reference, name):
    recorded = reference(name)
    size = recorded["cams"].shape[1:]
    merged = merge_cams([recorded[f"rawcam_{i}"] for i in range(8)], size, MIRRORED)
    np.testing.assert_allclose(normalize_cam(merged), recorded["cams"], atol=1e-5)


@pytest.mark.parametrize("name", RECORDED)
def test_sizes_of_scaled_images_are_those_of_the_published_code(reference, name):
    recorded = reference(name)
    size = recorded["cams"].shape[1:]
    sizes = [scaled_size(size, float(scale)) for scale in recorded["scales"]]
    assert sizes == [tuple(recorded[f"insize_{i}"]) for i in range(0, 8, 2)]


@pytest.mark.parametrize("name", RECORDED)
def test_masks_at_a_constant_background_are_those_of_the_published_code(reference, name):
    recorded = reference(name)
    mask = cam_mask(recorded["cams"], recorded["cam_keys"] + 1, 0.2)
    np.testing.assert_array_equal(mask, recorded["cam_pred"])


def test_maps_at_a_stride_are_those_of_the_published_boundary_code(reference):
    recorded = reference("irn_makecam_64x64_1cls")
    maps = [recorded[f"raw_{i}"][recorded["keys"]] for i in range(4)]
    np.testing.assert_allclose(normalize_cam(merge_cams(maps, (16, 16))), recorded["strided_cam"], atol=1e-5)
    np.testing.assert_allclose(normalize_cam(merge_cams(maps, (64, 64))), recorded["high_res_cam"], atol=1e-5)


@pytest.mark.parametrize(("size", "scale", "expected"), [((33, 47), 0.5, (16, 24)), ((375, 500), 1.5, (562, 750)), ((1, 3), 0.1, (1, 1))])
def test_sizes_round_half_to_even_and_stay_positive(size, scale, expected):
    assert scaled_size(size, scale) == expected


def test_mirrored_maps_are_mirrored_back():
    maps = np.random.default_rng(0).random((2, 3, 5), dtype=np.float32)
    plain = merge_cams([maps, maps], (6, 10))
    np.testing.assert_allclose(merge_cams([maps, maps[..., ::-1]], (6, 10), [False, True]), plain, atol=1e-6)


def test_normalised_maps_lie_in_the_unit_interval_and_zeros_stay():
    cams = np.stack([np.zeros((2, 2)), np.array([[0, 2], [4, 8]])])
    normalised = normalize_cam(cams)
    assert not normalised[0].any()
    np.testing.assert_allclose(normalised[1], cams[1] / 8, atol=1e-5)
    assert normalised.max() < 1


def test_background_score_follows_its_formula():
    cams = np.array([[[0.0, 0.5]], [[0.25, 0.1]]])
    np.testing.assert_allclose(background_score(cams, 3), [[0.75**3, 0.5**3]], rtol=1e-6)
    np.testing.assert_allclose(with_background(cams, 3)[1:], cams, rtol=1e-6)


def test_an_image_without_classes_is_all_background():
    nothing = np.zeros((0, 3, 4), dtype=np.float32)
    assert normalize_cam(nothing).shape == (0, 3, 4)
    assert resize_maps(nothing, (6, 8)).shape == merge_cams([nothing], (6, 8)).shape == (0, 6, 8)
    assert np.all(background_score(nothing, 16) == 1)
    assert with_background(nothing, 16).shape == (1, 3, 4)
    assert not cam_mask(nothing, [], 0.2).any()


def test_the_first_class_of_a_tie_wins_and_background_wins_at_the_threshold():
    scores = np.array([[[0.5, 0.4]], [[0.5, 0.2]]])
    assert score_mask(scores, [3, 7]).tolist() == [[3, 3]]
    assert cam_mask(scores, [3, 7], 0.4).tolist() == [[3, 0]]
    assert cam_mask(scores, [3, 7], np.array([[0.6, 0.3]])).tolist() == [[0, 3]]


def test_inputs_stay_unchanged():
    cams = np.random.default_rng(1).random((2, 4, 4), dtype=np.float32)
    before = cams.copy()
    normalize_cam(cams)
    merge_cams([cams, cams], (4, 4), [False, True])
    with_background(cams, 4)
    np.testing.assert_array_equal(cams, before)
