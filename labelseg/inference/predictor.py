"""Run a network on one image at several scales, mirrored and not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from labelseg.data.augment.transforms import normalize
from labelseg.ops.cam import resize_maps, scaled_size


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
        """Run ``views`` on the image (H, W, 3) at each scale; (1 or 2, K, h, w) float32 each, of different sizes."""
        return [self.views(image, scale, flip) for scale in scales]

    def _autocast(self) -> AbstractContextManager[object]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed)


def resize_image(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """Resize (H, W, 3) by a factor, bicubic; a factor of 1 gives the image itself."""
    if scale == 1:
        return image
    height, width = scaled_size(image.shape[:2], scale)
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


def class_probabilities(predictor: Predictor, image: NDArray[np.uint8], scales: Sequence[float], flip: bool) -> NDArray[np.float32]:
    """Average a segmenter's class probabilities over scales and mirrors; (K, H, W), they sum to 1."""
    size = image.shape[:2]
    total = np.zeros(0, np.float32)
    for logits in predictor.multi_scale(image, scales, flip):
        probabilities = torch.from_numpy(logits).softmax(dim=1).mean(dim=0).numpy()
        resized = resize_maps(probabilities, size)
        total = total + resized if total.size else resized
    return total / np.float32(len(scales))


def tag_probabilities(predictor: Predictor, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Compute a classifier's probability of each class for one image and its mirror, averaged; (K,)."""
    return torch.from_numpy(predictor.views(image, flip=True)).sigmoid().mean(dim=0).numpy()
