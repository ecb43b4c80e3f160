"""Does the work for one node: computes the items of a map that are not there, or trains a model, and publishes the result."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from labelseg.errors import ArtifactError, DataError, LabelsegError
from labelseg.libraries import library_versions
from labelseg.pipeline.engines.apart import run_apart
from labelseg.pipeline.engines.engine import compute_items
from labelseg.pipeline.engines.inputs import Inputs
from labelseg.pipeline.engines.messages import Computed, Failed, MapJob, Message, Outcome, Task
from labelseg.pipeline.engines.progress import show_progress
from labelseg.pipeline.files.digests import digest
from labelseg.pipeline.files.paths import below
from labelseg.pipeline.instances import stage_of
from labelseg.pipeline.plan.decisions import Decision, Entry, Standing
from labelseg.pipeline.plan.graph import SPLIT_PARAM, NodeId
from labelseg.pipeline.plan.keys import params_json
from labelseg.pipeline.plan.planner import Planner
from labelseg.pipeline.plan.runlog import RunLog, now
from labelseg.pipeline.store.artifacts import TENSOR, Model
from labelseg.pipeline.store.headers import is_in_place, part_path
from labelseg.pipeline.store.manifests import Location, Manifest, ManifestItem, Ref
from labelseg.pipeline.store.parts import PartItem
from labelseg.pipeline.store.store import PartWriter, Store

if TYPE_CHECKING:
    from labelseg.pipeline.plan.workspace_like import WorkspaceLike
    from labelseg.pipeline.run.options import RunOptions

ITEMS_A_WORKER = 4


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
        options: Device and workers.
    """

    def __init__(
        self, workspace: WorkspaceLike, planner: Planner, standings: Mapping[NodeId, Standing], log: RunLog, options: RunOptions
    ) -> None:
        self._workspace = workspace
        self._store: Store = workspace.store
        self._planner = planner
        self._standings = standings
        self._log = log
        self._options = options

    def perform(self, decision: Decision, *, forced: bool) -> Done:
        """Make the artifact of a node and publish it; one that was made before under the same key serves again.

        Raises:
            LabelsegError: every item failed, the training failed, or there is nothing to work on.
        """
        if decision.key is None:
            raise ArtifactError(f"{decision.node.id}: something it reads is not there. Run: labelseg run")
        for same in () if forced else self._ways(decision):
            known = reusable(self._store, same)
            if known is not None and not known.failed:
                return Done("reused", self._ref(same, known), 0)
        return self._train(decision, forced) if decision.node.is_model else self._map(decision, forced)

    def _ways(self, decision: Decision) -> Iterator[Decision]:
        """Yield a decision, then the same with parameters as they lie on disk where those amount to the same under today's declaration."""
        yield decision
        node, tried = decision.node, [decision.recipe["params"]]
        for header in self._store.part_headers(node.stage.name):
            params = header.header.get("params")
            if header.header.get("version") != node.stage.version or params in tried:
                continue
            tried.append(params)
            recipe = self._planner.as_recorded(decision.recipe, {**decision.recipe, "params": params})
            if recipe["params"] == params:
                key = self._planner.key(node, recipe, decision.inputs or {}, None, self._standings)
                yield replace(decision, recipe=recipe, key=key)

    def _map(self, decision: Decision, forced: bool) -> Done:
        """Compute the items of a map that no part holds yet."""
        node = decision.node
        started = time.monotonic()
        entries, todo = missing_items(self._store, self._planner, decision, self._standings, forced)
        if not entries:
            raise DataError(f"{node.instance}: split '{node.split}' has no images that everything it reads could be computed for.")
        places = {} if forced else finished_items(self._store, self._planner, decision)
        keys = self._planner.item_keys(decision.recipe, node, decision.inputs or {}, entries)
        device = "cpu"
        outcome = Outcome()
        if todo:
            # Only a stage that reads a model runs a network; all others gain more from many processes.
            uses_model = any(parent.is_model for parent in node.parents)
            device = self._workspace.pick_device(self._options.device.split(",")[0]) if uses_model else "cpu"
            outcome = self._compute(decision, [Task(entry, keys[entry.id]) for entry in todo], device)
        for failure in outcome.failed:
            self._log.failed_item(node.id, failure.id, failure.error, failure.trace)
        if len(outcome.failed) == len(entries):
            raise LabelsegError(f"{node.id} failed on all {len(entries):,} images. The first: {_first(outcome.failed)}")
        items = [
            ManifestItem(e.id, keys[e.id], *(outcome.places.get(e.id) or places[e.id, keys[e.id]]))
            for e in entries
            if e.id in outcome.places or (e.id, keys[e.id]) in places
        ]
        manifest = self._manifest(decision, items, device, time.monotonic() - started)
        order = {entry.id: position for position, entry in enumerate(entries)}
        manifest.failed = [{"id": f.id, "error": f.error} for f in sorted(outcome.failed, key=lambda f: order[f.id])]
        self._demand_parts(node.stage.name, {item.part for item in items})
        # Under the lock a manifest of this key is one with failed items, or is to be replaced.
        self._store.catalog.publish(manifest, replace=True)
        self._planner.forget(node.stage.name, manifest.key)
        return Done("computed" if todo else "reused", self._ref(decision, manifest), len(outcome.places), _first(outcome.failed))

    def _demand_parts(self, stage: str, parts: set[str]) -> None:
        """Refuse to publish what was deleted while it was made.

        Raises:
            LabelsegError: a part is gone.
        """
        gone = [path for path in (part_path(self._workspace.folder, stage, part) for part in sorted(parts)) if not path.is_dir()]
        if gone:
            raise LabelsegError(
                f"{gone[0]} was deleted while {stage} ran. Leave {self._workspace.folder} alone, and run the same command again."
            )

    def _compute(self, decision: Decision, tasks: list[Task], device: str) -> Outcome:
        """Run the map stage over items."""
        node = decision.node
        workers = self._workers(len(tasks), device)
        inputs = Inputs(
            dataset=self._workspace.dataset,
            store=self._store,
            models=self._models(decision),
            truth=_truth(decision),
            devices=device,
            workers=workers,
            instance=node.instance,
            run_log=self._log,
        )
        header = {"version": node.stage.version, "params": decision.recipe["params"], "run": self._log.id, "device": device}
        job = MapJob(
            node.stage.name, node.stage.run, self._params(decision), inputs, header, node.stage.has_masks, self._workspace.set_threads
        )
        with show_progress(len(tasks), str(node.id)) as progress:

            def watch(message: Message) -> None:
                if isinstance(message, Computed | Failed):
                    progress.update(1)

            return compute_items(job, tasks, workers, watch)

    def _train(self, decision: Decision, forced: bool) -> Done:
        """Train a model and store its tensors."""
        node = decision.node
        started = time.monotonic()
        entries = {param: self._planner.entries(node, param, self._standings) for param in node.splits}
        for param, found in entries.items():
            if not found:
                missing = "no image with a ground truth mask" if _truth(decision) and param == SPLIT_PARAM else "no images to train on"
                raise DataError(f"{node.instance}: split '{node.splits[param]}' has {missing}. See the splits: labelseg status")
        devices = self._workspace.pick_device(self._options.device)
        checkpoints = below(self._workspace.folder / "checkpoints", node.stage.name, str(decision.key))
        if forced:
            shutil.rmtree(checkpoints, ignore_errors=True)
        inputs = Inputs(
            dataset=self._workspace.dataset,
            store=self._store,
            models=self._models(decision),
            truth=_truth(decision),
            devices=devices,
            workers=self._options.workers if self._options.workers is not None else 0,
            entries=entries,
            checkpoints=checkpoints,
            instance=node.instance,
            run_log=self._log,
        )
        if "," in devices:
            # Several devices take processes forked from one that has used no GPU, as this one may have.
            model = run_apart(node.stage.run, inputs, self._params(decision))
        else:
            model = node.stage.run(inputs, self._params(decision))
        if not isinstance(model, Model):
            raise ArtifactError(f"{node.instance}: expected a Model, got {type(model).__name__}.")
        manifest = self._manifest(decision, self._write_model(decision, model, devices), devices, time.monotonic() - started)
        manifest.meta = {
            "model": dict(model.meta),
            "metrics": dict(model.metrics),
            "curves": list(model.curves),
            "rows": self._planner.rows(node, self._standings),
        }
        self._store.catalog.publish(manifest, replace=True)
        self._planner.forget(node.stage.name, manifest.key)
        shutil.rmtree(checkpoints, ignore_errors=True)
        return Done("trained", self._ref(decision, manifest), len(manifest.items))

    def _write_model(self, decision: Decision, model: Model, device: str) -> list[ManifestItem]:
        """Write the tensors of a model; they are its items."""
        node = decision.node
        header = {"version": node.stage.version, "params": decision.recipe["params"], "run": self._log.id, "device": device}
        writer = PartWriter(self._store, node.stage.name, header)
        keys = {name: digest("tensor", str(decision.key), name) for name in model.tensors}
        for name, tensor in model.tensors.items():
            writer.add(PartItem(name, keys[name], {TENSOR: tensor}))
        return [ManifestItem(name, keys[name], *place) for name, place in zip(model.tensors, writer.flush(), strict=True)]

    def _manifest(self, decision: Decision, items: list[ManifestItem], device: str, seconds: float) -> Manifest:
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
        return Ref(
            instance=node.instance,
            split=node.split,
            key=manifest.key,
            digest=manifest.ref_digest,
            manifest=manifest.seal,
            count=len(manifest.items),
            failed=len(manifest.failed),
            recipe=_recorded(decision),
            params=params_json(node.params),
            version=manifest.version,
            created=manifest.created,
            seconds=manifest.seconds,
            run=self._log.id,
        )

    def _params(self, decision: Decision) -> Any:
        """Return the parameters with paths as the work function can open them: relative ones start from the workspace."""
        params = decision.node.params
        found = {
            f.name: self._workspace.root / Path(getattr(params, f.name)).expanduser() for f in fields(params) if f.metadata.get("file")
        }
        return replace(params, **{name: str(path.absolute()) for name, path in found.items() if path.is_file()})

    def _models(self, decision: Decision) -> dict[str, tuple[str, str]]:
        """Map each role that a model plays to the stage and key of that model."""
        found = {}
        for parent in decision.node.parents:
            if parent.is_model and parent.node is not None:
                ref = self._standings[parent.node].ref
                if ref is not None:
                    found[parent.role] = (stage_of(parent.instance), ref.key)
        return found

    def _workers(self, count: int, device: str) -> int:
        """Choose the number of processes for a number of items; an accelerator is fed by this process alone."""
        if device != "cpu":
            return 0
        if self._options.workers is not None:
            return min(self._options.workers, count)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return 0 if count <= ITEMS_A_WORKER or cores == 1 else min(cores, -(-count // ITEMS_A_WORKER))


def finished_items(store: Store, planner: Planner, decision: Decision) -> dict[tuple[str, str], Location]:
    """Map (id, key) of every item that lies on disk to its place; what the node stands for now comes before other parts."""
    stage = decision.node.stage.name
    rows = [(i.id, i.key, Location(part.part_id, i.index, i.digest)) for part in store.part_headers(stage) for i in part.items]
    places = {(image_id, key): place for image_id, key, place in rows}
    manifest = None if decision.ref is None else store.catalog.sound(stage, decision.ref.key)
    if manifest is not None:
        there = set(rows)
        named = ((item.id, item.key, Location(item.part, item.index, item.digest)) for item in manifest.items)
        places |= {(row[0], row[1]): row[2] for row in named if row in there}
    return places


def reusable(store: Store, decision: Decision) -> Manifest | None:
    """Read the manifest of the key that a node needs, if there is one and all that it names is there."""
    stage = decision.node.stage.name
    manifest = store.catalog.sound(stage, str(decision.key))
    if manifest is None or not all(is_in_place(part_path(store.root, stage, part)) for part in manifest.parts):
        return None
    return manifest


def missing_items(
    store: Store, planner: Planner, decision: Decision, standings: Mapping[NodeId, Standing], forced: bool
) -> tuple[list[Entry], list[Entry]]:
    """List all items of a map, and those of them that have to be computed."""
    entries = planner.entries(decision.node, SPLIT_PARAM, standings)
    if forced:
        return entries, entries
    keys = planner.item_keys(decision.recipe, decision.node, decision.inputs or {}, entries)
    places = finished_items(store, planner, decision)
    return entries, [entry for entry in entries if (entry.id, keys[entry.id]) not in places]


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
