"""Steps of UniMatch and PseudoSeg on small networks: which views count, what they cost, where gradients go."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from labelseg.data.augment.views import AnySize, FewSizes
from labelseg.methods.few_masks import unimatch_step
from labelseg.methods.few_masks.paired_samples import LabelledView, PseudoSegViews, UniMatchViews
from labelseg.methods.few_masks.pseudoseg_step import PseudoSegStep
from labelseg.methods.few_masks.unimatch_step import VARIANTS, UniMatchStep, Variant, complementary_dropout, perturb_last
from labelseg.models.encoders.registry import build_backbone
from labelseg.models.pseudoseg_net import Parts, PseudoSegNet
from labelseg.models.segmenter import Segmenter
from labelseg.ops.few_masks.pseudoseg import consistency_loss, segmentation_loss
from labelseg.ops.few_masks.sgc import fuse, resize_bilinear, resize_nearest
from labelseg.ops.few_masks.unimatch import box_masks, confident_loss, paste_images, pseudo_label
from labelseg.ops.losses import cross_entropy
from labelseg.training.loop import TrainTask, train
from labelseg.training.optimization import Optimization, even_groups
from labelseg.training.pairs import PairedSamples
from tests.semi_data import items

CROP = 32


def batch_of(make, names=("u0", "u1", "u2"), seed=0):
    samples = PairedSamples(items("l0", "l1", "l2"), items(*names), LabelledView(AnySize(CROP, 0.8, 1.2), 3, 1), make)
    return torch.utils.data.default_collate([samples.sample(k, np.random.default_rng((seed, k))) for k in range(3)])


def uni_batch(**changes):
    return batch_of(UniMatchViews(AnySize(CROP, 0.8, 1.2), **changes))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Segmenter(build_backbone("tiny", 16), 3, width=16).train()


class Counting(torch.nn.Module):
    """Counts the images that pass through a network, with and without gradients."""

    def __init__(self, net):
        super().__init__()
        self.net, self.passed = net, {True: 0, False: 0}

    def forward(self, x, perturb=None):
        self.passed[torch.is_grad_enabled()] += len(x)
        return self.net(x, perturb)


LOSSES = {
    "supervised": {"loss_labelled"},
    "fixmatch": {"loss_labelled", "loss_strong1"},
    "uniperb": {"loss_labelled", "loss_strong1", "loss_perturbed"},
    "dusperb": {"loss_labelled", "loss_strong1", "loss_strong2"},
    "unimatch": {"loss_labelled", "loss_strong1", "loss_strong2", "loss_perturbed"},
    "unimatch-v2": {"loss_labelled", "loss_strong1", "loss_strong2"},
}
PASSED = {"supervised": 3, "fixmatch": 6, "uniperb": 9, "dusperb": 9, "unimatch": 12, "unimatch-v2": 9}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_has_its_losses_and_passes(net, variant):
    module = Counting(net)
    step = UniMatchStep(VARIANTS[variant], 0.0, cross_entropy, teacher=deepcopy(net) if VARIANTS[variant].teacher else None)
    losses = step(module, uni_batch(views=VARIANTS[variant].views))
    assert {name for name in losses if name.startswith("loss_")} == LOSSES[variant]
    parts = {name: value.item() for name, value in losses.items()}
    strong = np.mean([parts[name] for name in LOSSES[variant] if "strong" in name]) if variant != "supervised" else 0
    unlabelled = (strong + parts["loss_perturbed"]) / 2 if "loss_perturbed" in parts else strong
    total = parts["loss_labelled"] if variant == "supervised" else (parts["loss_labelled"] + unlabelled) / 2
    assert parts["loss"] == pytest.approx(total, rel=1e-5)
    assert module.passed[True] == PASSED[variant]
    losses["loss"].backward()
    assert all(p.grad is not None for p in net.parameters())


def test_a_step_is_what_its_definition_says(net):
    net.eval()  # no batch statistics: views can be worked out one by one
    batch = uni_batch()
    torch.manual_seed(3)
    losses = UniMatchStep(VARIANTS["unimatch"], 0.34, cross_entropy)(net, batch)
    weak = net(batch["weak"]).softmax(dim=1)
    expected = {}
    for view in (1, 2):
        total, valid = 0.0, 0
        for k in range(3):
            other = (k - 1) % 3
            top, left, height, width = batch[f"box{view}"][k].tolist()
            inside = torch.zeros(CROP, CROP, dtype=torch.bool)
            inside[top : top + height, left : left + width] = True
            image = torch.where(inside, batch[f"strong{view}"][other], batch[f"strong{view}"][k])
            probability = torch.where(inside, weak[other], weak[k])
            counts = torch.where(inside, batch["valid"][other], batch["valid"][k]) == 1
            confidence, label = probability.max(dim=0)
            loss = F.cross_entropy(net(image[None]), label[None], reduction="none")[0]
            total += float((loss.detach() * (counts & (confidence >= 0.34))).sum())
            valid += int(counts.sum())
        expected[f"loss_strong{view}"] = total / valid
    for name, value in expected.items():
        assert float(losses[name]) == pytest.approx(value, rel=1e-4)
    torch.manual_seed(3)
    taps = net.backbone(torch.cat([batch["image"], batch["weak"]]))
    dropped = [tap[3:] for tap in perturb_last(taps, 3, 0.5)]
    logits = F.interpolate(net.head(dropped), size=(CROP, CROP), mode="bilinear", align_corners=False)[3:]
    confidence, label = weak.max(dim=1)
    loss = F.cross_entropy(logits, label, reduction="none")
    valid = batch["valid"] == 1
    assert float(losses["loss_perturbed"]) == pytest.approx(float((loss * (valid & (confidence >= 0.34))).sum() / valid.sum()), rel=1e-4)


@pytest.mark.parametrize("variant", ["fixmatch", "unimatch", "unimatch-v2"])
@pytest.mark.parametrize("own_partner", [False, True])
def test_pseudo_labels_hold_to_the_tags_where_these_are_given(net, variant, own_partner):
    net.eval()
    views = UniMatchViews(AnySize(CROP, 0.8, 1.2), views=VARIANTS[variant].views, own_partner=own_partner, n_classes=3, first_class=1)
    assert (batch_of(views)["unlabelled_tags"] == 1).all()  # unknown tags rule nothing out
    batch = batch_of(views, names=("l3", "l4", "l5"))
    assert batch["unlabelled_tags"].tolist() == [[0, 1], [1, 0], [0, 1]]
    seen = []

    def loss(batch, tags):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(unimatch_step, "pseudo_label", lambda *given: seen.append(pseudo_label(*given)) or seen[-1])
            step = UniMatchStep(VARIANTS[variant], 0.34, cross_entropy, teacher=deepcopy(net), given_tags=tags)
            torch.manual_seed(3)
            return step(net, batch)["loss_strong1"]

    with_tags, without = loss(batch, True), loss(batch, False)
    assert len(seen) == 2 * (1 + own_partner) and not torch.equal(with_tags, without)
    for target in seen[: 1 + own_partner]:
        for k, other in enumerate((1, 2, 1)):
            assert not (target.label[k] == other).any()
    everything = {**batch, "unlabelled_tags": torch.ones(3, 2)}
    torch.testing.assert_close(loss(everything, True), without)  # tags that rule nothing out


def test_a_share_of_each_class_is_learned_although_none_reaches_the_threshold(net):
    batch = uni_batch()
    losses = [UniMatchStep(VARIANTS["dusperb"], 1.0, cross_entropy, class_share=share)(net, batch) for share in (0.0, 0.25, 1.0)]
    counted = [float(step["confident"] / step["valid"]) for step in losses]
    assert counted[0] == 0 and counted[1] == pytest.approx(0.25, abs=0.01) and counted[2] == 1
    assert float(losses[0]["loss_strong1"]) == 0 < float(losses[1]["loss_strong1"]) < float(losses[2]["loss_strong1"])


def test_two_taps_are_perturbed_each_on_its_own_and_the_clean_ones_stay():
    torch.manual_seed(0)
    taps = [torch.ones(3, 64, 2, 2) for _ in range(4)]
    out = perturb_last(taps, 2, 0.5)
    assert [len(tap) for tap in out] == [5] * 4
    assert all(torch.equal(tap[:3], clean) for tap, clean in zip(out, taps, strict=True))
    first, last = out[0][3:], out[-1][3:]
    assert set(first.unique().tolist()) == set(last.unique().tolist()) == {0.0, 2.0}
    assert not torch.equal(first, last)
    assert all((tap[3:] == 1).all() for tap in out[1:-1])
    assert first.amax(dim=(2, 3)).equal(first.amin(dim=(2, 3)))  # whole channels


def test_views_of_an_image_see_disjoint_channels_at_all_taps():
    torch.manual_seed(0)
    taps = [torch.ones(8, channels, 2, 2) for channels in (16, 32, 32, 8)]
    out = complementary_dropout(taps)
    whole = (out[1] == 1).flatten(1).all(dim=1)
    assert whole.sum() == 4
    for tap in out:
        torch.testing.assert_close(tap[:4] + tap[4:], torch.full_like(tap[:4], 2))
        torch.testing.assert_close((tap == 1).flatten(1).all(dim=1), whole)
    torch.testing.assert_close(out[1], out[2])


def changed(net):
    """A copy of a network with other weights, in evaluation mode."""
    torch.manual_seed(7)
    other = deepcopy(net).eval()
    for parameter in other.parameters():
        parameter.data += 0.3 * parameter.abs().mean() * torch.randn_like(parameter)
    return other


def test_a_teacher_labels_the_weak_views_and_the_strong_ones_see_disjoint_channels(net):
    net.eval()
    batch, teacher = uni_batch(box=1.0), changed(net)
    torch.manual_seed(3)
    losses = UniMatchStep(VARIANTS["unimatch-v2"], 0.34, cross_entropy, teacher=teacher)(net, batch)
    label = pseudo_label(teacher(batch["weak"]), batch["valid"])
    assert (label.label != net(batch["weak"]).argmax(dim=1)).any()
    boxes = [box_masks(batch[f"box{view}"], (CROP, CROP)) for view in (1, 2)]
    images = [paste_images(own, own.roll(1, 0), box) for own, box in zip((batch["strong1"], batch["strong2"]), boxes, strict=True)]
    torch.manual_seed(3)
    predictions = net(torch.cat(images), complementary_dropout).chunk(2)
    for view, (logits, box) in enumerate(zip(predictions, boxes, strict=True), start=1):
        expected = confident_loss(logits, label.pasted(label.rolled(), box), 0.34)
        assert losses[f"loss_strong{view}"].item() == pytest.approx(expected.item(), rel=1e-4)


def test_own_partners_are_pasted_with_their_labels_and_their_padding(net):
    net.eval()
    batch = batch_of(UniMatchViews(AnySize(CROP, 0.4, 0.7), box=1.0, own_partner=True))
    assert (batch["valid"] != batch["partner_valid"]).any()
    teacher = changed(net)
    losses = UniMatchStep(Variant(views=2, teacher=True), 0.34, cross_entropy, teacher=teacher)(net, batch)
    own, partner = (pseudo_label(teacher(batch[f"{part}weak"]), batch[f"{part}valid"]) for part in ("", "partner_"))
    for view in (1, 2):
        box = box_masks(batch[f"box{view}"], (CROP, CROP))
        logits = net(paste_images(batch[f"strong{view}"], batch[f"partner_strong{view}"], box))
        expected = confident_loss(logits, own.pasted(partner, box), 0.34)
        assert losses[f"loss_strong{view}"].item() == pytest.approx(expected.item(), rel=1e-4)


def test_as_many_channels_are_dropped_as_asked_for(net):
    net.eval()
    batch = uni_batch()
    losses = UniMatchStep(VARIANTS["uniperb"], 0.0, cross_entropy, dropout=0.0)(net, batch)
    logits = net(batch["weak"])
    expected = confident_loss(logits, pseudo_label(logits, batch["valid"]), 0.0)
    assert losses["loss_perturbed"].item() == pytest.approx(expected.item(), rel=1e-4)


def test_a_teacher_of_a_mixed_training_computes_in_bfloat16(net):
    teacher, seen = deepcopy(net), []
    teacher.register_forward_pre_hook(lambda module, args: seen.append(torch.is_autocast_enabled("cpu")))
    for mixed in (False, True):
        UniMatchStep(VARIANTS["unimatch-v2"], 0.0, cross_entropy, teacher=teacher, mixed=mixed)(net, uni_batch())
    assert seen == [False, True]


def test_nothing_confident_leaves_the_labelled_loss_alone(net):
    losses = UniMatchStep(VARIANTS["unimatch"], 1.1, cross_entropy)(net, uni_batch())
    assert float(losses["loss"]) == pytest.approx(float(losses["loss_labelled"]) / 2)
    assert float(losses["confident"]) == 0
    empty = {**uni_batch(), "valid": torch.zeros(3, CROP, CROP)}
    losses = UniMatchStep(VARIANTS["unimatch"], 0.0, cross_entropy)(net, empty)
    assert float(losses["loss_strong1"]) == float(losses["loss_perturbed"]) == 0


def test_own_partners_are_labelled_in_evaluation_mode(net):
    seen = []
    net.register_forward_pre_hook(lambda module, args: seen.append((module.training, len(args[0]))))
    UniMatchStep(VARIANTS["dusperb"], 0.0, cross_entropy)(net, uni_batch(own_partner=True))
    assert (False, 3) in seen
    assert net.training
    assert [count for training, count in seen if training] == [3, 3, 6]


def test_counts_of_watched_pixels_follow_their_names(net):
    batch = batch_of(UniMatchViews(AnySize(CROP, 0.8, 1.2), watch=True), ("l3", "l4", "l5"))
    losses = UniMatchStep(VARIANTS["fixmatch"], 0.35, cross_entropy)(net, batch)
    assert 0 < float(losses["right"]) <= float(losses["known"]) <= float(losses["confident"]) <= float(losses["valid"])
    assert float(losses["valid"]) == float(batch["valid"].sum())
    blind = UniMatchStep(VARIANTS["fixmatch"], 0.35, cross_entropy)(net, uni_batch())
    assert float(blind["known"]) == 0


def test_a_training_with_a_teacher_resumes_to_equal_weights(tmp_path):
    class Stop(Exception):
        pass

    def run(stop=None, checkpoints=None):
        torch.manual_seed(1)
        net = Segmenter(build_backbone("tiny", 16), 3, width=16)
        teacher = deepcopy(net)
        step = UniMatchStep(VARIANTS["unimatch-v2"], 0.3, cross_entropy, teacher=teacher)
        calls = []

        def loss(module, batch):
            calls.append(1)
            if len(calls) == stop:
                raise Stop
            return step(module, batch)

        samples = PairedSamples(
            items("l0", "l1", "l2"), items("u0", "u1", "u2", "u3"), LabelledView(AnySize(CROP), 3, 1), UniMatchViews(AnySize(CROP))
        )
        task = TrainTask(
            module=net, loss=loss, dataset=samples, groups=even_groups(net, 1e-4), optimization=Optimization(lr=0.01), batch_size=2,
            iterations=5, seed=3, teacher=teacher, checkpoints=checkpoints, checkpoint_seconds=0,
        )  # fmt: skip
        return train(task).last

    straight = run()
    with pytest.raises(Stop):
        run(stop=4, checkpoints=tmp_path / "run")
    resumed = run(checkpoints=tmp_path / "run")
    assert all(torch.equal(resumed[name], straight[name]) for name in straight)


# --- PseudoSeg --------------------------------------------------------------------------------------------------------


@pytest.fixture
def pseudo():
    torch.manual_seed(0)
    return PseudoSegNet(build_backbone("tiny", 16), 3, width=16, key_width=8).train()


def pseudo_batch(names=("u0", "u1", "u2"), **changes):
    return batch_of(PseudoSegViews(FewSizes(CROP, (0.8, 1.0)), 3, 1, cutout=6, **changes), names)


def test_a_pseudoseg_step_sums_its_four_losses_and_trains_every_part(pseudo):
    losses = PseudoSegStep(pseudo)(pseudo, pseudo_batch())
    names = ("loss_labelled", "loss_sgc", "loss_tags", "loss_consistency")
    assert float(losses["loss"]) == pytest.approx(sum(float(losses[name]) for name in names), rel=1e-5)
    losses["loss"].backward()
    still = [name for name, parameter in pseudo.named_parameters() if parameter.requires_grad and parameter.grad is None]
    assert still == []
    half = PseudoSegStep(pseudo, weight=0.5)(pseudo, pseudo_batch())
    assert float(half["loss"]) == pytest.approx(sum(float(half[name]) for name in names) - 0.5 * float(half["loss_consistency"]), rel=1e-5)


@pytest.mark.parametrize(
    "changes",
    [{}, {"hard": True, "threshold": 0.37}, {"scope": "pixel", "threshold": 0.5}, {"normalize": False, "gamma": 0.7}],
    ids=lambda changes: "-".join(changes),
)
def test_a_pseudoseg_step_is_what_its_definition_says(pseudo, changes):
    pseudo.tagger.bias.data[:] = torch.tensor([0.2, -0.2])
    batch, twin = pseudo_batch(("l3", "l4", "l5"), watch=True), deepcopy(pseudo)
    batch["labelled_valid"][:, :, CROP // 2 :] = 0
    settings = {"gamma": 0.3, "temperature": 0.7, "normalize": True, "scope": "image", "threshold": 0.4, "hard": False} | changes
    losses = PseudoSegStep(pseudo, **settings)(pseudo, batch)
    labelled = Parts(*twin(batch["image"], "parts"))
    size = tuple(labelled.logits.shape[2:])
    sgc = twin.sgc_logits(labelled, batch["tags"], resize_nearest(batch["labelled_valid"], size))
    assert losses["loss_sgc"].item() == pytest.approx(segmentation_loss(sgc, batch["mask"], align_corners=False).item(), rel=1e-4)
    decoder = twin(batch["weak"], "parts").logits  # in training mode; the maps are made in evaluation mode
    seen = twin.eval()(batch["weak"], "parts")
    twin.train()
    chances = twin.tag_logits(seen.high).sigmoid()
    assert ((chances >= 0.5) & (chances < 0.6)).any() and (chances < 0.5).any()
    valid = resize_nearest(batch["valid"], size)
    spread = resize_bilinear(twin.sgc_logits(seen, (chances >= 0.5).float(), valid), size, False)
    fusion = {name: settings[name] for name in ("gamma", "normalize", "scope")}
    target = fuse(decoder, spread, temperature=1.0 if settings["hard"] else 0.7, **fusion)
    strong = twin(batch["strong"], "parts").logits
    expected = consistency_loss(strong, target, valid, settings["threshold"], settings["hard"])
    assert losses["loss_consistency"].item() == pytest.approx(expected.item(), rel=1e-4)
    truth = resize_nearest(batch["truth"], size)
    known = (valid == 1) & (truth != 255)
    counts = {
        "valid": valid == 1,
        "confident": (valid == 1) & (target.amax(dim=1) >= settings["threshold"]),
        "known": known,
        "right": known & (target.argmax(dim=1) == truth),
        "decoder_right": known & (decoder.argmax(dim=1) == truth),
        "sgc_right": known & (spread.argmax(dim=1) == truth),
    }
    assert {name: losses[name].item() for name in counts} == {name: pixels.sum().item() for name, pixels in counts.items()}
    assert 0 < counts["confident"].sum() < counts["valid"].sum()


def test_the_fused_label_teaches_the_strong_view_alone(pseudo):
    captured = {}
    step = PseudoSegStep(pseudo)

    def module(images, mode):
        parts = pseudo(images, mode)
        captured[len(captured)] = (torch.is_grad_enabled(), parts.logits.requires_grad)
        return parts

    pseudo.backbone.freeze_batchnorm()
    for part in pseudo.head.modules():
        assert not isinstance(part, torch.nn.BatchNorm2d)
    step(module, pseudo_batch())
    assert list(captured.values()) == [(True, True), (False, False), (True, True)]  # labelled, weak, strong


def test_given_tags_train_the_classifier_on_unlabelled_images(pseudo):
    pseudo.backbone.freeze_batchnorm()
    batch = pseudo_batch(("l3", "l4", "l5"))
    losses = PseudoSegStep(pseudo, given_tags=True)(pseudo, batch)
    logits = pseudo.tag_logits(pseudo(batch["weak"], "parts").high)
    expected = F.binary_cross_entropy_with_logits(logits, batch["unlabelled_tags"]).item()
    assert losses["loss_tags"].item() == pytest.approx(expected, rel=1e-5)


def test_maps_are_made_in_evaluation_mode_where_the_backbone_has_batch_statistics(pseudo):
    modes = []
    pseudo.backbone.register_forward_pre_hook(lambda module, args: modes.append(module.training))
    PseudoSegStep(pseudo)(pseudo, pseudo_batch())
    assert modes == [True, True, False, True]
    assert pseudo.training
    modes.clear()
    pseudo.backbone.freeze_batchnorm()
    PseudoSegStep(pseudo)(pseudo, pseudo_batch())
    assert modes == [True, True, True]


def test_no_valid_pixel_gives_no_consistency_loss(pseudo):
    losses = PseudoSegStep(pseudo)(pseudo, {**pseudo_batch(), "valid": torch.zeros(3, CROP, CROP, dtype=torch.uint8)})
    assert float(losses["loss_consistency"]) == 0
    assert torch.isfinite(losses["loss"])
