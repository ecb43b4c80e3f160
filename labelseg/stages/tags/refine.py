"""Stage ``refine``: the dense CRF on class activation maps, with little and with much background."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labelseg.pipeline.declare.stage import Stage, option, source

if TYPE_CHECKING:
    from labelseg.pipeline.engines.inputs import Inputs, Item


@dataclass(frozen=True, kw_only=True)
class Params:
    """Parameters of ``refine``."""

    cam: str = source("cam", help="Instance that provides the class activation maps.", kind="map")
    alpha_low: float = option(
        4.0, help="Background exponent of the reading with much background, whose foreground is trusted.", minimum=0.0
    )
    alpha_high: float = option(
        32.0, help="Background exponent of the reading with little background, whose background is trusted.", minimum=0.0
    )
    alpha: float = option(16.0, help="Background exponent of the mask that is written and evaluated.", minimum=0.0)
    iters: int = option(10, help="Mean-field iterations.", minimum=0)
    sxy: float = option(80.0, help="Spatial deviation of the appearance kernel, pixels.", minimum=0.01)
    srgb: float = option(13.0, help="Colour deviation of the appearance kernel, grey levels.", minimum=0.01)
    weight: float = option(10.0, help="Weight of the appearance kernel.", minimum=0.0)
    smooth_sxy: float = option(3.0, help="Spatial deviation of the smoothness kernel, pixels.", minimum=0.01)
    smooth_weight: float = option(3.0, help="Weight of the smoothness kernel.", minimum=0.0)
    backend: str = option("native", help="Implementation of the dense CRF; pydensecrf is an extra.", choices=("native", "pydensecrf"))
    tolerance: float = option(
        0.0,
        help="Stop the CRF once its largest change times the iterations left is at most this; 0 does all (backend native).",
        minimum=0.0,
        maximum=0.1,
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
    gaussian = Gaussian(params.smooth_sxy, params.smooth_weight)
    bilateral = Bilateral(params.sxy, params.srgb, params.weight)
    alphas = sorted({params.alpha_low, params.alpha_high, params.alpha})

    def compute(item: Item) -> dict[str, np.ndarray]:
        image, cam = item.image(), item.read("cam")
        scores = resize_maps(cam["scores"], image.shape[:2])
        stacks = [with_background(scores, alpha) for alpha in alphas]
        refined = dense_crf_pair(
            image,
            stacks,
            iterations=params.iters,
            gaussian=gaussian,
            bilateral=bilateral,
            backend=params.backend,
            tolerance=params.tolerance,
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
