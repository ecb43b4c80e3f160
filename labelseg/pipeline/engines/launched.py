"""Where a process stands among those that a launcher such as torchrun started together."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from labelseg.errors import UsageError


@dataclass(frozen=True)
class Place:
    """The place of a process.

    Attributes:
        rank, size: Among all processes, on whatever machine.
        local_rank, local_size: Among those of this machine.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int

    @property
    def variables(self) -> dict[str, str]:
        """What a launcher sets to tell a process its place."""
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        return dict(zip(names, map(str, (self.rank, self.size, self.local_rank, self.local_size)), strict=True))


def launched(environ: Mapping[str, str] = os.environ) -> Place | None:
    """Read the place of this process from what a launcher has set; None where it is the only one.

    ``RANK`` and ``WORLD_SIZE`` alone say nothing: some clusters set them in every container.

    Raises:
        UsageError: something is missing, or is no number that can be.
    """
    if not {"RANK", "WORLD_SIZE", "LOCAL_RANK"} <= environ.keys() or environ["WORLD_SIZE"] == "1":
        return None
    for name in ("LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        if not environ.get(name):
            raise UsageError(
                f"{name} is not set, but RANK, LOCAL_RANK and WORLD_SIZE are. Have them all set by torchrun, or unset them all."
            )
    numbers = Place(0, 0, 0, 0).variables
    try:
        rank, size, local_rank, local_size = (int(environ[name]) for name in numbers)
        is_possible = 0 <= local_rank < local_size <= size and local_rank <= rank < size and size % local_size == 0
    except ValueError:
        is_possible = False
    if not is_possible:
        found = ", ".join(f"{name}={environ[name]}" for name in numbers)
        raise UsageError(
            f"{found}: expected ranks below their sizes, and equally many processes on each machine. Start them with torchrun."
        )
    return Place(rank, size, local_rank, local_size)
