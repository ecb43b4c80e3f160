"""Stage ``propagate``: spread class activation maps by a random walk over affinities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from labelseg.methods.crf_params import CrfParams, has_crf
from labelseg.methods.guard_params import GuardParams
from labelseg.pipeline.declare.stage import AUTO, Follow, Stage, like, option, source

if TYPE_CHECKING:
    from labelseg.pipeline.engines.inputs import Inputs, Item


def _is_learned(params: Params) -> bool:
    return params.affinity_kind == "learned"


def _starts_as_psa(params: Params) -> bool:
    return params.start == "psa"


def _has_threshold(params: Params) -> bool:
    return params.start in ("foreground-only", "irn", AUTO)


def _has_guard(params: Params) -> bool:
    return params.guard != "off"


def _has_competitor(params: Params) -> bool:
    return params.start == "background" or params.guard == "competitor"


def _is_colour(params: Params) -> bool:
    return params.affinity_kind == "colour"


def _is_constant(params: Params) -> bool:
    return params.affinity_kind == "constant"


def _has_features(params: Params) -> bool:
    return params.affinity_kind == "features"


def _sees_images(params: Params) -> bool:
    return params.affinity_kind != "features"


@dataclass(frozen=True, kw_only=True)
class WalkParams:
    """What walks, over which affinities and how long."""

    cam: str = source("cam", help="Instance that provides the class activation maps.", kind="map")
    affinity: str = source("train-affinity", help="Instance that provides the affinity model.", kind="model", effective=_is_learned)
    affinity_kind: str = option(
        "learned",
        help="Where affinities come from: the model, the likeness of features, or as controls colours alone or nothing (constant).",
        choices=("learned", "features", "colour", "constant"),
    )
    features: str = source("features", help="Instance that provides the features.", kind="features", effective=_has_features)
    colour_range: float = option(
        20.0,
        help="Mean difference, in grey levels, at which colour affinity falls to 1/e.",
        minimum=0.01,
        effective=_is_colour,
    )
    beta: float = option(8.0, help="Sharpening exponent on affinities.", minimum=0.01, effective=lambda params: not _is_constant(params))
    iters: int = option(256, help="Steps of the walk.", minimum=0)
    radius: int = option(5, help="Pairs closer than this many cells are linked.", minimum=1)
    scales: tuple[float, ...] = option(
        (1.0,),
        help="Factors of the image's sides whose walks are averaged; more than 1 gives a finer grid. Features walk on the grid they have.",
        minimum=0.1,
        effective=_sees_images,
    )
    flip: bool = option(False, help="Average learned affinities with those of the mirrored image.", effective=_is_learned)
    start: str = option(
        AUTO,
        help="Maps that walk: the classes alone, against a threshold; the same damped at boundaries, over one maximum (irn); background, "
        "as one map among them; or the background of psa. auto: irn where the affinity model is of kind irn, else foreground-only.",
        choices=(AUTO, "foreground-only", "irn", "background", "psa"),
        follows=Follow("affinity", "kind", {"irn": "irn"}, "foreground-only"),
    )
    alpha: float = option(16.0, help="Background exponent of the start maps (start psa).", minimum=0.0, effective=_starts_as_psa)
    threshold: float = option(
        0.3,
        help="Background score after the walk (start foreground-only or irn), against maps whose maximum is 1.",
        minimum=0.0,
        maximum=1.0,
        effective=_has_threshold,
    )
    background_weight: float = option(
        1.1,
        help="Factor of the background's map where it competes with those of the classes (start background, guard competitor).",
        minimum=0.01,
        effective=_has_competitor,
    )
    tolerance: float = option(1e-4, help="Weight of the polynomials left out of the walk; 0 takes every step.", minimum=0.0, maximum=0.1)
    crf: bool = option(False, help="Refine the walked scores by a dense CRF.")


@dataclass(frozen=True, kw_only=True)
class Guard:
    """What keeps a class from flooding an image."""

    guard: str = option(
        "off",
        help="Where a class that flooded an image is taken from: the guard-masks (refined), or the walk against background (competitor).",
        choices=("off", "refined", "competitor"),
        neutral=True,
    )
    guard_masks: str = like(GuardParams, "guard_masks", default="refine", effective=_has_guard)
    guard_factor: float = like(GuardParams, "guard_factor")
    guard_margin: float = like(GuardParams, "guard_margin")


@dataclass(frozen=True, kw_only=True)
class Params(CrfParams, Guard, WalkParams):
    """Parameters of ``propagate``."""

    crf_unary: str = option(
        "labels",
        help="What the CRF starts from: the mask, held right with probability 0.7, or the scores.",
        choices=("labels", "scores"),
        effective=has_crf,
    )
    precision: str = option("32-true", help="Precision of the forward pass.", choices=("32-true", "bf16-mixed"), effective=_is_learned)
    psa_compat: bool = option(False, help="Link and pad border cells as the published code does.")


def run(inputs: Inputs, params: Params) -> Callable[[Item], dict[str, Any]]:
    """Spread class activation maps to similar neighbours by a random walk over affinities, learned or of features.

    Returns:
        The function that computes an item: ``scores`` float16 (K, h, w) on the grid of the walk; ``class_ids`` int16 (C,), of the maps that
        were spread; ``size`` int32 (2,), height and width of the image; ``mask`` uint8 (H, W), class ids.

    Source: Ahn & Kwak 2018; affinitynet.md.
    """
    import numpy as np

    from labelseg.errors import UsageError
    from labelseg.inference.affinities import Features
    from labelseg.inference.walks import Walker, start_of, walked_classes, walked_mask
    from labelseg.models.fast.inference_form import for_inference
    from labelseg.models.networks import load_network
    from labelseg.ops.cam import resize_maps
    from labelseg.pipeline.instances import run_command

    inputs.demand_background()
    if params.guard != "off" and params.crf and params.crf_unary == "scores":
        raise UsageError(
            f"{inputs.instance}: the guard mends the mask, but the CRF was to start from the scores. Let it start from the mask: "
            f"{run_command(inputs.instance)} --crf-unary labels"
        )
    is_learned = params.affinity_kind == "learned"
    net = for_inference(load_network(inputs.model("affinity"), "affinity-net|boundary-net")) if is_learned else None
    start = start_of(params, net)
    if start == "irn" != start_of(replace(params, start=AUTO), net):
        raise UsageError(
            f"{inputs.instance}: start irn damps maps at boundaries, which {params.affinity if is_learned else params.affinity_kind} does "
            "not give. Train a model that does: labelseg train-affinity --kind irn, or let the model decide: "
            f"{run_command(inputs.instance)} --start auto"
        )
    params = replace(params, start=start)
    walker = Walker(params, net, inputs.device)

    def compute(item: Item) -> dict[str, np.ndarray]:
        image, cam = item.image(), item.read("cam")
        size = image.shape[:2]
        class_ids = np.concatenate([[0], cam["class_ids"]]).astype(np.int16)
        features = Features.of(item.read("features")) if params.affinity_kind == "features" else None
        maps = walker.maps(image, cam["scores"], params.alpha, features)
        guard = item.read("guard_masks")["mask"] if params.guard != "off" else None
        mask = walked_mask(params, image, maps, class_ids, guard, inputs.device)
        stored = resize_maps(walked_classes(params, maps, len(cam["class_ids"])), (-(-size[0] // 4), -(-size[1] // 4)))
        return {"scores": stored.astype(np.float16), "class_ids": cam["class_ids"], "size": np.array(size, np.int32), "mask": mask}

    return compute


STAGE = Stage(name="propagate", version=3, kind="map", params=Params, run=run, uses=lambda params: ("image",), has_masks=True)
