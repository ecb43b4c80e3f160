"""Run a network on one image at several scales, mirrored and not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from labelseg.data.transforms import normalize
from labelseg.errors import UsageError
from labelseg.models.affinity_net import AffinityNet, BoundaryNet
from labelseg.models.localizer import StepNetwork
from labelseg.ops.affinity import block_mean, pair_affinities
from labelseg.ops.cam import resize_maps, scaled_size
from labelseg.ops.pairs import Offset, pair_validity
from labelseg.ops.wilson_step import StepSettings, make_targets


class Predictor:
    """A network in evaluation mode on a device, called on single images.

    One forward holds one image and its mirror, so what comes out does not depend on neighbours in a batch.

    Args:
        net: Network; moved to the device.
        device: Torch device name.
        precision: ``32-true``, or ``bf16-mixed`` for bfloat16 convolutions.
        forward: What to call; the network itself by default.
    """

    def __init__(self, net: nn.Module, device: str, precision: str = "32-true", forward: Callable[[Tensor], Tensor] | None = None) -> None:
        self.device = torch.device(device)
        self.net = net.to(self.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.forward = forward or net
        self.mixed = precision == "bf16-mixed"

    @torch.inference_mode()
    def views(self, image: NDArray[np.uint8], scale: float = 1.0, flip: bool = False) -> NDArray[np.float32]:
        """Run the network on the image at one scale.

        Args:
            image: (H, W, 3) uint8 RGB.
            scale: Factor of both sides; bicubic, rounded half to even.
            flip: Add a second row for the mirrored image, mirrored back.

        Returns:
            (1 or 2, K, h, w) float32 maps, or (1 or 2, K) for a network without maps.
        """
        inputs = torch.from_numpy(normalize(resize_image(image, scale)))[None]
        if flip:
            inputs = torch.cat([inputs, inputs.flip(-1)])
        inputs = inputs.to(self.device).contiguous(memory_format=torch.channels_last)
        with self._autocast():
            outputs = self.forward(inputs).float()
        if flip and outputs.ndim == 4:
            outputs = torch.stack([outputs[0], outputs[1].flip(-1)])
        return outputs.cpu().numpy()

    def multi_scale(self, image: NDArray[np.uint8], scales: Sequence[float], flip: bool) -> list[NDArray[np.float32]]:
        """Run ``views`` at each scale."""
        return [self.views(image, scale, flip) for scale in scales]

    def _autocast(self) -> AbstractContextManager[object]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed)


def resize_image(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """Resize (H, W, 3) by a factor, bicubic; a factor of 1 gives the image itself."""
    if scale == 1:
        return image
    height, width = scaled_size(image.shape[:2], scale)
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


Affinities = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def affinity_function(
    kind: str,
    net: AffinityNet | BoundaryNet | None,
    offsets: Sequence[Offset],
    *,
    device: str,
    precision: str = "32-true",
    flip: bool = False,
    colour_range: float = 20.0,
) -> tuple[Affinities, int]:
    """Choose where the affinities of a walk come from.

    Args:
        kind: ``learned`` asks the network; ``colour`` compares the mean colours of cells; ``constant`` links all pairs alike.
        net: AffinityNet or BoundaryNet; unused unless learned.
        offsets: (dy, dx) of the partners.
        flip: Take the geometric mean with the affinities of the mirrored image.
        colour_range: Mean absolute difference, in grey levels, at which colour affinity is 1/e.

    Returns:
        A function from (H, W, 3) uint8 to (n_offsets, h, w) float32 affinities, and the stride of its grid.
    """
    if kind == "constant":
        return lambda image: pair_validity(grid_size(image, 8), offsets).astype(np.float32), 8
    if kind == "colour":
        return lambda image: colour_affinities(image, offsets, colour_range), 8
    if net is None:
        raise UsageError("learned affinities: expected an affinity model, got none. Name one: labelseg propagate --affinity train-affinity")
    network, predictor = net, Predictor(net, device, precision)

    def learned(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        return network.view_affinities(torch.from_numpy(predictor.views(image, flip=flip)), offsets).numpy()

    return learned, network.stride


def colour_affinities(image: NDArray[np.uint8], offsets: Sequence[Offset], colour_range: float) -> NDArray[np.float32]:
    """Compare the mean colours of stride-8 cells: ``exp(-mean |difference| / colour_range)``; (n_offsets, h, w)."""
    cells = block_mean(image.transpose(2, 0, 1).astype(np.float32), 8) / np.float32(colour_range)
    return pair_affinities(torch.from_numpy(cells)[None], offsets)[0].numpy()


def grid_size(image: NDArray[np.uint8], stride: int) -> tuple[int, int]:
    """Count the cells of an image's grid."""
    return -(-image.shape[0] // stride), -(-image.shape[1] // stride)


def class_probabilities(predictor: Predictor, image: NDArray[np.uint8], scales: Sequence[float], flip: bool) -> NDArray[np.float32]:
    """Average a segmenter's class probabilities over scales and mirrors; (K, H, W), they sum to 1."""
    size = image.shape[:2]
    total = np.zeros(0, np.float32)
    for logits in predictor.multi_scale(image, scales, flip):
        probabilities = torch.from_numpy(logits).softmax(dim=1).mean(dim=0).numpy()
        resized = resize_maps(probabilities, size)
        total = total + resized if total.size else resized
    return total / np.float32(len(scales))


@torch.inference_mode()
def step_targets(
    net: StepNetwork, image: NDArray[np.uint8], labels: NDArray[np.float32], settings: StepSettings, device: str, precision: str = "32-true"
) -> NDArray[np.float32]:
    """Compose the target of a class-incremental step for a whole image.

    Args:
        net: The networks of the step; moved to the device.
        image: (H, W, 3) uint8 RGB.
        labels: (T - 1,) image labels in the order of channels.
        settings: How the target is put together.

    Returns:
        (T, h, w) float32 in [0, 1], at the size of the features.
    """
    net.to(device).eval()
    net.old.to(device)
    inputs = torch.from_numpy(normalize(image))[None].to(device)
    with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision == "bf16-mixed"):
        outputs = net(inputs)
    assert outputs.localizer_eval is not None  # only a warm-up has none
    known = torch.from_numpy(labels)[None].to(device)
    # The refined scores serve the localizer alone.
    targets = make_targets(outputs.localizer_eval, outputs.old_logits, inputs, known, replace(settings, refine=False))
    return targets.target[0].cpu().numpy()


def tag_probabilities(predictor: Predictor, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Compute a classifier's probability of each class for one image and its mirror, averaged; (K,)."""
    return torch.from_numpy(predictor.views(image, flip=True)).sigmoid().mean(dim=0).numpy()
