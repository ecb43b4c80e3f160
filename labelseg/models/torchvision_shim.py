"""Imports torchvision, also where its compiled operators do not fit the installed torch; nothing else imports it directly."""

from __future__ import annotations

import torch

try:
    import torchvision
except RuntimeError as error:
    if "torchvision::nms" not in str(error):
        raise
    # The wheel on PyPI is linked to CUDA torch; beside a CPU torch its operators do not load and registering their
    # shapes fails. Networks and weights need none of them, so declaring the two schemas is enough. The library must
    # stay referenced: the declarations vanish with it.
    _operators = torch.library.Library("torchvision", "FRAGMENT")
    _operators.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _operators.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision

import torchvision.models

__all__ = ["torchvision"]
