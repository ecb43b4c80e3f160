"""Every combination of some values of parameters: computed, scored, and put in order."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, get_origin

from labelseg.errors import ItemsFailedError, LabelsegError, UsageError
from labelseg.pipeline.declare.stage import Stage
from labelseg.pipeline.declare.values import declared_fields, former_names, read_value
from labelseg.pipeline.plan.graph import resolve
from labelseg.results.scores import score, scoreable
from labelseg.results.standing import Named, find_refs
from labelseg.suggestions import suggestion

if TYPE_CHECKING:
    from labelseg.pipeline.run.options import RunOptions
    from labelseg.workspace import Workspace

TAG = "sweep-at-work"  # the combination that is being scored; what stood there before gives way
MOST = 1000  # combinations


@dataclass(frozen=True)
class Trial:
    """One combination.

    Attributes:
        values: Parameter -> value.
        miou: Mean IoU in [0, 1]; None where it failed or no class is in the truth.
        accuracy: Share of the pixels that is right.
        images: Images that were scored.
        iou: Class -> IoU.
        seconds: How long it took to compute and score.
        computed: Items that were computed; the others were there.
        error: Why it failed, or which of its items did; empty where nothing did.
    """

    values: Mapping[str, Any]
    miou: float | None = None
    accuracy: float | None = None
    images: int = 0
    iou: Mapping[str, float | None] = field(default_factory=dict)
    seconds: float = 0.0
    computed: int = 0
    error: str = ""


def read_grid(stage: Stage, words: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    """Read ``--beta 4,8,16 --iters=64,256``; values that are lists themselves are parted by ``;``.

    Args:
        stage: Declares the parameters.
        words: As on a command line.

    Raises:
        UsageError: a word is no parameter of the stage, or a value is none of it; nothing is named, or too much.
    """
    known, found = declared_fields(stage), {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, _, text = word.removeprefix("--").partition("=")
        name = former_names(stage).get(name.replace("-", "_"), name.replace("-", "_"))
        if not word.startswith("--"):
            raise UsageError(f"sweep {stage.name}: expected --PARAMETER VALUE,VALUE, got '{word}'.")
        if name not in known:
            names = [other.replace("_", "-") for other in known]
            raise UsageError(
                f"sweep {stage.name}: it has no parameter '{name.replace('_', '-')}'.{suggestion(name.replace('_', '-'), names)}"
            )
        if "=" not in word:
            if not rest:
                raise UsageError(f"sweep {stage.name}: {word} names no values. Write, such as: {word} 1,2")
            text = rest.pop(0)
        parts = text.split(";" if get_origin(known[name][1]) is tuple else ",")
        values = [read_value(stage, name, part.strip(), f"sweep {stage.name} {word.partition('=')[0]}") for part in parts]
        if name in found:
            raise UsageError(f"sweep {stage.name}: --{name.replace('_', '-')} is named twice.")
        found[name] = tuple(dict.fromkeys(values))
    if not found:
        raise UsageError(f"sweep {stage.name}: expected values to try. Write, such as: --{next(iter(known)).replace('_', '-')} A,B")
    count = len(list(combinations(found)))
    if count > MOST:
        raise UsageError(f"sweep {stage.name}: {count:,} combinations are more than {MOST:,}. Name fewer values.")
    return found


def combinations(grid: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """List every combination, the last parameter changing first."""
    for values in itertools.product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def sources_of_grid(workspace: Workspace, instance: str, split: str, grid: Mapping[str, Sequence[Any]]) -> list[str]:
    """List the instances that the combinations read, each once.

    Raises:
        UsageError: one of them is none, or a combination is refused.
    """
    named: dict[str, None] = {}
    for values in combinations(grid):
        node = resolve(workspace.config, instance, split, values)[-1]
        named.update((parent.instance, None) for parent in node.parents if parent.node is not None)
    return list(named)


def demand_masks(workspace: Workspace, instance: str, split: str, on: str | None) -> None:
    """Refuse what cannot be scored, before anything is computed.

    Raises:
        UsageError: the instance makes no masks, or no image of the split has a true one.
    """
    stage = workspace.config.stage(instance)
    if not scoreable(stage):
        able = [other.name for other in workspace.stages.values() if scoreable(other)]
        raise UsageError(f"sweep {instance}: it makes no masks to score. Name one of: {', '.join(able)}.")
    counted = set(workspace.dataset.ids(on)) if on else None
    if not any(workspace.dataset.has(i, "mask") for i in workspace.dataset.ids(split) if counted is None or i in counted):
        where = f"both split '{split}' and split '{on}'" if on else f"split '{split}'"
        raise UsageError(f"sweep {instance}: no image of {where} has a true mask. Name others: --split val")


def try_all(
    workspace: Workspace, instance: str, split: str, on: str | None, grid: Mapping[str, Sequence[Any]], options: RunOptions
) -> Iterator[Trial]:
    """Compute and score each combination; what was computed before is not computed again.

    Args:
        workspace: The workspace; its configuration and results stay as they are.
        instance: What is tried.
        split: Where.
        on: Count only the images of this split.
        grid: Parameter -> values.
        options: How to run: device and workers, and the tag ``TAG``, which each combination takes over.

    Yields:
        One trial a combination; one that fails is told in it.
    """
    for values in combinations(grid):
        begun, error, computed = time.monotonic(), "", 0
        try:
            try:
                report = workspace.run(instance, split, options=options, **values)
            except ItemsFailedError as failure:
                report, error = failure.report, str(failure)  # type: ignore[attr-defined]
            computed = report.results[-1].computed or 0
            (ref,) = find_refs(workspace, Named(instance, TAG), split)
            found = score(workspace, ref, on)
        except LabelsegError as failure:
            yield Trial(values, seconds=round(time.monotonic() - begun, 3), computed=computed, error=str(failure))
            continue
        seconds = round(time.monotonic() - begun, 3)
        yield Trial(values, found.miou, found.accuracy, found.images, found.iou, seconds, computed, error)


def by_score(trials: Sequence[Trial]) -> list[Trial]:
    """Order trials from the highest mean IoU down; those without one come last."""
    return sorted(trials, key=lambda trial: (trial.miou is None, -(trial.miou or 0.0)))
