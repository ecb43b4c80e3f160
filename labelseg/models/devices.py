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


def split_devices(name: str) -> tuple[str, ...]:
    """Read a list of devices: ``cuda:0,1`` is ``cuda:0`` and ``cuda:1``; ``cpu,cpu`` is two processes on the CPU.

    Raises:
        UsageError: Devices of several kinds, or one GPU twice.
    """
    names: list[str] = []
    for part in filter(None, (part.strip() for part in name.split(","))):
        names.append(f"{names[0].partition(':')[0]}:{part}" if part.isdecimal() and names else part)
    kinds = {device.partition(":")[0] for device in names}
    if len(kinds) != 1 or (kinds != {"cpu"} and len(set(names)) < len(names)):
        raise UsageError(f"--device {name}: expected one device, or several of one kind such as cuda:0,1; each GPU once.")
    return tuple(names)


def own_device(name: str, rank: int, size: int) -> str:
    """Choose the device of one of several processes on this machine: ``cuda`` is as many GPUs as there are processes, a list is for each.

    Args:
        name: As of ``split_devices``.
        rank: Of the process, below ``size``.
        size: Processes on this machine.

    Raises:
        UsageError: There are fewer devices than processes, or more.
    """
    names = split_devices(name)
    if names == ("cpu",) or (size == 1 and len(names) == 1):
        return names[0]
    if names == ("cuda",):
        return f"cuda:{rank}"
    if len(names) != size:
        raise UsageError(f"--device {name}: expected cpu, cuda, or a device for each of the {size} processes of this machine.")
    return names[rank]


def emulates_bfloat16(name: str) -> bool:
    """Whether a device computes bfloat16 by way of float32, which is some ten times slower than float32 itself.

    Args:
        name: As of ``demand_device``; GPUs are held able.
    """
    return name == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported()
