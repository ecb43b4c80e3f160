"""How to run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from labelseg.pipeline.files.locks import WAIT_SECONDS
from labelseg.pipeline.run.report import NodeResult


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How to run; none of this enters a key.

    Attributes:
        until: Stop at this instance, which must be among what the target reads.
        from_: Start at this instance; what comes before is used as it is.
        force: Instances to compute again even if they are there.
        retrain: Train outdated models again.
        dry_run: Only plan: list what would be done; nothing on disk changes.
        only: Run the target alone; refuse where something it reads is not fresh.
        keep_going: When a stage fails, go on with what does not read it.
        create: The target may be a new instance, whose table is made.
        tag: Publish under this tag and leave the main refs and the configuration file as they are.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``.
        workers: Processes of map stages; 0 works in this process, None chooses.
        on_event: Called with ``start`` when work on a node begins and ``done`` when a node is done.
        purpose: What the lock is held for, told to others who want it.
        wait: Seconds to wait for another process that works in the workspace; 0 raises ``LockedError`` at once.
    """

    until: str | None = None
    from_: str | None = None
    force: frozenset[str] = frozenset()
    retrain: bool = False
    dry_run: bool = False
    only: bool = False
    keep_going: bool = False
    create: bool = False
    tag: str | None = None
    device: str = "auto"
    workers: int | None = None
    on_event: Callable[[Literal["start", "done"], NodeResult], None] | None = None
    purpose: str = "labelseg run"
    wait: float = WAIT_SECONDS
