"""Does the work for one node: computes the items of a map that are not there, or trains a model, and publishes the result."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from labelseg.errors import ArtifactError, DataError, LabelsegError, WaitingError
from labelseg.libraries import library_versions
from labelseg.pipeline.declare.stage import names_path
from labelseg.pipeline.engines.engine import Engine, compute_items, share_out
from labelseg.pipeline.engines.inputs import Inputs
from labelseg.pipeline.engines.messages import Computed, Failed, MapJob, Message, Outcome, Tasks
from labelseg.pipeline.engines.progress import show_progress
from labelseg.pipeline.files.digests import digest
from labelseg.pipeline.files.leaves import is_large, rises
from labelseg.pipeline.files.paths import below
from labelseg.pipeline.instances import command_on, stage_of
from labelseg.pipeline.plan.decisions import Decision, Entry, Standing
from labelseg.pipeline.plan.graph import SPLIT_PARAM, Node, NodeId
from labelseg.pipeline.plan.keys import params_json
from labelseg.pipeline.plan.planner import Planner
from labelseg.pipeline.plan.runlog import RunLog, now
from labelseg.pipeline.run.learned import as_learned
from labelseg.pipeline.run.prospect import MapWork, Prospect
from labelseg.pipeline.store.artifacts import TENSOR, Model
from labelseg.pipeline.store.away.marks import is_away
from labelseg.pipeline.store.headers import part_path
from labelseg.pipeline.store.items.item_rows import ItemLeaf
from labelseg.pipeline.store.items.leaf_items import LeafItems
from labelseg.pipeline.store.items.leaf_writing import write_merged
from labelseg.pipeline.store.manifests import Manifest, ManifestItem, Ref
from labelseg.pipeline.store.parts import PartItem
from labelseg.pipeline.store.store import PartWriter, Store

if TYPE_CHECKING:
    from labelseg.pipeline.plan.workspace_like import WorkspaceLike
    from labelseg.pipeline.run.options import RunOptions


AT_ONCE = 4096  # items of a large map that are gathered at a time


@dataclass(frozen=True)
class Done:
    """What was done for a node."""

    action: Literal["computed", "reused", "trained"]
    ref: Ref
    computed: int
    first_error: str = ""


class Execution:
    """Works on single nodes of a run.

    Args:
        workspace: The workspace.
        planner: Keys and items.
        standings: How the nodes stand that come before.
        log: The log of the run.
        options: Device, workers and engine.
        engine: What computes the items of maps in place of the engine of the options.
    """

    def __init__(
        self,
        workspace: WorkspaceLike,
        planner: Planner,
        standings: Mapping[NodeId, Standing],
        log: RunLog,
        options: RunOptions,
        engine: Engine | None = None,
    ) -> None:
        self._workspace = workspace
        self._store: Store = workspace.store
        self._planner = planner
        self._standings = standings
        self._log = log
        self._options = options
        self._engine = engine or _engine(options)

    def perform(self, decision: Decision, prospect: Prospect, *, forced: bool) -> Done:
        """Make the artifact of a node and publish it; one that was made before under the same key serves again.

        Raises:
            LabelsegError: every item failed, the training failed, or there is nothing to work on.
        """
        if prospect.manifest is not None:
            return Done("reused", self._ref(prospect.found_as or decision, prospect.manifest), 0)
        return self._train(decision, forced) if prospect.work is None else self._map(decision, prospect.work)

    def _map(self, decision: Decision, work: MapWork) -> Done:
        """Compute the items of a map that no part holds yet."""
        node = decision.node
        started = time.monotonic()
        if not work.entries:
            raise DataError(f"{node.instance}: split '{node.split}' has no images that everything it reads could be computed for.")
        outcome, device = self.compute(decision, work) if work.todo else (Outcome(), "cpu")
        if len(outcome.failed) == len(work.entries):
            raise LabelsegError(f"{node.id} failed on all {len(work.entries):,} images. The first: {_first(outcome.failed)}")
        items = self._items(node.stage.name, work, outcome)
        seconds = time.monotonic() - started
        if self._engine is not None:
            device, seconds = self._engine.account(device, seconds)
        manifest = self._manifest(decision, items, device, seconds)
        errors = {failure.id: failure.error for failure in outcome.failed}
        manifest.failed = [{"id": image_id, "error": errors[image_id]} for image_id in work.entries.ids if image_id in errors]
        self._demand_parts(node.stage.name, set(manifest.parts))
        self._publish(manifest)
        return Done("computed" if work.todo else "reused", self._ref(decision, manifest), len(outcome.places), _first(outcome.failed))

    def _items(self, stage: str, work: MapWork, outcome: Outcome) -> list[ManifestItem] | LeafItems:
        """Gather the items of a map in order; leaves of a large one that are kept are not read."""

        def listed(start: int, stop: int) -> list[ManifestItem]:
            found = []
            for image_id in work.entries.ids[start:stop]:
                key = work.keys[image_id]
                place = outcome.places.get(image_id) or work.places.get((image_id, key))
                found += [ManifestItem(image_id, key, *place)] if place is not None else []
            return found

        def segments() -> Iterator[ItemLeaf | list[ManifestItem]]:
            leaves = [stretch.leaf for stretch in work.kept]
            for number, (start, stop) in enumerate(work.gaps):
                yield from (listed(k, min(k + AT_ONCE, stop)) for k in range(start, stop, AT_ONCE))
                yield from leaves[number : number + 1]

        ids = work.entries.ids
        if not is_large(len(ids)) or not (work.leaves is not None or rises(ids)):
            return listed(0, len(ids))
        return write_merged(work.leaves or LeafItems(self._workspace.folder, stage, ()), segments())

    def compute(self, decision: Decision, work: MapWork) -> tuple[Outcome, str]:
        """Compute the items of a map that are to be computed, and log those that fail; publish nothing.

        Returns:
            What became of them, and the device.

        Raises:
            LabelsegError: the stage could not start, or waits for a person.
        """
        node = decision.node
        self._demand_answers(decision, work)
        device = self.map_device(node)
        tasks = Tasks(work.todo, work.keys)
        workers = share_out(len(tasks), device, self._options.workers)
        with show_progress(len(tasks), str(node.id)) as progress:

            def watch(message: Message) -> None:
                if isinstance(message, Computed | Failed):
                    progress.update(1)

            outcome = compute_items(self._job(decision, device, workers), tasks, workers, watch, self._engine)
        for failure in outcome.failed:
            self._log.failed_item(node.id, failure.id, failure.error, failure.trace)
        return outcome, device

    def map_device(self, node: Node) -> str:
        """Pick what computes a map: a stage that reads a model, or has one of its own, runs a network; others gain more from processes."""
        has_network = node.stage.has_network or any(parent.is_model for parent in node.parents)
        return self._workspace.pick_device(self._options.device.split(",")[0]) if has_network else "cpu"

    def _demand_answers(self, decision: Decision, work: MapWork) -> None:
        """Wait for people, where a map needs all of their answers.

        Raises:
            WaitingError: questions are open.
        """
        node = decision.node
        if not node.asked or node.partial:
            return
        total = still_open = 0
        for entry in work.entries:
            points = self._store.read_item(*entry.reads[node.stage.answered])["points"]
            total += len(points)
            still_open += len({(int(y), int(x)) for y, x in points} - {said[:2] for said in entry.answers})
        if still_open:
            command = command_on("annotate", node.asked, node.split)
            raise WaitingError(f"{still_open:,} of {total:,} questions of {node.asked} ({node.split}) are open. Answer them: {command}")

    def _demand_parts(self, stage: str, parts: set[str]) -> None:
        """Refuse to publish what was deleted while it was made.

        Raises:
            LabelsegError: a part is gone.
        """
        paths = (part_path(self._workspace.folder, stage, part) for part in sorted(parts))
        gone = [path for path in paths if not (path.is_dir() or is_away(path))]
        if gone:
            raise LabelsegError(
                f"{gone[0]} was deleted while {stage} ran. Leave {self._workspace.folder} alone, and run the same command again."
            )

    def _job(self, decision: Decision, device: str, workers: int) -> MapJob:
        """Gather what a map stage needs to work on its items, in whatever process."""
        node = decision.node
        inputs, header = self.inputs(decision, device, workers), self._header(decision, device)
        return MapJob(
            node.stage.name,
            node.stage.run,
            self.params(decision),
            inputs,
            header,
            node.stage.has_masks,
            set_threads=self._workspace.set_threads,
        )

    def inputs(self, decision: Decision, devices: str, workers: int) -> Inputs:
        """Gather what every work function is given."""
        return Inputs(
            dataset=self._workspace.dataset,
            store=self._store,
            models=self._models(decision),
            truth=_truth(decision),
            devices=devices,
            workers=workers,
            instance=decision.node.instance,
            run_log=self._log,
        )

    def _header(self, decision: Decision, device: str) -> dict[str, Any]:
        """Record in each part how it was made."""
        return {
            "version": decision.node.stage.version,
            "params": decision.recipe["params"],
            "run": self._log.id,
            "device": device,
        }

    def _publish(self, manifest: Manifest) -> None:
        """Publish a manifest; under the lock one of its key is there with failed items, or is to be replaced."""
        self._store.catalog.publish(manifest, replace=True)
        self._store.catalog.follow(manifest)
        self._planner.forget(manifest.stage, manifest.key)

    def _train(self, decision: Decision, forced: bool) -> Done:
        """Train a model and store its tensors."""
        node = decision.node
        started = time.monotonic()
        entries = self.entries(node)
        for param, found in entries.items():
            if not found:
                missing = "no image with a ground truth mask" if _truth(decision) and param == SPLIT_PARAM else "no images to train on"
                raise DataError(f"{node.instance}: split '{node.splits[param]}' has {missing}. See the splits: labelseg status")
        rows = self._planner.rows(node, self._standings)
        devices = self._workspace.pick_device(self._options.device)
        checkpoints = below(self._workspace.folder / "checkpoints", node.stage.name, str(decision.key))
        if forced:
            shutil.rmtree(checkpoints, ignore_errors=True)
        inputs = replace(self.inputs(decision, devices, self._options.workers or 0), entries=entries, checkpoints=checkpoints)
        model = self._workspace.train(node.stage.run, inputs, self.params(decision))
        if not isinstance(model, Model):
            raise ArtifactError(f"{node.instance}: expected a Model, got {type(model).__name__}.")
        retrain = self._workspace.config.command(node.instance, retrain=True)
        decision, rows = as_learned(self._planner, decision, entries, rows, _truth(decision), retrain)
        manifest = self._manifest(decision, self._write_model(decision, model, devices), devices, time.monotonic() - started)
        manifest.meta = {
            "model": dict(model.meta),
            "metrics": dict(model.metrics),
            "curves": list(model.curves),
            "rows": rows,
        }
        self._publish(manifest)
        shutil.rmtree(checkpoints, ignore_errors=True)
        return Done("trained", self._ref(decision, manifest), len(manifest.items))

    def entries(self, node: Node) -> dict[str, list[Entry]]:
        """List what a training learns from: name of a split parameter -> its items."""
        return {param: list(self._planner.entries(node, param, self._standings)) for param in node.splits}

    def _write_model(self, decision: Decision, model: Model, device: str) -> list[ManifestItem]:
        """Write the tensors of a model; they are its items."""
        # A model without a manifest is trained again, so its parts are sent after that is written, and not before.
        writer = PartWriter(Store(self._store.root), decision.node.stage.name, self._header(decision, device))
        keys = {name: digest("tensor", str(decision.key), name) for name in model.tensors}
        for name, tensor in model.tensors.items():
            writer.add(PartItem(name, keys[name], {TENSOR: tensor}))
        return [ManifestItem(name, keys[name], *place) for name, place in zip(model.tensors, writer.flush(), strict=True)]

    def _manifest(self, decision: Decision, items: list[ManifestItem] | LeafItems, device: str, seconds: float) -> Manifest:
        """Record how an artifact was made."""
        return Manifest(
            stage=decision.node.stage.name,
            version=decision.node.stage.version,
            key=str(decision.key),
            params=params_json(decision.node.params),
            recipe=_recorded(decision),
            items=items,
            libraries=dict(library_versions()),
            device=device,
            seconds=round(seconds, 3),
            created=now(),
        )

    def _ref(self, decision: Decision, manifest: Manifest) -> Ref:
        """Say that a node stands for an artifact."""
        node = decision.node
        made = manifest.as_ref(*node.id, run=self._log.id)
        return replace(made, recipe=_recorded(decision), params=params_json(node.params))

    def params(self, decision: Decision) -> Any:
        """Return the parameters with paths as the work function can open them: relative ones start from the workspace."""
        params, found = decision.node.params, {}
        for declared in fields(params):
            path = self._workspace.root / Path(str(getattr(params, declared.name))).expanduser()
            is_there = path.is_file() if declared.metadata.get("file") else path.is_dir()
            if names_path(declared) and getattr(params, declared.name) and is_there:
                found[declared.name] = str(path.absolute())
        return replace(params, **found)

    def _models(self, decision: Decision) -> dict[str, tuple[str, str]]:
        """Map each role that a model plays to the stage and key of that model."""
        found = {}
        for parent in decision.node.parents:
            if parent.is_model and parent.node is not None:
                ref = self._standings[parent.node].ref
                if ref is not None:
                    found[parent.role] = (stage_of(parent.instance), ref.key)
        return found


def _engine(options: RunOptions) -> Engine | None:
    """Make the engine that is asked for; None for this machine, which needs none."""
    if options.engine == "local":
        return None
    from labelseg.pipeline.engines.dask_engine import DaskEngine

    return DaskEngine(options.scheduler)


def _truth(decision: Decision) -> frozenset[str]:
    """Name the roles that the ground truth of the data plays."""
    return frozenset(parent.role for parent in decision.node.parents if parent.node is None)


def _recorded(decision: Decision) -> dict[str, Any]:
    """Return the recipe together with the digests of what was read."""
    return {**decision.recipe, "inputs": decision.inputs}


def _first(failed: list[Failed]) -> str:
    """Tell the first failure, with the id of the image unless the error names it."""
    if not failed:
        return ""
    return failed[0].error if failed[0].id in failed[0].error else f"{failed[0].id}: {failed[0].error}"
