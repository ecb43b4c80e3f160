"""The target that a class-incremental step would train its segmenter with, for a whole image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from labelseg.data.augment.transforms import normalize
from labelseg.models.localizer import StepNetwork
from labelseg.ops.new_classes.wilson_step import StepSettings, make_targets


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
    # Only the localizer uses the refined scores.
    targets = make_targets(outputs.localizer_eval, outputs.old_logits, inputs, known, replace(settings, refine=False))
    return targets.target[0].cpu().numpy()
