"""Semantic segmentation networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch.nn.functional as F
from torch import Tensor, nn

from labelseg.errors import UsageError
from labelseg.models.encoders.base import Backbone
from labelseg.models.heads.atrous import AtrousHead
from labelseg.models.heads.deeplabv2 import SummedPyramidHead
from labelseg.models.heads.deeplabv3 import DeepLabV3Head, dilations
from labelseg.models.heads.deeplabv3plus import DeepLabV3PlusHead, Norm
from labelseg.models.heads.dpt import DptHead
from labelseg.models.heads.unimatch_head import UniMatchHead

Head = Literal["atrous", "deeplabv2", "deeplabv3plus", "deeplabv3", "unimatch", "dpt"]
# Where the convolution that makes logits is called otherwise than ``head.classify``.
LAST_LAYERS: dict[str, str] = {"unimatch": "head.classifier", "deeplabv2": "", "dpt": "head.scratch.output_conv.2"}
Perturb = Callable[[list[Tensor]], list[Tensor]]


class Segmenter(nn.Module):
    """A backbone, a head, and logits enlarged to the size of the image.

    Args:
        backbone: Its last tap is read, by ``deeplabv3plus`` also its stride-4 tap.
        n_classes: Number of classes, background included where the data has one.
        head: ``atrous``: two 3x3 convolutions of rate 12 (psa.md 1.10); ``deeplabv2``: four summed ones; ``deeplabv3plus``: Chen et al.
            2018; ``deeplabv3``: without the stride-4 tap, of class-incremental steps; ``unimatch``: DeepLabV3+ as in the published
            checkpoints of UniMatch; ``dpt``: all four taps of a plain vision transformer, as in those of UniMatch V2.
        width: Channels inside of the latter four of these.
        norm: Normalisation of ``deeplabv3plus`` and ``deeplabv3``; ``group`` does not care about the batch size.
        separable: Depthwise-separable 3x3 convolutions there: several times cheaper.
        pool: As in ``DeepLabV3Head``.

    Attributes:
        align_corners: Whether corner cells of logits and image coincide when logits are enlarged.
        last_layer: Name of the convolution that makes logits; it has an output channel for each class. Empty for ``deeplabv2``, which has
            four of them.
    """

    def __init__(
        self,
        backbone: Backbone,
        n_classes: int,
        head: Head = "deeplabv3plus",
        width: int = 256,
        norm: Norm = "group",
        separable: bool = False,
        pool: int = 0,
    ) -> None:
        super().__init__()
        self.settings = {"n_classes": n_classes, "head": head, "width": width, "norm": norm, "separable": separable}
        if pool:
            self.settings["pool"] = pool
        self.align_corners = head in ("unimatch", "deeplabv2", "dpt")
        self.last_layer = LAST_LAYERS.get(head, "head.classify")
        self.backbone = backbone
        self.head: nn.Module
        if head == "atrous":
            self.head = AtrousHead(backbone.channels[-1], n_classes)
        elif head == "deeplabv2":
            self.head = SummedPyramidHead(backbone.channels[-1], n_classes)
        elif head == "deeplabv3":
            rates = dilations(backbone.output_stride)
            self.head = DeepLabV3Head(backbone.channels[-1], n_classes, rates, width, norm, separable, pool)
        elif head == "deeplabv3plus":
            rates = tuple(rate * 16 // backbone.output_stride for rate in (6, 12, 18))
            self.head = DeepLabV3PlusHead(backbone.channels[0], backbone.channels[-1], n_classes, rates, width, norm, separable)
        elif head == "unimatch":
            rates = tuple(rate * 16 // backbone.output_stride for rate in (6, 12, 18))
            self.head = UniMatchHead(backbone.channels[0], backbone.channels[-1], n_classes, rates, width)
        elif head == "dpt":
            if not backbone.patch:
                raise UsageError(
                    f"head dpt reads the tokens of a plain vision transformer, and {backbone.name} is none. "
                    "Name one, such as --backbone timm:vit_small_patch14_dinov2, or another head: --head deeplabv3plus"
                )
            self.head = DptHead(backbone.channels[-1], n_classes, width)
        else:
            raise UsageError(f"head of the segmenter: expected one of {', '.join(get_args(Head))}, got {head!r}.")

    def forward(self, x: Tensor, perturb: Perturb | None = None) -> Tensor:
        """Compute logits (B, K, H, W) of normalised images (B, 3, H, W).

        Args:
            x: The images.
            perturb: What is done to the taps before the head sees them; it may return more images than it was given.
        """
        taps = self.backbone(x)
        logits = self.head(taps if perturb is None else perturb(taps)).float()  # bfloat16 would round neighbours to equal values
        return F.interpolate(logits, size=x.shape[2:], mode="bilinear", align_corners=self.align_corners)
