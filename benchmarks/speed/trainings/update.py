"""What an update of a training costs whose BatchNorm is fixed: layers computed at once, against the same layers one after another.

Forward and backward of MobileNetV2 at output stride 16 on a batch of 16 images of 320 x 320, the first four blocks frozen, as the
classifier of photos is trained; one thread, seconds of its processor. Floor: 9.5e10 operations of convolutions, .1 s in bfloat16 on a
core with AMX (1e12 a second) and .6 s in float32; the rest is reading and writing maps.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from functools import partial
from typing import Any

import torch
from torch import nn

from benchmarks.timing import against
from labelseg.models.encoders.base import Backbone
from labelseg.models.encoders.registry import build_backbone
from labelseg.models.fast.fixed_norm import FoldingSequential

BATCH, SIDE = 16, 320


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


def run(quick: bool) -> list[dict[str, Any]]:
    """Time both in either precision."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    images = torch.randn(BATCH, 3, SIDE, SIDE).contiguous(memory_format=torch.channels_last)
    nets = [backbone(joined) for joined in (True, False)]
    rows = []
    for name, precision in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        ours, theirs = (partial(update, net, images, precision) for net in nets)
        rounds = 1 if quick else 5
        rows.append(against(f"an update in {name}", ours, "layers one after another", theirs, rounds=rounds, clock=time.process_time))
    torch.set_num_threads(threads)
    return rows
