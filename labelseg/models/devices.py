"""Which devices there are to compute on, and what they are slow at."""

from __future__ import annotations

import torch

from labelseg.errors import UsageError


def demand_device(name: str) -> None:
    """Refuse a device that is not there.

    Args:
        name: ``cpu``, ``cuda``, ``cuda:1``, ``mps``.

    Raises:
        UsageError: With the kinds that are there.
    """
    kind, _, index = name.partition(":")
    if index and not index.isdecimal():
        raise UsageError(f"device {name}: expected a number after the colon, such as cuda:1.")
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available.get(kind, False):
        usable = ", ".join(known for known, works in available.items() if works)
        raise UsageError(f"device {name}: not available here; usable: {usable}. Use --device cpu.")
    if kind == "cuda" and index and int(index) >= (count := torch.cuda.device_count()):
        raise UsageError(f"device {name}: the last of {count} here is cuda:{count - 1}. Use --device cuda:0.")


def emulates_bfloat16(name: str) -> bool:
    """Whether a device computes bfloat16 by way of float32, which is some ten times slower than float32 itself.

    Args:
        name: As of ``demand_device``; GPUs are held able.
    """
    return name == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported()
