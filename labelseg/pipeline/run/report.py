"""What a run did, or would do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from labelseg.pipeline.plan.reasons import Reason

Action = Literal["fresh", "computed", "reused", "trained", "outdated-kept", "failed", "waiting", "skipped"]


@dataclass(frozen=True, kw_only=True)
class NodeResult:
    """What was done for one node, or would be done.

    Attributes:
        instance, split: The node.
        action: What was done.
        reasons: Why.
        computed: Items computed; None in a plan where it depends on what runs before.
        total: Items there are; tensors for a model.
        failed: Items that failed.
        seconds: How long it took.
        error: The first error, where there was one.
    """

    instance: str
    split: str
    action: Action
    reasons: tuple[Reason, ...] = ()
    computed: int | None = 0
    total: int = 0
    failed: int = 0
    seconds: float = 0.0
    error: str = ""


@dataclass(frozen=True)
class Report:
    """What a run did, node by node, parents first."""

    run: str
    results: list[NodeResult] = field(default_factory=list)

    @property
    def failed_items(self) -> int:
        """Number of items that failed."""
        return sum(result.failed for result in self.results)

    @property
    def work(self) -> list[NodeResult]:
        """The nodes for which something was done, or would be."""
        return [r for r in self.results if r.action not in ("fresh", "outdated-kept")]
