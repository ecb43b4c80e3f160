"""A finished classifier trained further: as before, with the second classifier of ReCAM, and with maps held alike over two sizes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labelseg.models.classifier import Classifier
from labelseg.ops.losses import multilabel_soft_margin
from labelseg.training.samples import TaggedImage
from labelseg.workspace import Workspace

CROP, LONG_SIDE, JITTER, BATCH = 320, (288, 512), 0.3, 16
LR, HEAD_SCALE, MOMENTUM, DECAY, WARM_UP, POWER = 5e-4, 10.0, 0.9, 1e-4, 20, 0.9
SMALL = 0.6  # of the second view's sides
WEIGHT = 1.0  # of what a way adds to the classifier's own loss
EPSILON = 1e-5

ExtraLoss = Callable[[Classifier, nn.Module, Tensor, Tensor, Tensor], Tensor]


def unit_maps(maps: Tensor) -> Tensor:
    """Divide maps (B, K, h, w) >= 0 by the maximum of each."""
    return maps / (maps.amax(dim=(2, 3), keepdim=True) + EPSILON)


def nothing(net: Classifier, second: nn.Module, features: Tensor, images: Tensor, targets: Tensor) -> Tensor:
    """The control: as many more updates of the classifier's own loss."""
    return features.new_zeros(())


def recam(net: Classifier, second: nn.Module, features: Tensor, images: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy of a second classifier on features masked by the map of each class present.

    Source: Chen et al., CVPR 2022: Class Re-Activation Maps.
    """
    maps = unit_maps(net.classify(features).relu())
    images_of, classes = targets.nonzero(as_tuple=True)
    masked = (features[images_of] * maps[images_of, classes][:, None]).mean(dim=(2, 3))
    return F.cross_entropy(second(masked).float(), classes)


def two_views(net: Classifier, second: nn.Module, features: Tensor, images: Tensor, targets: Tensor) -> Tensor:
    """Mean difference between the maps of an image and those of a smaller copy, of the classes present.

    Source: Wang et al., CVPR 2020: self-supervised equivariant attention, its first term.
    """
    side = round(images.shape[-1] * SMALL / 32) * 32 + 1
    small = F.interpolate(images, (side, side), mode="bilinear", align_corners=False)
    maps = unit_maps(net.classify(features).relu())
    others = unit_maps(net.classify(net.backbone(small)[-1]).relu())
    shrunk = F.interpolate(maps, others.shape[2:], mode="bilinear", align_corners=False)
    return ((shrunk - others).abs().float() * targets[..., None, None]).sum() / (targets.sum() * others[0, 0].numel() + EPSILON)


WAYS: dict[str, ExtraLoss] = {"as before": nothing, "ReCAM": recam, "two views": two_views}


def train_further(workspace: Workspace, net: Classifier, way: str, updates: int, seed: int) -> nn.Linear:
    """Train a classifier further, in place; returns the second classifier, which only ReCAM trains.

    Args:
        workspace: Gives the training images and their tags.
        net: The finished classifier; what is frozen in it stays so.
        way: One of ``WAYS``.
        updates: Of ``BATCH`` images each.
        seed: Of samples and of the second classifier.
    """
    torch.manual_seed(seed)
    dataset = workspace.dataset
    classes = len(dataset.classes) - 1
    second = nn.Linear(net.classify.in_channels, classes, bias=False)
    make = TaggedImage(CROP, LONG_SIDE, JITTER, classes, 1)
    ids = list(dataset.ids("train"))
    rng = np.random.default_rng(seed)
    net.train()
    tuned = [parameter for parameter in net.backbone.parameters() if parameter.requires_grad]
    heads = [*net.classify.parameters(), *second.parameters()]
    optimizer = torch.optim.SGD([{"params": tuned, "scale": 1.0}, {"params": heads, "scale": HEAD_SCALE}], LR, MOMENTUM, weight_decay=DECAY)
    order: list[str] = []
    for update in range(updates):
        while len(order) < BATCH:
            order += [ids[k] for k in rng.permutation(len(ids))]
        drawn, order = order[:BATCH], order[BATCH:]
        samples = [make(_Tagged(dataset.image(name), dataset.tags(name)), rng) for name in drawn]  # type: ignore[arg-type]
        images = torch.from_numpy(np.stack([sample[0] for sample in samples])).contiguous(memory_format=torch.channels_last)
        targets = torch.from_numpy(np.stack([sample[1] for sample in samples]))
        pace = min((update + 1) / WARM_UP, 1.0) * (1 - update / updates) ** POWER
        for group in optimizer.param_groups:
            group["lr"] = LR * pace * group["scale"]
        with torch.autocast("cpu", torch.bfloat16):
            features = net.backbone(images)[-1]
            logits = net.classify(features.mean(dim=(2, 3), keepdim=True))[:, :, 0, 0]
            extra = WAYS[way](net, second, features, images, targets)
        loss = multilabel_soft_margin(logits.float(), targets) + WEIGHT * extra
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net.eval()
    return second


class _Tagged:
    """An image with tags, as samples are made of."""

    def __init__(self, image: np.ndarray, tags: tuple[int, ...] | None) -> None:
        self._image, self.tags = image, tags

    def image(self) -> np.ndarray:
        return self._image
