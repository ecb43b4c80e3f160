"""How to run."""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import Literal

from labelseg.errors import UsageError
from labelseg.pipeline.files.locks import WAIT_SECONDS
from labelseg.pipeline.instances import UNSAVED, check_tag
from labelseg.pipeline.run.report import NodeResult

ENGINES = ("local", "dask")


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
        tag: Publish under this tag and leave the main refs and the configuration file as they are. What the tag keeps of the same
            names stays: a run that would make something else of them is refused.
        replace_tag: What the tag keeps of the same names gives way. Under the tag ``unsaved``, which holds trials, it always does.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``.
        workers: Processes of map stages; 0 works in this process, None chooses.
        engine: What computes the items of maps: ``local``, or ``dask``; trainings run here.
        scheduler: Address of the Dask scheduler; None starts one with workers on this machine.
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
    replace_tag: bool = False
    device: str = "auto"
    workers: int | None = None
    engine: Literal["local", "dask"] = "local"
    scheduler: str | None = None
    on_event: Callable[[Literal["start", "done"], NodeResult], None] | None = None
    purpose: str = "labelseg run"
    wait: float = WAIT_SECONDS

    def __post_init__(self) -> None:
        if self.tag is not None:
            check_tag(self.tag)
        for name in ("retrain", "dry_run", "only", "keep_going", "create", "replace_tag"):
            self._demand(name, isinstance(getattr(self, name), bool), "True or False")
        for name in ("until", "from_"):
            self._demand(name, getattr(self, name) is None or isinstance(getattr(self, name), str), "the name of an instance, or None")
        named = isinstance(self.force, Set | tuple | list) and all(isinstance(name, str) for name in self.force)
        self._demand("force", named, "a set of names of instances")
        self._demand("device", isinstance(self.device, str), "a name such as cpu or cuda:1")
        whole = isinstance(self.workers, int) and not isinstance(self.workers, bool)
        self._demand("workers", self.workers is None or (whole and self.workers >= 0), "a whole number from 0, or None")
        number = isinstance(self.wait, int | float) and not isinstance(self.wait, bool)
        self._demand("wait", number and self.wait >= 0, "seconds from 0")
        self._demand("engine", self.engine in ENGINES, " or ".join(ENGINES))
        self._demand("scheduler", self.scheduler is None or isinstance(self.scheduler, str), "an address such as tcp://10.0.0.1:8786")
        if self.scheduler is not None and self.engine != "dask":
            raise UsageError(f"the scheduler {self.scheduler} is one of Dask, and the engine is {self.engine}. Give both: --engine dask")
        if self.replace_tag and self.tag is None:
            raise UsageError("RunOptions replace_tag: there is no tag to replace. Name one: tag='NAME'")

    @property
    def may_replace(self) -> bool:
        """Whether what a tag keeps gives way to what is made under it."""
        return self.replace_tag or self.tag == UNSAVED

    def _demand(self, name: str, holds: bool, expected: str) -> None:
        """Refuse a value that is none of its option."""
        if not holds:
            raise UsageError(f"RunOptions {name}: expected {expected}, got {getattr(self, name)!r}.")
