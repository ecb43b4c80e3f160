"""What an update of a training costs whose BatchNorm is fixed: layers computed at once, against the same layers one after another.

Forward and backward of MobileNetV2 at output stride 16 on a batch of 16 images of 320 x 320, the first four blocks frozen, as the
classifier of photos is trained; one thread, seconds of its processor. Floor: 9.5e10 operations of convolutions, .1 s in bfloat16 on a
core with AMX (1e12 a second) and .6 s in float32; the rest is reading and writing maps. Likewise, for inference, its last tap of a photo
at four scales and mirrored.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.timing import against
from labelseg.inference.predictor import Predictor
from labelseg.models.encoders.base import Backbone
from labelseg.models.encoders.registry import build_backbone
from labelseg.models.fast.fixed_norm import FoldingSequential
from labelseg.models.fast.inference_form import for_inference

BATCH, SIDE = 16, 320
PHOTO, SCALES = (240, 320, 3), (0.5, 1.0, 1.5, 2.0)


def backbone(joined: bool) -> Backbone:
    """Build the backbone as trainings have it, or with plain sequences of layers in it."""
    torch.manual_seed(0)
    net = build_backbone("mobilenet_v2", 16)
    if not joined:
        separate(net)
    return net.freeze_blocks(4).freeze_batchnorm().train().to(memory_format=torch.channels_last)


def separate(root: nn.Module) -> None:
    """Turn every sequence below a module that computes layers at once into one that does not."""
    for name, child in list(root.named_children()):
        separate(child)
        if isinstance(child, FoldingSequential):
            setattr(root, name, nn.Sequential(OrderedDict(child.named_children())))


def update(net: Backbone, images: torch.Tensor, precision: torch.dtype) -> None:
    """Compute the gradients of a sum over the last tap (B, 1280, h, w) of images (B, 3, H, W)."""
    net.zero_grad()
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        last = net(images)[-1]
    last.float().square().mean().backward()


def maps(net: Backbone, precision: str, image: NDArray[np.uint8]) -> None:
    """Compute the last tap of an image (H, W, 3) at every scale, mirrored and not."""
    Predictor(net, "cpu", precision, forward=lambda x: net(x)[-1]).multi_scale(image, SCALES, flip=True)


def run(quick: bool) -> list[dict[str, Any]]:
    """Time both in either precision."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    images = torch.randn(BATCH, 3, SIDE, SIDE).contiguous(memory_format=torch.channels_last)
    nets = [backbone(joined) for joined in (True, False)]
    rows, rounds = [], 1 if quick else 5
    for name, precision in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        ours, theirs = (partial(update, net, images, precision) for net in nets)
        rows.append(against(f"an update in {name}", ours, "layers one after another", theirs, rounds=rounds, clock=time.process_time))
    image = np.random.default_rng(0).integers(0, 256, PHOTO, np.uint8)
    nets = [for_inference(net) for net in nets]
    for precision_name in ("32-true", "bf16-mixed"):
        ours, theirs = (partial(maps, net, precision_name, image) for net in nets)
        name = f"a photo at four scales, {precision_name}"
        rows.append(against(name, ours, "layers one after another", theirs, rounds=rounds, clock=time.process_time))
    torch.set_num_threads(threads)
    return rows
