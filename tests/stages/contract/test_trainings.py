"""What trainings of the chain are made of: network, samples and loss follow their parameters."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from labelseg.errors import DataError
from labelseg.ops.affinity.pairs import pair_offsets, psa_origins
from labelseg.ops.affinity.psa import affinity_loss, pair_labels
from labelseg.ops.losses import cross_entropy, multilabel_soft_margin
from labelseg.stages.segmentation import train_segmenter
from labelseg.stages.tags import train_affinity, train_classifier
from labelseg.training import fitting
from labelseg.training.samples import LabelledGrid, MaskedImage, TaggedImage, agreed_target, source_target
from tests.stages.contract.by_hand import CLASSES, HandItem, model, picture

TINY = {"backbone": "tiny", "weights": "none", "crop": 32, "jitter": 0.25}
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def made(monkeypatch):
    """Function that runs a stage up to where its training would begin: network, samples and loss."""
    caught = []
    monkeypatch.setattr(fitting, "fit", lambda inputs, params, *parts, **settings: caught.append((*parts, settings)))
    items = {"split": [HandItem("one", picture(), (2, 4)), HandItem("two", picture(), None)], "validation": []}

    def run(stage, *, init_of="affinity-net", **params):
        inputs = SimpleNamespace(
            instance=stage.STAGE.name,
            classes=CLASSES,
            has_background=True,
            items=lambda name="split": items[name],
            devices="cpu",
            device="cpu",
            ranks=1,
        )
        inputs.model = lambda role: init_of if isinstance(init_of, SimpleNamespace) else model(init_of)
        stage.run(inputs, stage.Params(**{**TINY, **params}))
        net, samples, loss, settings = caught.pop()
        return SimpleNamespace(net=net.eval(), samples=samples, loss=loss, settings=settings)

    return run


@pytest.mark.parametrize("kind", ["psa", "irn"])
@pytest.mark.parametrize("psa_compat", [False, True])
def test_pairs_of_the_affinity_loss_follow_radius_and_compatibility(made, kind, psa_compat):
    found = made(train_affinity, kind=kind, radius=2, widths=(8, 16, 8), norm="none", resize=(1.0, 1.5), psa_compat=psa_compat)
    assert found.samples.make == LabelledGrid(32, 0.25, (1.0, 1.5))
    assert [item.id for item in found.samples.items] == ["one", "two"]
    assert found.net.settings == {"psa": {"widths": [8, 16, 8], "norm": "none"}, "irn": {"width": 32}}[kind]
    labels = torch.tensor(np.random.default_rng(1).choice([0, 2, 4], (2, 4, 4)), dtype=torch.uint8)
    repeat = {"psa": 1, "irn": 2}[kind]
    cells = labels.repeat_interleave(repeat, dim=1).repeat_interleave(repeat, dim=2)
    offsets, origins = pair_offsets(2), {False: None, True: psa_origins((4 * repeat, 4 * repeat), 2)}
    affinities = found.net.pair_affinities(found.net(IMAGES), offsets)
    losses = found.loss(found.net, (IMAGES, labels))
    expected = {compat: affinity_loss(affinities, pair_labels(cells, offsets, origins[compat])).loss.item() for compat in origins}
    assert losses["loss"].item() == pytest.approx(expected[psa_compat])
    assert expected[False] != pytest.approx(expected[True])


@pytest.mark.parametrize(("take", "same_head"), [("network", True), ("backbone", False)])
def test_a_second_affinity_goes_on_from_the_backbone_or_from_the_whole_network_of_the_first(made, take, same_head):
    found, first = made(train_affinity, widths=(8, 8, 8), init="one", take=take).net.state_dict(), model("affinity-net").tensors
    assert found.keys() >= first.keys()
    same = {name: np.array_equal(tensor, found[name].numpy()) for name, tensor in first.items()}
    assert all(same[name] for name in same if name.startswith("backbone."))
    assert same["mix.0.weight"] is same_head


def test_a_segmenter_learns_the_masks_of_its_source(made):
    found = made(train_segmenter, head="deeplabv3plus", width=16, separable=False, resize=(0.5, 2.0), keep="last", evaluate_every=3)
    assert found.samples.make == MaskedImage(32, (0.5, 2.0), 0.25, source_target)
    expected = {"n_classes": 5, "head": "deeplabv3plus", "width": 16, "norm": "group", "separable": False}
    assert found.net.settings == expected
    masks = torch.tensor(np.random.default_rng(2).choice([0, 3, 255], (2, 32, 32)))
    assert found.loss(found.net, (IMAGES, masks))["loss"].item() == pytest.approx(cross_entropy(found.net(IMAGES), masks).item())
    assert {name: found.settings[name] for name in ("evaluate", "select", "keep")} == {"evaluate": None, "select": "mIoU", "keep": "last"}
    assert found.settings["evaluate_every"] == 3


ONE_HEAD = {"head": "atrous", "init": "first"}


@pytest.mark.parametrize(("take", "same_head"), [("network", True), ("backbone", False)])
def test_a_segmenter_goes_on_from_the_backbone_or_from_the_whole_network_of_another(made, take, same_head):
    found, first = made(train_segmenter, init_of="segmenter", take=take, **ONE_HEAD).net.state_dict(), model("segmenter").tensors
    same = {name: np.array_equal(tensor, found[name].numpy()) for name, tensor in first.items()}
    assert all(same[name] for name in same if name.startswith("backbone."))
    assert all(same[name] for name in same if name.endswith("weight") and not name.startswith("backbone.")) is same_head


def test_a_segmenter_goes_on_from_no_network_of_other_classes_or_of_another_head(made):
    first = model("segmenter")
    other = SimpleNamespace(tensors=first.tensors, meta={**first.meta, "classes": [*CLASSES[1:], CLASSES[0]]})
    with pytest.raises(
        DataError, match=r"first to name the classes of the data, .* labelseg first, or take the backbone alone: --take backbone"
    ):
        made(train_segmenter, init_of=other, take="network", **ONE_HEAD)
    with pytest.raises(DataError, match=r"network of first.* Name a train-segmenter with the same backbone and options"):
        made(train_segmenter, init_of="segmenter", take="network", init="first", width=16)
    made(train_segmenter, init_of=other, take="backbone", **ONE_HEAD)


def test_a_segmenter_learns_where_a_second_opinion_agrees(made):
    assert made(train_segmenter, width=16, separable=False, beside="two").samples.make.read is agreed_target


def test_a_classifier_learns_the_tags_of_tagged_images(made):
    found = made(train_classifier, long_side=(40, 48), dropout=0.5)
    assert found.samples.make == TaggedImage(32, (40, 48), 0.25, 4, 1)
    assert [item.id for item in found.samples.items] == ["one"]
    assert found.net.settings == {"n_classes": 4, "dropout": 0.5}
    targets = torch.tensor([[0.0, 1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0]])
    expected = multilabel_soft_margin(found.net(IMAGES), targets).item()
    assert found.loss(found.net, (IMAGES, targets))["loss"].item() == pytest.approx(expected)
    assert found.settings["select"] == "mAP"
