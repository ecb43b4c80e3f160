"""What is found in the data of a workspace, seen from what is to be made of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

from labelseg.data.folder.findings import Finding, by_weight
from labelseg.data.grey_masks import demand_class_ids
from labelseg.data.inspection import inspect
from labelseg.data.tasks import find_classes, task_steps
from labelseg.errors import LabelsegError, UsageError
from labelseg.pipeline.plan.graph import GROUND_TRUTH, SPLIT_PARAM, Node, resolve
from labelseg.results.outlook.initial_weights import weight_findings
from labelseg.training.params import schedule
from labelseg.wording import counted

MOST_WARMUP = 0.25  # of the updates
ENOUGH_UPDATES = 200

if TYPE_CHECKING:
    from labelseg.pipeline.declare.stage import Stage
    from labelseg.protocols import Dataset
    from labelseg.workspace import Workspace


def workspace_findings(workspace: Workspace) -> list[Finding]:
    """List what is found in the data of a workspace, for its target and all that leads to it."""
    config = workspace.config
    try:
        target = config.run.get("target")
        nodes = resolve(config, target, config.split_of(target)) if target else ()
        return node_findings(workspace.dataset, [(node.stage, node.params) for node in nodes])
    except LabelsegError as error:
        return [Finding("error", "data", str(error).rstrip("."))]


def node_findings(dataset: Dataset, nodes: Iterable[tuple[Stage, Any]], *, quick: bool = False) -> list[Finding]:
    """List what is found in data from which stages are to make something.

    Args:
        dataset: The data.
        nodes: Stages with their parameters.
        quick: Look at a few files only, at no weights, and tell no notes.
    """
    nodes = list(nodes)
    named = [getattr(params, "validation", "") for _, params in nodes]
    found = inspect(
        dataset, tags=any(_weighs_background(stage) for stage, _ in nodes), validation=next(filter(None, named), "val"), quick=quick
    )
    further = [look(dataset, stage, params) for stage, params in nodes for look in (_task_findings, _schedule_findings)]
    weights = () if quick else weight_findings(nodes)
    return by_weight([*found, *chain.from_iterable(further), *weights])


def demand_masks(dataset: Dataset, nodes: Iterable[Node]) -> None:
    """Refuse to learn from true masks, or to score by them, that hold grey values where class ids were meant.

    Raises:
        DataError: as ``labelseg.data.grey_masks.demand_class_ids``.
    """
    read = set()
    for node in nodes:
        truth = any(parent.node is None and parent.instance == GROUND_TRUTH for parent in node.parents)
        read |= {split for name, split in node.splits.items() if "mask" in node.uses(name) or (truth and name == SPLIT_PARAM)}
    for split in sorted(read & {*dataset.splits()}):
        demand_class_ids(dataset, [image_id for image_id in dataset.ids(split) if dataset.has(image_id, "mask")])


def _weighs_background(stage: Stage) -> bool:
    """Whether a stage compares maps of tagged classes with the background."""
    return stage.name in ("refine", "propagate")


def _schedule_findings(dataset: Dataset, stage: Stage, params: Any) -> Iterator[Finding]:
    """Tell of a training so short that its learning rate hardly reaches what was set."""
    warmup, epochs = getattr(params, "warmup", 0), getattr(params, "epochs", 0)
    if stage.kind != "model" or not warmup or not epochs or params.warmup_share or getattr(params, "iterations", 0):
        return
    try:
        images = len(dataset.ids(params.split))
    except LabelsegError:
        return
    length = schedule(params, images)
    if warmup > MOST_WARMUP * length.updates:
        told = f"{counted(images, 'image')} give {counted(length.updates, 'update')}, {min(warmup, length.updates):,} of them warm-up"
        remedy = f"Give it more: labelseg {stage.name} --epochs {-(-ENOUGH_UPDATES // length.steps)} --warmup-share 0.1"
        yield Finding("warning", stage.name, told, "the learning rate hardly reaches what is set", remedy)


def _task_findings(dataset: Dataset, stage: Stage, params: Any) -> Iterator[Finding]:
    """Tell of classes of a task, also of later steps, that the data does not have."""
    if task := getattr(params, "task", ""):
        try:
            for number, names in enumerate(task_steps(task)):
                find_classes([name for name in names if name != "background"], dataset.classes, f"step {number}")
        except UsageError as error:
            yield Finding("error", f"{stage.name} --task '{task}'", str(error).rstrip(".?"), "the run would end at that step")
