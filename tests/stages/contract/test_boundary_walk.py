"""The walk over boundaries, as the stage writes it: that of the published code, and what holds at any size."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from labelseg.errors import UsageError
from labelseg.models.affinity_net import BoundaryNet
from labelseg.stages import STAGES
from tests.reference_files import load
from tests.stages.contract import by_hand
from tests.stages.contract.test_map_values import differences, item, written

STAGE = next(stage for stage in STAGES if stage.name == "propagate")
PUBLISHED = {"beta": 10.0, "threshold": 0.25}


class Drawn(BoundaryNet):
    """Gives the boundary (h, w) it was made with, whatever it is shown; made with a number, that in every cell."""

    def __init__(self, boundary):
        torch.nn.Module.__init__(self)
        self.logits = torch.logit(torch.as_tensor(boundary, dtype=torch.float64)).float()

    def forward(self, x):
        grid = [-(-side // 4) for side in x.shape[2:]]
        return self.logits.expand(len(x), 1, *grid)


@pytest.fixture
def walk(monkeypatch):
    """Run the stage over a drawn boundary, from maps (C, h, w) of the classes 1 to C on an image of some size."""

    def walked(boundary, cams, size, **settings):
        monkeypatch.setattr("labelseg.models.networks.load_network", lambda model, kinds: Drawn(boundary))
        sources = {"cam": {"scores": cams, "class_ids": np.arange(1, len(cams) + 1)}}
        image = np.zeros((*size, 3), np.uint8)
        run = STAGE.run(by_hand.inputs(affinity="boundary-net"), STAGE.params(**settings))
        return run(by_hand.HandItem("one", image, None, sources))

    return walked


def random_maps(classes, size, seed=0):
    """Boundary and maps on the grid of an image."""
    grid = tuple(-(-side // 4) for side in size)
    chance = np.random.default_rng(seed)
    return chance.uniform(0.05, 0.95, grid), chance.uniform(0.1, 1, (classes, *grid)).astype(np.float32)


def test_labels_are_those_of_the_published_code(walk):
    recorded = load("psa", "irn_semseg_64x64_3cls")
    made = walk(recorded["edge"][0], recorded["cams_strided"], tuple(recorded["image_size"]), **PUBLISHED)
    labels = np.concatenate([[0], recorded["keys"] + 1])[made["mask"]]
    assert np.mean(labels == recorded["label"]) >= 0.999
    stored = recorded["rw_up_norm"].reshape(3, 16, 4, 16, 4)[:, :, 1:3, :, 1:3].mean(axis=(2, 4))
    np.testing.assert_allclose(made["scores"], stored, atol=4e-3)  # float16, and means of four pixels for a bilinear reading


def test_walks_that_are_not_damped_give_other_labels(walk):
    recorded = load("psa", "irn_semseg_64x64_3cls")
    made = walk(recorded["edge"][0], recorded["cams_strided"], (64, 64), start="foreground-only", **PUBLISHED)
    labels = np.concatenate([[0], recorded["keys"] + 1])[made["mask"]]
    assert np.mean(labels == recorded["label"]) < 0.99


@pytest.mark.parametrize("settings", [{}, {"flip": True}, {"scales": (1.0, 1.5)}, {"start": "irn", "guard": "competitor"}])
def test_it_is_what_the_composition_gives(settings):
    params = STAGE.params(iters=6, beta=2.0, **settings)
    expected = partial(by_hand.propagate, name="boundary-net")(item(), params)
    assert max(differences(written("propagate", params, affinity="boundary-net"), expected).values()) < 1e-3


def test_the_default_is_the_walk_of_irn():
    plain, named = (written("propagate", STAGE.params(iters=6, start=start), affinity="boundary-net") for start in ("auto", "irn"))
    assert max(differences(plain, named).values()) == 0
    undamped = written("propagate", STAGE.params(iters=6, start="foreground-only"), affinity="boundary-net")
    assert differences(plain, undamped)["scores"] > 0.01


@pytest.mark.parametrize("size", [(4, 4), (5, 9), (13, 4), (31, 47)])
def test_a_weak_map_stays_as_weak_as_it_was(walk, size):
    boundary, cams = random_maps(2, size)
    whole, half = (walk(boundary, cams * np.float32([[[1]], [[factor]]]), size)["scores"].astype(float) for factor in (0.5, 0.25))
    np.testing.assert_allclose(half[1], whole[1] / 2, atol=1e-3)
    np.testing.assert_allclose(half[0], whole[0], atol=1e-3)
    assert whole.max() <= 1


@pytest.mark.parametrize("size", [(4, 4), (5, 9), (13, 4), (31, 47)])
def test_without_boundaries_one_map_walks_as_if_undamped(walk, size):
    _, cams = random_maps(1, size)
    damped, undamped = (walk(0.0, cams, size, iters=5, scales=(1.5,), start=start) for start in ("irn", "foreground-only"))
    np.testing.assert_allclose(damped["scores"].astype(float), undamped["scores"], atol=1e-3)
    np.testing.assert_array_equal(damped["mask"], undamped["mask"])


def test_affinities_without_boundaries_are_refused():
    with pytest.raises(UsageError, match=r"train-affinity --kind irn.* --start auto"):
        written("propagate", STAGE.params(start="irn"), affinity="affinity-net")


def test_what_stands_for_auto_follows_from_the_model(tmp_path):
    from labelseg.pipeline.declare.config import Config

    text = '[train-affinity.edges]\nkind = "irn"\n[propagate.edges]\naffinity = "train-affinity@edges"\n[propagate.named]\nstart = "irn"\n'
    (tmp_path / "labelseg.toml").write_text(text)
    config = Config.load(tmp_path, STAGES, {})
    assert [config.params(name).start for name in ("propagate", "propagate@edges", "propagate@named")] == ["foreground-only", "irn", "irn"]
    assert config.params("propagate", {"affinity": "train-affinity@edges"}).start == "irn"
    assert config.params("propagate@edges", {"start": "foreground-only"}).start == "foreground-only"


def test_a_model_that_is_not_read_decides_nothing(tmp_path):
    from labelseg.pipeline.declare.config import Config

    (tmp_path / "labelseg.toml").write_text('[train-affinity]\nkind = "irn"\n[propagate.plain]\naffinity_kind = "colour"\n')
    config = Config.load(tmp_path, STAGES, {})
    assert [config.params(name).start for name in ("propagate", "propagate@plain")] == ["irn", "foreground-only"]
