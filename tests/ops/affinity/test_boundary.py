from __future__ import annotations

import numpy as np
import pytest
import torch

from labelseg.class_ids import IGNORE
from labelseg.errors import UsageError
from labelseg.ops.affinity.boundary import boundary_loss, displacement_errors, path_affinities, path_cells, path_offsets
from labelseg.ops.affinity.pairs import pair_offsets, psa_origins
from labelseg.ops.affinity.psa import pair_labels
from labelseg.ops.affinity.random_walk import random_walk
from labelseg.ops.cam import cam_mask, resize_maps


def recorded_paths(recorded: dict[str, np.ndarray]) -> list[list[tuple[int, int]]]:
    groups = [recorded[f"search_path_{i}"] for i in range(len(recorded["path_lengths"]))]
    return [[tuple(cell) for cell in path.tolist()] for group in groups for path in group]


@pytest.mark.parametrize("name", ["irn_pathindex_r2_3x4", "irn_pathindex_r5_20x25", "irn_pathindex_r10_20x24"])
def test_paths_and_their_order_are_those_of_the_published_code(reference, name):
    recorded = reference(name)
    radius, size = int(recorded["radius"]), tuple(recorded["size"])
    offsets = path_offsets(radius)
    np.testing.assert_array_equal(offsets, recorded["search_dst"])
    assert [list(path_cells(offset)) for offset in offsets] == recorded_paths(recorded)
    origins = np.flatnonzero(psa_origins(size, radius))
    np.testing.assert_array_equal(origins, recorded["src_indices"])
    steps = np.array([dy * size[1] + dx for dy, dx in offsets])
    np.testing.assert_array_equal(origins + steps[:, None], recorded["dst_indices"])


def test_path_affinities_follow_their_definition():
    boundary = torch.rand(2, 6, 7, generator=torch.Generator().manual_seed(0))
    offsets = pair_offsets(4)
    affinities = path_affinities(boundary, offsets)
    for k, y, x in np.ndindex(*affinities.shape[1:]):
        cells = [(y + dy, x + dx) for dy, dx in path_cells(offsets[k])]
        inside = all(0 <= row < 6 and 0 <= column < 7 for row, column in cells)
        strongest = torch.stack([boundary[:, min(row, 5), min(max(column, 0), 6)] for row, column in cells]).max(dim=0).values
        torch.testing.assert_close(affinities[:, k, y, x], (1 - strongest) * inside)


@pytest.mark.parametrize("name", ["irn_prop_13x16_3c", "irn_prop_1x1_1c", "irn_prop_36x47_3c"])
@pytest.mark.parametrize(("tolerance", "error"), [(0, 1e-4), (1e-4, 2e-4)])
def test_walks_over_boundaries_are_those_of_the_published_code(reference, name, tolerance, error):
    recorded = reference(name)
    offsets = pair_offsets(int(recorded["radius"]))
    affinities = path_affinities(torch.from_numpy(recorded["edge"]), offsets)[0].numpy()
    walked = random_walk(
        recorded["x"] * (1 - recorded["edge"]),
        affinities,
        offsets,
        beta=float(recorded["beta"]),
        steps=2 ** int(recorded["exp_times"]),
        tolerance=tolerance,
    )
    np.testing.assert_allclose(walked, recorded["rw"][:, 0], atol=error)


def test_final_labels_are_those_of_the_published_code(reference):
    recorded = reference("irn_semseg_64x64_3cls")
    offsets = pair_offsets(5)
    affinities = path_affinities(torch.from_numpy(recorded["edge"]), offsets)[0].numpy()
    walked = random_walk(recorded["cams_strided"] * (1 - recorded["edge"]), affinities, offsets, beta=10.0)
    enlarged = resize_maps(walked, tuple(recorded["image_size"]))
    scores = enlarged / enlarged.max()
    np.testing.assert_allclose(scores, recorded["rw_up_norm"], atol=1e-3)
    labels = cam_mask(scores, recorded["keys"] + 1, float(recorded["bg_thres"]))
    assert np.mean(labels == recorded["label"]) >= 0.999


def test_pair_labels_are_those_of_the_published_boundary_code(reference):
    recorded = reference("irn_afflabel_20_r5")
    label = torch.from_numpy(recorded["label"])
    origins = psa_origins(label.shape, 5)
    pairs = pair_labels(label[None], path_offsets(5), origins)
    for mask, key in zip(pairs, ("bg_pos", "fg_pos", "neg"), strict=True):
        np.testing.assert_array_equal(mask[0][:, origins], recorded[key])


def test_losses_and_gradients_are_those_of_the_published_code(reference):
    recorded = reference("irn_loss_b2_24_r5")
    logits = torch.tensor(recorded["edge_logit"], requires_grad=True)
    displacement = torch.tensor(recorded["dp"], requires_grad=True)
    offsets, origins = path_offsets(5), psa_origins(logits.shape[2:], 5)
    affinities = path_affinities(torch.sigmoid(logits)[:, 0], offsets)
    loss = boundary_loss(affinities, displacement, offsets, pair_labels(torch.from_numpy(recorded["labels"]), offsets, origins))
    loss.loss.backward()
    np.testing.assert_allclose(affinities.detach()[:, :, origins], recorded["affinity"], atol=1e-6)
    terms = dict(zip(("total", "pos_aff_loss", "neg_aff_loss", "dp_fg_loss", "dp_bg_loss"), loss, strict=True))
    for key, value in terms.items():
        assert value.item() == pytest.approx(float(recorded[key]), abs=1e-5)
    np.testing.assert_allclose(logits.grad, recorded["grad_edge"], atol=1e-6)
    np.testing.assert_allclose(displacement.grad, recorded["grad_dp"], atol=1e-6)


def test_displacements_that_point_to_one_centre_are_free_of_error():
    rows, columns = torch.meshgrid(torch.arange(6.0), torch.arange(8.0), indexing="ij")
    to_centre = torch.stack([2 - rows, 3 - columns])[None]
    offsets = pair_offsets(3)
    from_offset, from_zero = displacement_errors(to_centre, offsets)
    assert not from_offset.any()
    assert from_zero[0, :, 2, 4].tolist() == [abs(dy) + abs(dx) for dy, dx in offsets]


def test_loss_without_pairs_is_zero():
    offsets = pair_offsets(3)
    pairs = pair_labels(torch.full((1, 4, 4), IGNORE), offsets)
    loss = boundary_loss(torch.rand(1, len(offsets), 4, 4), torch.rand(1, 2, 4, 4), offsets, pairs)
    assert [float(term) for term in loss] == [0] * 5


def test_a_boundary_with_channels_is_refused():
    with pytest.raises(UsageError, match=r"\(B, h, w\), got \(1, 1, 4, 4\)"):
        path_affinities(torch.zeros(1, 1, 4, 4), pair_offsets(2))
