"""Settings of every stage, and beside each one the parameters that have no effect under it."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from types import SimpleNamespace

from labelseg.stages import STAGES
from tests.stages.contract.by_hand import CLASSES

STAGE = {stage.name: stage for stage in STAGES}
TINY = {"backbone": "tiny", "weights": "none", "freeze_batchnorm": False, "crop": 32, "batch_size": 2, "epochs": 1}
TINY |= {"warmup_share": 0.5, "min_updates": 1, "clip_norm": 1.0}
TRAINED = {
    "train-classifier": {**TINY, "long_side": (40, 60)},
    "train-affinity": {**TINY, "widths": (8, 8, 8), "affinity_labels": "given"},
    "train-segmenter": {**TINY, "width": 16, "labels": "masks"},
    "train-pseudoseg": {**TINY, "width": 16, "key_width": 8, "cutout": 4, "allow_missing": True},
    "train-unimatch": {**TINY, "width": 16, "threshold": 0.2, "allow_missing": True},
    "train-selector": {"warmup_share": 0.5, "min_updates": 1, "clip_norm": 1.0},
    "train-uda": {**TINY, "head": "deeplabv2", "width": 16, "iterations": 0},
    "wilson": {**TINY, "width": 16, "localizer_width": 16, "warmup_epochs": 1, "epochs": 2},
}
BASE, NEW = CLASSES[1:3], CLASSES[3:]

CRF = "crf_iters crf_sxy crf_srgb crf_weight crf_backend"
PROTOTYPES = "prototype_scale prototype_top prototype_bottom prototype_temperature"
GUARD = "guard_masks guard_factor guard_margin"
UNBUILT = "width separable evaluate_every"
UNWATCHED, UNWATCHED_FEW = "evaluate_every", "evaluate_every window"
OHEM = "ohem_threshold ohem_kept"
LATER = "new_head"
WEAK = "pseudo negatives replay replay_images all_tags alpha background_mix pamr feature_weight warmup_epochs localizer_width"
BUILT = "backbone weights init output_stride dilate head width separable"
FITTED = (
    "split labels freeze_blocks freeze_batchnorm optimizer momentum keep batch_size epochs lr head_lr_scale "
    "weight_decay warmup warmup_share min_updates clip_norm crop jitter seed evaluate_every wilson_compat"
)

# (stage, settings, what has no effect under them); those of FILES are not run: they read files, or what another stage made.
SETTINGS = [
    ("train-classifier", {}, UNWATCHED),
    ("train-classifier", {"validation": "val", "init": "model"}, "weights"),
    ("cam", {}, f"tag_threshold {PROTOTYPES}"),
    ("cam", {"tags": "predicted"}, PROTOTYPES),
    ("cam", {"kind": "prototype"}, "tag_threshold"),
    ("cam", {"kind": "mean"}, "tag_threshold"),
    ("refine", {}, ""),
    ("refine", {"crf_iters": 0}, "crf_sxy crf_srgb crf_weight crf_smooth_sxy crf_smooth_weight crf_tolerance"),
    ("refine", {"crf_weight": 0.0}, "crf_sxy crf_srgb"),
    ("refine", {"crf_smooth_weight": 0.0}, "crf_smooth_sxy"),
    ("refine", {"crf_backend": "pydensecrf"}, "crf_tolerance"),
    ("affinity-labels", {}, "guard_factor guard_margin"),
    ("affinity-labels", {"guard_masks": "refine"}, ""),
    ("train-affinity", {}, "take"),
    ("train-affinity", {"kind": "irn", "init": "model"}, "weights widths norm"),
    ("train-affinity", {"init": "affinity", "take": "network"}, "weights"),
    ("propagate", {}, f"features colour_range alpha crf_unary background_weight {GUARD} {CRF}"),
    ("propagate", {"guard": "refined"}, f"features colour_range alpha crf_unary background_weight {CRF}"),
    ("propagate", {"guard": "competitor"}, f"features colour_range alpha crf_unary {CRF}"),
    ("propagate", {"start": "background"}, f"features colour_range alpha crf_unary threshold {GUARD} {CRF}"),
    (
        "propagate",
        {"affinity_kind": "colour", "start": "psa", "crf": True},
        f"features affinity flip precision threshold background_weight {GUARD}",
    ),
    (
        "propagate",
        {"affinity_kind": "constant", "crf": True, "crf_iters": 0},
        f"features affinity flip precision colour_range beta alpha crf_sxy crf_srgb crf_weight background_weight {GUARD}",
    ),
    ("propagate", {"crf": True, "crf_weight": 0.0}, f"features colour_range alpha crf_sxy crf_srgb background_weight {GUARD}"),
    (
        "propagate",
        {"affinity_kind": "features"},
        f"affinity flip precision scales colour_range alpha crf_unary background_weight {GUARD} {CRF}",
    ),
    ("features", {"backbone": "tiny", "weights": "none"}, ""),
    ("features", {"model": "segmenter", "centre": True}, "backbone weights output_stride"),
    ("segment", {}, f"{CRF} overlap"),
    ("segment", {"crf": True}, "overlap"),
    ("segment", {"classes": "classifier", "tags": "given"}, f"{CRF} overlap"),
    ("segment", {"crf": True, "crf_iters": 0}, "crf_sxy crf_srgb crf_weight overlap"),
    ("segment", {"tile": 128, "overlap": 64}, CRF),
    ("train-segmenter", {}, f"{UNWATCHED} take"),
    ("train-segmenter", {"validation": "val", "init": "model"}, "weights"),
    ("train-segmenter", {"head": "atrous"}, f"{UNWATCHED} width separable take"),
    ("train-pseudoseg", {}, f"{UNWATCHED_FEW} take"),
    (
        "train-pseudoseg",
        {"hard": True, "threshold": 0.5, "normalize": False, "head": "atrous", "iterations": 1, "validation": "val"},
        "take temperature norm_scope width separable epochs min_updates",
    ),
    ("train-pseudoseg", {"init": "model", "take": "backbone", "hold": 0.5}, "weights"),
    ("train-unimatch", {}, f"{UNWATCHED_FEW} take {OHEM}"),
    (
        "train-unimatch",
        {"variant": "supervised", "head": "unimatch", "labelled_loss": "ohem"},
        f"{UNWATCHED_FEW} take separable threshold dropout partner box jitter tags class_share",
    ),
    (
        "train-unimatch",
        {"variant": "fixmatch", "box": 0.0, "head": "atrous", "labelled_loss": "ohem", "ohem_kept": 0, "validation": "val"},
        "take dropout partner width separable ohem_threshold",
    ),
    (
        "train-unimatch",
        {"variant": "dusperb", "init": "model", "take": "backbone", "iterations": 1, "hold": 0.5},
        f"weights dropout epochs min_updates {OHEM}",
    ),
    ("train-unimatch", {"variant": "unimatch-v2"}, f"{UNWATCHED_FEW} take dropout {OHEM}"),
    ("train-unimatch", {"variant": "fixmatch", "tags": "given"}, f"{UNWATCHED_FEW} take dropout {OHEM}"),
    ("train-unimatch", {"variant": "uniperb"}, f"{UNWATCHED_FEW} take {OHEM}"),
    ("sgc", {}, ""),
    ("sgc", {"normalize": False, "tags": "given"}, "norm_scope tag_threshold"),
    ("wilson", {"new": BASE}, f"task {WEAK} {LATER} {UNWATCHED} protocol"),
    ("wilson", {"new": BASE, "init": "model", "validation": "val"}, f"task {WEAK} {LATER} weights"),
    ("wilson", {"new": BASE, "adopt": "model"}, f"task {WEAK} {LATER} {BUILT} {FITTED} precision protocol"),
    ("wilson", {"new": BASE, "adopt": "model", "validation": "val"}, f"task {WEAK} {LATER} {BUILT} {FITTED}"),
    ("wilson", {"new": NEW, "step": 1}, f"task {BUILT} {UNWATCHED} protocol replay_images"),
    ("wilson", {"new": NEW, "step": 1, "pamr": False, "validation": "val"}, f"task {BUILT} replay_images wilson_compat"),
    ("wilson", {"new": NEW, "step": 1, "replay": "old", "negatives": "old"}, f"task {BUILT} {UNWATCHED} protocol"),
    ("wilson", {"new": NEW, "step": 1, "pseudo": "masks"}, f"task {BUILT} {UNWATCHED} protocol replay_images alpha background_mix"),
    ("wilson", {"new": NEW, "step": 1, "labels": "masks"}, f"task {BUILT} {WEAK} {UNWATCHED} protocol"),
    ("wilson-labels", {}, ""),
    ("ask", {}, "share seed"),
    ("ask", {"of": "segment"}, "seed"),
    ("ask", {"choose": "random"}, "beside share"),
    ("correct", {}, "partial"),
    ("correct", {"reach": 0.0}, "partial colour"),
    ("override", {}, ""),
    ("train-uda", {}, f"answer_weight {UNBUILT}"),
    (
        "train-uda",
        {"head": "deeplabv3plus", "answers": "masks", "adversarial": 0.0, "iterations": 1, "validation": "val"},
        "discriminator_lr epochs min_updates",
    ),
    ("train-uda", {"adversarial": 0.0}, f"split discriminator_lr answer_weight {UNBUILT}"),
    ("train-uda", {"answers": "masks", "source_weight": 0.0, "adversarial": 0.0}, f"source discriminator_lr {UNBUILT}"),
    ("train-uda", {"answers": "masks", "answer_weight": 0.0, "init": "model"}, f"answers weights {UNBUILT}"),
]
FILES = [
    ("import-features", {}, ""),
    ("import-network", {"weights": "net.pth"}, ""),
    ("import-scores", {"names": "names.txt"}, ""),
    ("train-classifier", {"weights": "net.pth"}, UNWATCHED),
    ("train-pseudoseg", {"weights": "net.pth"}, UNWATCHED_FEW),
    ("train-unimatch", {"weights": "net.pth", "take": "backbone"}, f"{UNWATCHED_FEW} {OHEM}"),
    ("train-uda", {"round": 1}, f"backbone weights init output_stride dilate head {UNBUILT}"),
    ("train-selector", {}, "epochs min_updates"),
    ("train-selector", {"second": "fresh", "iterations": 0}, "noise"),
    ("labor-select", {}, "model like points spl_max_fraction region top seed"),
    ("labor-select", {"strategy": "spl"}, "model like points cap similarity region top seed"),
    ("labor-select", {"strategy": "random"}, "selector model spl_max_fraction similarity region top precision"),
    ("labor-select", {"strategy": "ripu", "like": "labor-select@x"}, "selector points spl_max_fraction similarity top seed"),
    ("labor-select", {"strategy": "pixelpick"}, "selector spl_max_fraction similarity region"),
    ("labor-annotate", {}, "partial"),
]


OTHER = {
    bool: lambda value: not value,
    int: lambda value: value + 8,
    float: lambda value: value / 2 + 0.01 if value >= 0 else 0.5,
    str: lambda value: value + "x",
}


def title(setting):
    """Name a setting: the stage and what is chosen."""
    stage, chosen, _ = setting
    return f"{stage}-{','.join(str(value) for value in chosen.values())}"


def params_of(setting):
    """The parameters of a setting."""
    stage, chosen, _ = setting
    return STAGE[stage].params(**{**TRAINED.get(stage, {}), **chosen})


def other(params, name):
    """Another value that a parameter may have."""
    declared = next(f for f in fields(params) if f.name == name)
    value, choices = getattr(params, name), declared.metadata.get("choices")
    if choices:
        return next(choice for choice in reversed(choices) if choice != value)
    if isinstance(value, tuple):
        return (*value, *(value[:1] or ("x",)))
    return OTHER[type(value)](value)


def changed(params, names):
    """The same parameters but for some."""
    return replace(params, **{name: other(params, name) for name in names})


class Recorded:
    """Parameters that remember which of them were read."""

    def __init__(self, params):
        self.__dict__ |= {"_params": params, "read": set()}

    def __getattr__(self, name):
        if name in asdict(self._params):
            self.read.add(name)
        return getattr(self._params, name)


def plain(model):
    """What a training gave, apart from what its network says of itself."""
    settings = {name: value for name, value in model.meta.items() if name not in ("settings", "increment")}
    return SimpleNamespace(tensors=dict(model.tensors), rest=(settings, model.metrics, model.curves))
