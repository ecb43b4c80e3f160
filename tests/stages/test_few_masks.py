"""Trainings from few masks and what they write, on a few scenes."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from labelseg.data.augment.views import AnySize
from labelseg.errors import DataError, ItemsFailedError, UsageError
from labelseg.inference.predictor import Predictor, class_probabilities
from labelseg.methods.few_masks import setup
from labelseg.methods.few_masks.pseudoseg_step import PseudoSegStep
from labelseg.methods.few_masks.unimatch_step import VARIANTS, UniMatchStep
from labelseg.models.encoders.registry import build_backbone
from labelseg.models.networks import load_network
from labelseg.models.segmenter import Segmenter
from labelseg.ops.few_masks.sgc import fuse, resize_bilinear
from labelseg.ops.few_masks.unimatch import ohem_loss
from labelseg.pipeline.engines.inputs import Item
from labelseg.pipeline.run.options import RunOptions
from labelseg.stages.few_masks import sgc, train_pseudoseg, train_unimatch
from labelseg.training.fitting import demand_batch
from labelseg.training.samples import source_mask
from labelseg.workspace import Workspace
from tests.stages.conftest import HERE, caught_training, make_few_masks

FEW = [f"train_{k:04}" for k in range(4)]
MANY = [f"train_{k:04}" for k in range(4, 8)]
ONCE = {"iterations": 1}


def computed(report):
    return {result.instance for result in report.results if result.computed}


# --- what is written --------------------------------------------------------------------------------------------------


def test_images_without_masks_get_masks_and_confidences(few_masks):
    assert not any(few_masks.dataset.has(image_id, "mask") for image_id in MANY)
    for instance in ("segment@few", "sgc"):
        artifact = few_masks[instance, "many"]
        assert list(artifact) == MANY
        for image_id, item in artifact.items():
            assert item["mask"].shape == item["confidence"].shape == few_masks.dataset.image(image_id).shape[:2]
            assert item["mask"].max() < len(few_masks.dataset.classes)
            assert item["confidence"].min() >= 1 / 7
            assert item["confidence"].max() <= 1


def test_a_model_records_its_labelled_images(few_masks):
    for instance in ("train-unimatch", "train-pseudoseg"):
        assert few_masks.model(instance).meta["labelled"] == FEW
        rows = few_masks.catalog.load(instance, few_masks.ref(instance).key).meta["rows"]
        assert [row[0] for row in rows["split"]] == FEW
        assert [row[0] for row in rows["unlabelled"]] == MANY


def test_curves_hold_every_loss_and_the_mask_ratio(few_masks):
    record = few_masks.model("train-unimatch").curves[-1]
    assert {"loss", "loss_labelled", "loss_strong1", "loss_strong2", "loss_perturbed", "mask_ratio"} <= record.keys()
    assert "pseudo_accuracy" not in record
    record = few_masks.model("train-pseudoseg").curves[-1]
    assert {"loss", "loss_labelled", "loss_sgc", "loss_tags", "loss_consistency"} <= record.keys()


@pytest.mark.parametrize("stage", ["train-unimatch", "train-pseudoseg"])
def test_labelled_images_are_not_unlabelled_ones(prepared, stage):
    samples = prepared(stage, unlabelled="train").samples
    assert [item.id for item in samples.labelled] == FEW
    assert [item.id for item in samples.unlabelled] == MANY
    assert samples.make_unlabelled.watch


@pytest.mark.parametrize("stage", ["train-unimatch", "train-pseudoseg"])
def test_where_all_are_labelled_true_masks_do_not_tell_how_good_pseudo_labels_are(prepared, caplog, stage):
    samples = prepared(stage, unlabelled="few").samples
    assert [item.id for item in samples.unlabelled] == FEW
    assert not samples.make_unlabelled.watch
    assert f"{stage}: every image of --unlabelled few is learned with its mask too" in caplog.text


def test_the_supervised_variant_reads_no_unlabelled_image(prepared):
    assert prepared("train-unimatch", variant="supervised").samples.make_unlabelled is None


@pytest.mark.parametrize("stage", ["train-unimatch", "train-pseudoseg"])
def test_pseudo_labels_are_watched_where_unlabelled_images_have_masks(few_masks, stage):
    few_masks.run(stage, unlabelled="val", threshold=0.0, options=HERE, **ONCE)
    assert 0 <= few_masks.model(stage).curves[-1]["pseudo_accuracy"] <= 1


def test_a_second_run_does_nothing_and_the_same_seed_trains_the_same_bytes(few_masks):
    assert computed(few_masks.run(options=HERE)) == set()
    for stage in ("train-unimatch", "train-pseudoseg"):
        before = few_masks.ref(stage).digest
        few_masks.run(stage, options=RunOptions(workers=0, force=frozenset({stage})))
        assert few_masks.ref(stage).digest == before


@pytest.mark.parametrize(("stage", "kind"), [("train-unimatch", UniMatchStep), ("train-pseudoseg", PseudoSegStep)])
def test_a_training_that_crashed_goes_on_to_equal_bytes(few_masks, monkeypatch, tmp_path, stage, kind):
    root = make_few_masks(tmp_path / "fresh")
    step, calls = kind.__call__, []

    def crash(self, module, batch):
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("power cut")
        return step(self, module, batch)

    with monkeypatch.context() as patch:
        patch.setattr(kind, "__call__", crash)
        with pytest.raises(RuntimeError, match="power cut"):
            Workspace(root).run(stage, options=HERE)
    calls.clear()
    monkeypatch.setattr(kind, "__call__", lambda self, module, batch: calls.append(1) or step(self, module, batch))
    Workspace(root).run(stage, options=HERE)
    assert len(calls) == 1  # two of three updates were there
    assert Workspace(root).ref(stage).digest == few_masks.ref(stage).digest


# --- what parameters do -----------------------------------------------------------------------------------------------


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """Run a training up to where it would begin; gives what it was to be made of."""
    workspace = Workspace(make_few_masks(tmp_path))

    return lambda stage, **params: caught_training(monkeypatch, setup, "fit", lambda: workspace.run(stage, options=HERE, **params))


def rates(groups):
    return [(group.lr_scale, group.weight_decay) for group in groups]


def test_parameters_of_unimatch_reach_its_step_and_its_views(prepared):
    chosen = {"variant": "uniperb", "threshold": 0.4, "dropout": 0.2, "box": 0.7, "jitter": 0.1, "resize": (0.8, 1.5), "crop": 48}
    hard = {"labelled_loss": "ohem", "ohem_threshold": 0.6, "ohem_kept": 7, "weight_decay": 0.03, "head_lr_scale": 3.0}
    given = prepared("train-unimatch", **chosen, **hard)
    step, views = given.step, given.samples.make_unlabelled
    assert (step.variant, step.threshold, step.dropout, step.mixed) == (VARIANTS["uniperb"], 0.4, 0.2, False)
    assert (step.labelled_loss.func, step.labelled_loss.keywords) == (ohem_loss, {"threshold": 0.6, "min_kept": 7})
    assert (views.views, views.box, views.colours.strength, views.own_partner) == (1, 0.7, 0.1, False)
    assert views.draw == given.samples.make_labelled.draw == AnySize(48, 0.8, 1.5)
    assert rates(given.groups) == [(1.0, 0.03), (3.0, 0.03)]
    given = prepared("train-unimatch", partner="self", precision="bf16-mixed", evaluate_every=3, patience=2, iterations=9, hold=0.3)
    assert given.step.mixed and given.samples.make_unlabelled.own_partner
    assert (given.evaluate_every, given.patience, given.iterations) == (3, 2, 9)


def test_parameters_of_pseudoseg_reach_its_step_and_its_views(prepared):
    fused = {"gamma": 0.3, "temperature": 0.7, "normalize": False, "norm_scope": "pixel", "threshold": 0.4, "hard": True}
    given = prepared(
        "train-pseudoseg", **fused, unlabelled_weight=0.25, labelled_tags="crop", jitter=0.6, cutout=4, weight_decay=0.03, key_width=24
    )
    step, views = given.step, given.samples.make_unlabelled
    assert (step.gamma, step.temperature, step.normalize, step.scope, step.threshold, step.hard) == tuple(fused.values())
    assert (step.weight, step.given_tags, step.net) == (0.25, False, given.net)
    assert (views.strength, views.cutout, given.samples.make_labelled.tags_from) == (0.6, 4, "crop")
    assert given.net.sgc.key.out_channels == 24
    decay = {id(parameter): group.weight_decay for group in given.groups for parameter in group.parameters}
    for name, parameter in given.net.named_parameters():
        depthwise = parameter.ndim == 4 and parameter.shape[1] == 1
        assert decay[id(parameter)] == (0.03 if parameter.ndim > 1 and not depthwise and not name.startswith("sgc.") else 0), name
    assert prepared("train-pseudoseg", tags="given").step.given_tags


def test_what_is_kept_is_what_is_scored(prepared, monkeypatch):
    monkeypatch.setattr(setup, "segmenter_scores", lambda *settings: settings)
    given = prepared("train-unimatch", variant="unimatch-v2", validation="val", window=32)
    net, held, *_, window, read_mask = given.evaluate(given.net)
    assert net is given.teacher is given.step.teacher
    assert ([item.id for item in held], window, read_mask) == (["val_0000", "val_0001", "val_0002"], 32, Item.mask)
    given = prepared("train-unimatch", variant="unimatch", validation="", hold=0.3)
    net, held, *_, read_mask = given.evaluate(given.net)
    assert net is given.net and given.teacher is None
    assert ([item.id for item in held], read_mask) == (given.meta["held"], source_mask)


@pytest.mark.parametrize(("take", "taken"), [("network", {"backbone", "head"}), ("backbone", {"backbone"})])
def test_a_training_begins_with_the_parts_of_a_file(prepared, tmp_path, take, taken):
    torch.manual_seed(5)
    state = Segmenter(build_backbone("tiny", 16), 7, width=32, separable=True).state_dict()
    save_file(state, tmp_path / "net.safetensors")
    own = prepared("train-unimatch", weights=str(tmp_path / "net.safetensors"), take=take).net.state_dict()
    equal = {part: all(torch.equal(own[name], state[name]) for name in own if name.startswith(f"{part}.")) for part in ("backbone", "head")}
    assert {part for part, same in equal.items() if same} == taken


def test_the_seed_chooses_what_is_held_back(prepared):
    held = [prepared("train-unimatch", hold=0.3, seed=seed).meta["held"] for seed in range(6)]
    assert {*map(tuple, held)} > {tuple(held[0])}


@pytest.mark.parametrize(("tags", "read"), [("given", ("image", "tags")), ("predicted", ("image",))])
def test_tags_of_unlabelled_images_are_in_the_key_where_they_are_read(tags, read):
    assert train_pseudoseg.STAGE.uses(train_pseudoseg.Params(tags=tags))["unlabelled"] == read
    assert sgc.STAGE.uses(sgc.Params(tags=tags)) == read


def test_masks_are_in_the_key_where_they_choose_and_not_where_they_are_watched():
    for stage in (train_unimatch, train_pseudoseg):
        used = stage.STAGE.uses(stage.Params())
        assert (used["validation"], used["unlabelled"]) == (("image", "mask"), ("image",))


# --- variants and beginnings ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["fixmatch", "uniperb", "dusperb", "unimatch-v2", "supervised"])
def test_every_variant_trains_a_segmenter(few_masks, variant):
    few_masks.run("train-unimatch", variant=variant, labelled_loss="ohem", options=HERE, **ONCE)
    assert np.isfinite(few_masks.model("train-unimatch").curves[-1]["loss"])
    few_masks.run("segment@few", "val", options=HERE)
    assert few_masks["segment@few", "val"]["val_0000"]["mask"].dtype == np.uint8


@pytest.mark.parametrize(("stage", "parts"), [("train-unimatch", 2), ("train-pseudoseg", 4)])
def test_a_training_begins_with_the_whole_network_of_another(few_masks, stage, parts):
    few_masks.write_config("train-segmenter", {"labels": "masks", "split": "few", "backbone": "tiny", "weights": "none", "epochs": 1})
    few_masks.write_config("train-segmenter", {"batch_size": 2, "crop": 64, "width": 32, "freeze_batchnorm": True})
    few_masks.run(stage, init="train-segmenter", lr=0.0, freeze_batchnorm=True, options=HERE, **ONCE)
    given, kept = few_masks.model("train-segmenter").tensors, few_masks.model(stage).tensors
    assert len({name.split(".")[0] for name in kept}) == parts
    assert all(np.array_equal(kept[name], tensor) for name, tensor in given.items())


def test_a_head_that_does_not_fit_is_refused_and_the_backbone_alone_is_taken(few_masks):
    few_masks.write_config("train-unimatch@x", {"init": "train-pseudoseg", "width": 48})
    with pytest.raises(DataError, match=r"head of train-pseudoseg.*--take backbone"):
        few_masks.run("train-unimatch@x", options=HERE, **ONCE)
    few_masks.run("train-unimatch@x", take="backbone", options=HERE, **ONCE)


def test_masks_of_any_stage_may_be_the_labels(few_masks):
    few_masks.write_config("train-unimatch@next", {"labels": "sgc", "split": "many", "unlabelled": "few"})
    few_masks.run("train-unimatch@next", options=HERE, **ONCE)
    assert few_masks.model("train-unimatch@next").meta["labelled"] == MANY


def test_the_best_epoch_is_chosen_by_held_images_and_the_last_is_told_beside_it(few_masks):
    few_masks.run("train-unimatch", iterations=0, epochs=4, hold=0.3, patience=1, keep="best", options=HERE)
    model = few_masks.model("train-unimatch")
    assert len(model.meta["held"]) == 1
    assert sorted(model.meta["labelled"] + model.meta["held"]) == FEW
    scores = [record["mIoU"] for record in model.curves]
    assert model.metrics["best"]["mIoU"] == max(scores)
    assert model.metrics["last"] == model.curves[-1]
    stopped = model.metrics["best_epoch"] + 1 if len(scores) < 4 else 4
    assert len(scores) == stopped


def test_windows_and_a_published_head_and_own_partners_work_together(few_masks):
    few_masks.run("train-unimatch", head="unimatch", partner="self", validation="val", window=64, options=HERE, **ONCE)
    assert 0 <= few_masks.model("train-unimatch").metrics["last"]["mIoU"] <= 1


# --- sgc --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "temperature", "tag_threshold"), [("image", 0.5, 0.5), ("image", 0.8, 0.5), ("pixel", 0.5, 0.5), ("image", 0.5, 0.99)]
)
def test_the_fused_label_of_an_image_is_what_its_definition_says(few_masks, scope, temperature, tag_threshold):
    few_masks.run("sgc", "many", norm_scope=scope, temperature=temperature, tag_threshold=tag_threshold, options=HERE)
    net = load_network(few_masks.model("train-pseudoseg"), "pseudoseg")
    image = few_masks.dataset.image(MANY[0])
    from labelseg.data.augment.transforms import normalize

    with torch.inference_mode():
        parts = net(torch.from_numpy(normalize(image))[None], "parts")
        grid = parts.logits.shape[2:]
        tags = (net.tag_logits(parts.high).sigmoid() >= tag_threshold).float()
        spread = resize_bilinear(net.sgc_logits(parts, tags, torch.ones(1, *grid)), tuple(grid), False)
        fused = fuse(parts.logits, spread, scope=scope, temperature=temperature)[0]
    item = few_masks["sgc", "many"][MANY[0]]
    np.testing.assert_allclose(item["scores"], fused, atol=1e-3)
    np.testing.assert_allclose(item["scores"].astype(float).sum(axis=0), 1, atol=5e-3)
    assert item["maps"].shape[1:] == parts.high.shape[2:]


def test_the_decoder_alone_is_what_segment_writes(few_masks):
    few_masks.run("sgc", "many", gamma=1.0, temperature=1.0, normalize=False, options=HERE)
    item = few_masks["sgc", "many"][MANY[1]]
    net = load_network(few_masks.model("train-pseudoseg"), "pseudoseg")
    probabilities = class_probabilities(Predictor(net, "cpu"), few_masks.dataset.image(MANY[1]), (1.0,), False)
    assert (item["mask"] == probabilities.argmax(axis=0)).mean() > 0.97  # enlarged before or after the softmax


def test_given_tags_are_the_ones_spread_and_unsure_pixels_are_left_out(few_masks):
    few_masks.run("sgc", "many", tags="given", gamma=0.0, threshold=0.451, options=HERE)
    item = few_masks["sgc", "many"][MANY[0]]
    np.testing.assert_array_equal(item["mask"] == 255, resized_confidence(item) < 0.451)
    net = load_network(few_masks.model("train-pseudoseg"), "pseudoseg")
    from labelseg.data.augment.transforms import normalize

    given = few_masks.dataset.tags(MANY[0])
    with torch.inference_mode():
        parts = net(torch.from_numpy(normalize(few_masks.dataset.image(MANY[0])))[None], "parts")
        maps = {
            tags: net.sgc_logits(parts, torch.tensor([[float(k in tags) for k in range(1, 7)]]), torch.ones(1, *parts.logits.shape[2:]))
            for tags in (given, ())
        }
    np.testing.assert_allclose(item["maps"], maps[given][0].softmax(dim=0), atol=1e-3)
    assert (maps[given] - maps[()]).abs().max() > 0.1


def test_an_image_without_the_tags_asked_for_is_told_and_the_others_are_written(few_masks):
    labels = next(few_masks.root.glob("*.csv"))
    labels.write_text("\n".join(line for line in labels.read_text().splitlines() if not line.startswith(MANY[1])) + "\n")
    again = type(few_masks)(few_masks.root)
    with pytest.raises(ItemsFailedError, match=f"sgc for {MANY[1]}: expected tags.*Run: labelseg sgc --tags predicted"):
        again.run("sgc", "many", tags="given", options=HERE)
    assert list(again["sgc", "many"]) == [name for name in MANY if name != MANY[1]]


def resized_confidence(item):
    return resize_bilinear(torch.from_numpy(item["scores"].astype(np.float32))[None], item["mask"].shape, False)[0].amax(dim=0).numpy()


def test_data_without_background_has_no_background_score(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    rng = np.random.default_rng(0)
    for k in range(4):
        mask = np.zeros((48, 64), np.uint8)
        mask[:, 20 + 5 * k :] = 1
        Image.fromarray((rng.integers(0, 60, (48, 64, 3)) + 100 * mask[..., None]).astype(np.uint8)).save(tmp_path / "images" / f"{k}.png")
        Image.fromarray(mask).save(tmp_path / "masks" / f"{k}.png")
    (tmp_path / "labelseg.toml").write_text(
        '[data]\nimages = "images"\nmasks = "masks"\nclasses = ["sky", "road"]\n\n[train-pseudoseg]\nbackbone = "tiny"\nweights = "none"\n'
        "freeze_batchnorm = false\niterations = 2\nbatch_size = 2\ncrop = 48\nwidth = 16\n"
    )
    workspace = Workspace(tmp_path)
    workspace.run("sgc", "all", options=HERE)
    assert workspace["sgc", "all"]["0"]["maps"].shape[0] == 2
    assert workspace.model("train-pseudoseg").tensors["tagger.weight"].shape[0] == 2


# --- bad input --------------------------------------------------------------------------------------------------------


def without_masks(root):
    shutil.rmtree(root / "masks")
    (root / "masks").mkdir()
    shutil.copy(next((root / "images").glob("val_0000*")), root / "unused")
    Image.fromarray(np.zeros(Workspace(root).dataset.image("val_0000").shape[:2], np.uint8)).save(root / "masks" / "val_0000.png")


def mostly_unknown_labelled_images(root):
    (root / "splits" / "few.txt").write_text("train_0000\ntrain_9999\ntrain_9998\n")


def no_unlabelled_image(root):
    (root / "splits" / "many.txt").write_text("\n")


def make_void(root, pattern):
    """Overwrite true masks by 255."""
    for path in (root / "masks").glob(pattern):
        Image.fromarray(np.full_like(np.asarray(Image.open(path)), 255)).save(path)


@pytest.mark.parametrize("stage", ["train-unimatch", "train-pseudoseg"])
@pytest.mark.parametrize(
    ("spoil", "params", "error", "message"),
    [
        (without_masks, {}, DataError, "split 'few' has no image with a ground truth mask"),
        (mostly_unknown_labelled_images, {}, DataError, r"few\.txt line 2: no image 'train_9999'"),
        (no_unlabelled_image, {}, DataError, "split 'many' holds no image"),
        (None, {"crop": 1000}, UsageError, r"crop of train-\w+: 1000 pixels is larger than every image"),
        (None, {"unlabelled": ""}, DataError, "no unlabelled image"),
        (None, {"unlabelled": "mnay"}, UsageError, "no split 'mnay'"),
        (None, {"hold": 0.5, "validation": "val"}, UsageError, "either --validation SPLIT or --hold SHARE"),
        (None, {"keep": "best"}, UsageError, "--keep best needs images to choose by"),
        (None, {"patience": 3}, UsageError, "--patience needs images to measure when .* Add --hold 0.2, or --validation SPLIT with masks"),
        (None, {"validation": "many"}, UsageError, "no image of --validation many can be scored. Name --hold 0.2, or"),
    ],
)
def test_wrong_data_and_parameters_are_told(tmp_path, stage, spoil, params, error, message):
    root = make_few_masks(tmp_path)
    if spoil is not None:
        spoil(root)
    with pytest.raises(error, match=message):
        Workspace(root).run(stage, options=HERE, **params)


@pytest.mark.parametrize("stage", ["train-unimatch", "train-pseudoseg"])
@pytest.mark.parametrize(("given", "void"), [({"validation": "val"}, "val_*"), ({"hold": 0.5}, "train_*")])
def test_images_to_evaluate_on_without_a_labelled_pixel_are_told(tmp_path, stage, given, void):
    root = make_few_masks(tmp_path)
    make_void(root, void)
    with pytest.raises(DataError, match=rf"{stage}: no labelled pixel in the \d validation images"):
        Workspace(root).run(stage, options=HERE, **given)


@pytest.mark.parametrize(
    ("stage", "params"),
    [
        ("train-unimatch", {"variant": "fixmatch"}),
        ("train-unimatch", {"variant": "uniperb"}),
        ("train-unimatch", {"variant": "unimatch-v2"}),
        ("train-unimatch", {"variant": "supervised"}),
        ("train-pseudoseg", {}),
    ],
)
def test_a_head_with_batch_statistics_refuses_passes_of_one_image(tmp_path, stage, params):
    root = make_few_masks(tmp_path)
    with pytest.raises(UsageError, match=rf"{stage}: head unimatch.*Give at least --batch-size 2, or another head"):
        Workspace(root).run(stage, options=HERE, head="unimatch", batch_size=1, **params)
    for name in ("few", "many"):
        path = root / "splits" / f"{name}.txt"
        path.write_text(path.read_text().splitlines()[0] + "\n")
    with pytest.raises(UsageError, match="Name at least 2 images, or another head"):
        Workspace(root).run(stage, options=HERE, head="unimatch", batch_size=2, **params)


@pytest.mark.parametrize(("ranks", "batch", "needed"), [(1, 1, 2), (2, 2, 4), (2, 3, 4)])
def test_every_process_needs_two_images_for_batch_statistics(ranks, batch, needed):
    net = Segmenter(build_backbone("tiny", 16), 3, "unimatch", width=16)
    inputs = SimpleNamespace(ranks=ranks)
    with pytest.raises(UsageError, match=rf"train: head unimatch.*a batch of {batch} on .*Give at least --batch-size {needed}"):
        demand_batch("train", inputs, SimpleNamespace(batch_size=batch), net, 8)
    demand_batch("train", inputs, SimpleNamespace(batch_size=needed), net, 8)
    demand_batch("train", inputs, SimpleNamespace(batch_size=batch), net, 8, 2)
    demand_batch("train", inputs, SimpleNamespace(batch_size=1), Segmenter(build_backbone("tiny", 16), 3, "atrous"), 8)


def test_both_views_of_one_image_are_enough_for_batch_statistics(tmp_path):
    workspace = Workspace(make_few_masks(tmp_path))
    workspace.run("train-unimatch", options=HERE, head="unimatch", batch_size=1, freeze_batchnorm=True, **ONCE)
    assert np.isfinite(workspace.model("train-unimatch").curves[-1]["loss"])


def test_a_class_without_a_labelled_pixel_is_told(tmp_path):
    root = make_few_masks(tmp_path)
    (root / "splits" / "few.txt").write_text("train_0000\n")
    with pytest.raises(DataError, match=r"train-unimatch: no pixel of the 1 labelled images is of class \w+.*labelseg split --labelled N"):
        Workspace(root).run("train-unimatch", allow_missing=False, options=HERE)


def test_given_tags_that_are_missing_are_told(tmp_path):
    root = make_few_masks(tmp_path)
    labels = next(root.glob("*.csv"))
    labels.write_text("\n".join(line for line in labels.read_text().splitlines() if not line.startswith("train_0005")) + "\n")
    with pytest.raises(DataError, match="1 unlabelled images have no tags, such as train_0005"):
        Workspace(root).run("train-pseudoseg", tags="given", options=HERE)
