"""Processes that train one network together, each on a device of its own: every batch is shared out, and gradients are summed.

The process that was asked to train is rank 0, which keeps checkpoints, curves and scores; it forks the others. Nothing of a training
has to be picklable for that, but nothing may have used a GPU before.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from labelseg.errors import LabelsegError, UsageError
from labelseg.pipeline.engines.processes import end_with_the_caller
from labelseg.pipeline.files.mishaps import one_line

PATIENCE = timedelta(hours=6)  # the others wait while rank 0 evaluates
ANSWER_SECONDS = 20
Key = TypeVar("Key")


class Ranks(Protocol):
    """The processes of a training, seen from one of them."""

    rank: int
    size: int

    def sums(self, values: Mapping[str, float]) -> dict[str, float]:
        """Add up numbers over all ranks."""
        ...

    def sum_gradients(self, module: nn.Module) -> None:
        """Add up gradients over all ranks, in place."""
        ...

    def agree(self, decision: bool) -> bool:
        """Take over what rank 0 decides."""
        ...


class Alone:
    """A training in one process."""

    rank, size = 0, 1

    def sums(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return the numbers as they are: there is nobody to add to."""
        return dict(values)

    def sum_gradients(self, module: nn.Module) -> None:
        """Do nothing: the gradients of one process are the sum."""

    def agree(self, decision: bool) -> bool:
        """Return the decision: it is the only one."""
        return decision


class Group:
    """One of several processes; all make the same calls in the same order."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size

    def sums(self, values: Mapping[str, float]) -> dict[str, float]:
        """Add up numbers over all ranks, in float64; all ranks get the sums."""
        total = torch.tensor([values[name] for name in sorted(values)], dtype=torch.float64)
        dist.all_reduce(total)
        return {name: float(total[k]) for k, name in enumerate(sorted(values))}

    def sum_gradients(self, module: nn.Module) -> None:
        """Add up gradients over all ranks, in place; shapes stay. One that a rank lacks counts as zeros."""
        parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        # A parameter without gradient on all ranks stays so: an optimiser leaves it alone.
        has = torch.tensor([parameter.grad is not None for parameter in parameters], dtype=torch.uint8)
        dist.all_reduce(has, dist.ReduceOp.MAX)
        used = [parameter for parameter, anywhere in zip(parameters, has.tolist(), strict=True) if anywhere]
        for parameter in used:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients: list[Tensor] = [parameter.grad for parameter in used if parameter.grad is not None]
        if not gradients:
            return
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(flat)
        for gradient, summed in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
            gradient.copy_(summed.view_as(gradient))

    def agree(self, decision: bool) -> bool:
        """Return what rank 0 decides."""
        said = torch.tensor([decision], dtype=torch.uint8)
        dist.broadcast(said, src=0)
        return bool(said.item())


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


def my_share(keys: Sequence[Key], ranks: Ranks) -> Sequence[Key]:
    """Pick the samples of a batch that this rank computes: every ``size``-th."""
    return keys[ranks.rank :: ranks.size]


@contextmanager
def together(size: int, work: Callable[[Ranks, int], Any], kind: str) -> Iterator[Ranks]:
    """Fork the other ranks, which do ``work``, and join them as rank 0.

    Args:
        size: Number of processes, this one included.
        work: Takes ranks and rank; makes the same calls as the body of ``with``.
        kind: ``cpu`` or ``cuda``.

    Raises:
        UsageError: This process has used a GPU before, which forked ones could not.
        LabelsegError: One of the others failed; the message is its.
    """
    if sys.platform == "win32" or (kind == "cuda" and torch.cuda.is_initialized()):
        raise UsageError(
            "a training on several devices has to begin before anything else uses a GPU, and on Linux or macOS. "
            "What is finished stays: run the same command again."
        )
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as folder:
        meeting = Path(folder) / "ranks"
        pipes, others = [], []
        for rank in range(1, size):
            receiver, sender = context.Pipe(duplex=False)
            other = context.Process(target=_other, args=(work, rank, size, kind, meeting, sender))
            other.start()
            sender.close()
            pipes.append(receiver)
            others.append(other)
        try:
            yield _join(0, size, kind, meeting)
        except RuntimeError as error:  # how torch reports that another rank is gone
            messages = list(filter(None, map(_message, pipes)))
            raise (LabelsegError(messages[0]) if messages else error) from error
        else:
            for message in filter(None, map(_message, pipes)):
                raise LabelsegError(message)
        finally:
            if dist.is_initialized():
                dist.destroy_process_group()
            for other in others:
                other.join(1)
                if other.is_alive():
                    other.kill()
                    other.join()


def _message(pipe: Connection) -> str:
    """Read why another rank failed; empty if it ended well, or by force."""
    try:
        return str(pipe.recv()) if pipe.poll(ANSWER_SECONDS) else "training: one of the processes does not end."
    except (EOFError, OSError):
        return ""


def _join(rank: int, size: int, kind: str, meeting: Path) -> Group:
    """Meet the others."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    backend = "cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=f"file://{meeting}", rank=rank, world_size=size, timeout=PATIENCE)
    return Group(rank, size)


def _other(work: Callable[[Ranks, int], Any], rank: int, size: int, kind: str, meeting: Path, sender: Connection) -> None:
    """Be one of the other ranks."""
    end_with_the_caller()
    torch.set_num_threads(1)  # threads do not outlive a fork, and waiting for them would never end
    try:
        work(_join(rank, size, kind, meeting), rank)
        dist.destroy_process_group()
    except KeyboardInterrupt:
        pass
    except Exception as error:
        sender.send(f"training, process {rank + 1} of {size}: {one_line(error)}")
