"""Stage ``refine``: the dense CRF on class activation maps, with little and with much background."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labelseg.methods.crf_params import CrfParams, has_updates
from labelseg.pipeline.declare.stage import Stage, like, option, source

if TYPE_CHECKING:
    from labelseg.pipeline.engines.inputs import Inputs, Item


def _stops_early(params: Params) -> bool:
    return has_updates(params) and params.crf_backend == "native"


def _smooths(params: Params) -> bool:
    return has_updates(params) and params.crf_smooth_weight > 0


@dataclass(frozen=True, kw_only=True)
class Readings:
    """What is refined, and how much background each reading has."""

    cam: str = source("cam", help="Instance that provides the class activation maps.", kind="map")
    alpha_low: float = option(
        4.0, help="Background exponent of the reading with much background, whose foreground is trusted.", minimum=0.0
    )
    alpha_high: float = option(
        32.0, help="Background exponent of the reading with little background, whose background is trusted.", minimum=0.0
    )
    alpha: float = option(16.0, help="Background exponent of the mask that is written and evaluated.", minimum=0.0)


@dataclass(frozen=True, kw_only=True)
class Params(CrfParams, Readings):
    """Parameters of ``refine``."""

    crf_iters: int = like(CrfParams, "crf_iters", effective=None, formerly="iters")
    crf_sxy: float = like(CrfParams, "crf_sxy", default=80.0)
    crf_srgb: float = like(CrfParams, "crf_srgb", default=13.0)
    crf_weight: float = like(CrfParams, "crf_weight", default=10.0)
    crf_backend: str = like(CrfParams, "crf_backend", effective=None, formerly="backend")
    crf_smooth_sxy: float = option(
        3.0, help="Spatial deviation of the CRF's smoothness kernel, pixels.", minimum=0.01, effective=_smooths, formerly="smooth_sxy"
    )
    crf_smooth_weight: float = option(
        3.0, help="Weight of the CRF's smoothness kernel.", minimum=0.0, effective=has_updates, formerly="smooth_weight"
    )
    crf_tolerance: float = option(
        0.0,
        help="Stop the CRF once its largest change times the iterations left is at most this; 0 does all (crf-backend native).",
        minimum=0.0,
        maximum=0.1,
        effective=_stops_early,
        formerly="tolerance",
    )
    psa_compat: bool = option(False, help="Average border blocks with zero padding, as the published code does.")


def run(inputs: Inputs, params: Params) -> Callable[[Item], dict[str, Any]]:
    """Sharpen class activation maps along the colours of the image by a dense CRF.

    Returns:
        The function that computes an item: ``low`` and ``high`` float16 (C + 1, h8, w8), probabilities averaged over 8 x 8 pixels,
        under a strong and a weak background; ``class_ids`` int16 (C + 1,), 0 first; ``mask`` uint8 (H, W), class ids.

    Source: Ahn & Kwak 2018; affinitynet.md.
    """
    import numpy as np

    from labelseg.ops.affinity.grid import block_mean
    from labelseg.ops.cam import resize_maps, score_mask, with_background
    from labelseg.ops.crf.dense_crf import Bilateral, Gaussian, dense_crf_pair

    inputs.demand_background()
    gaussian = Gaussian(params.crf_smooth_sxy, params.crf_smooth_weight)
    bilateral = Bilateral(params.crf_sxy, params.crf_srgb, params.crf_weight)
    alphas = sorted({params.alpha_low, params.alpha_high, params.alpha})

    def compute(item: Item) -> dict[str, np.ndarray]:
        image, cam = item.image(), item.read("cam")
        scores = resize_maps(cam["scores"], image.shape[:2])
        stacks = [with_background(scores, alpha) for alpha in alphas]
        refined = dense_crf_pair(
            image,
            stacks,
            iterations=params.crf_iters,
            gaussian=gaussian,
            bilateral=bilateral,
            backend=params.crf_backend,
            tolerance=params.crf_tolerance,
            device=inputs.device,
        )
        marginals = dict(zip(alphas, refined, strict=True))
        class_ids = np.concatenate([[0], cam["class_ids"]]).astype(np.int16)

        def on_grid(alpha: float) -> np.ndarray:
            return block_mean(marginals[alpha], 8, count_padding=params.psa_compat).astype(np.float16)

        return {
            "low": on_grid(params.alpha_low),
            "high": on_grid(params.alpha_high),
            "class_ids": class_ids,
            "mask": score_mask(marginals[params.alpha], class_ids),
        }

    return compute


STAGE = Stage(name="refine", version=2, kind="map", params=Params, run=run, uses=lambda params: ("image",), has_masks=True)
