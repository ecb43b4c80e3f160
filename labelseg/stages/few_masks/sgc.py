"""Stage ``sgc``: the fused labels of PseudoSeg for any split, with their parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labelseg.pipeline.declare.stage import Stage, option, source

if TYPE_CHECKING:
    from labelseg.pipeline.engines.inputs import Inputs, Item


def _predicts_tags(params: Params) -> bool:
    return params.tags == "predicted"


@dataclass(frozen=True, kw_only=True)
class Params:
    """Parameters of ``sgc``."""

    model: str = source("train-pseudoseg", help="Instance that provides the network.", kind="model")
    gamma: float = option(
        0.5,
        help="Share of the decoder in the fused label; 0 takes the spread maps alone, calibrated all the same.",
        minimum=0.0,
        maximum=1.0,
    )
    temperature: float = option(0.5, help="Temperature of the fused label; below 1 sharpens it.", minimum=0.01)
    normalize: bool = option(True, help="Bring the logits of both to one scale before they are fused.")
    norm_scope: str = option(
        "image",
        help="What that scale is taken over; no label depends on other images.",
        choices=("image", "pixel"),
        effective=lambda params: params.normalize,
    )
    threshold: float = option(0.0, help="Confidence under which a pixel of the mask is left out (255).", minimum=0.0, maximum=1.0)
    tags: str = option("predicted", help="Classes that are spread: predicted, or those of the label list.", choices=("predicted", "given"))
    tag_threshold: float = option(
        0.5, help="Probability from which a class counts as predicted.", minimum=0.0, maximum=1.0, effective=_predicts_tags
    )
    precision: str = option("32-true", help="Precision of the forward pass.", choices=("32-true", "bf16-mixed"))


def run(inputs: Inputs, params: Params) -> Callable[[Item], dict[str, Any]]:
    """Fuse what the decoder and the spread activation maps of PseudoSeg say of images: soft label, confidence and mask.

    Returns:
        The function that computes an item: ``scores`` float16 (C, h4, w4), the soft label, sums to 1; ``maps`` float16 (C, h', w') on the
        grid of the last level; ``confidence`` float16 (H, W) in [0, 1]; ``mask`` uint8 (H, W), class ids, 255 below the threshold;
        ``class_ids`` int16 (C,); ``size`` int32 (2,), height and width of the image.

    Source: Zou et al. 2021; pseudoseg.md.
    """
    import numpy as np
    import torch

    from labelseg.data.augment.transforms import normalize
    from labelseg.errors import DataError
    from labelseg.models.fast.inference_form import for_inference
    from labelseg.models.networks import load_network
    from labelseg.models.pseudoseg_net import Parts
    from labelseg.ops.few_masks.sgc import fuse, resize_bilinear
    from labelseg.pipeline.instances import run_command

    device = torch.device(inputs.device)
    net = for_inference(load_network(inputs.model("model"), "pseudoseg")).to(device)
    first_class = 1 if inputs.has_background else 0

    def tags_of(item: Item, high: torch.Tensor) -> torch.Tensor:
        """Tell the classes to spread: (1, K) in {0, 1}."""
        if params.tags == "predicted":
            return (net.tag_logits(high).sigmoid() >= params.tag_threshold).float()
        if item.tags is None:
            command = f"{run_command(inputs.instance)} --tags predicted"
            raise DataError(f"{inputs.instance} for {item.id}: expected tags, but the image is not in the label list. Run: {command}")
        held = torch.zeros(1, len(inputs.classes) - first_class, device=device)
        held[0, torch.tensor(item.tags, dtype=torch.long) - first_class] = 1
        return held

    @torch.inference_mode()
    def compute(item: Item) -> dict[str, np.ndarray]:
        image = item.image()
        size = (image.shape[0], image.shape[1])
        with torch.autocast(device.type, torch.bfloat16, enabled=params.precision == "bf16-mixed"):
            parts = net(torch.from_numpy(normalize(image))[None].to(device), "parts")
        parts = Parts(*(part.float() for part in parts))
        grid = (parts.logits.shape[2], parts.logits.shape[3])
        logits = net.sgc_logits(parts, tags_of(item, parts.high), torch.ones(1, *grid, device=device))
        fused = fuse(
            parts.logits,
            resize_bilinear(logits, grid, net.align_corners),
            gamma=params.gamma,
            temperature=params.temperature,
            normalize=params.normalize,
            scope=params.norm_scope,  # type: ignore[arg-type]
        )
        confidence, mask = resize_bilinear(fused, size, net.align_corners)[0].max(dim=0)
        left_out = (confidence < params.threshold).cpu().numpy()
        return {
            "scores": fused[0].cpu().numpy().astype(np.float16),
            "maps": logits[0].softmax(dim=0).cpu().numpy().astype(np.float16),
            "class_ids": np.arange(len(inputs.classes), dtype=np.int16),
            "size": np.array(size, dtype=np.int32),
            "confidence": confidence.cpu().numpy().astype(np.float16),
            "mask": np.where(left_out, 255, mask.cpu().numpy()).astype(np.uint8),
        }

    return compute


STAGE = Stage(
    name="sgc",
    version=2,
    kind="map",
    params=Params,
    run=run,
    uses=lambda params: ("image", "tags") if params.tags == "given" else ("image",),
    has_masks=True,
)
