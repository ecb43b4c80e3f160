"""What stands, what has to be done and why: keys of nodes and items, and the state of every node.

Reads plain JSON and file times only, so that ``status`` stays fast on many images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from labelseg.answers.given_answers import GivenAnswers
from labelseg.answers.given_corrections import GivenCorrections
from labelseg.answers.known_answers import Unknown
from labelseg.errors import ArtifactError
from labelseg.pipeline.declare.stage import Stage
from labelseg.pipeline.files.digests import DigestColumn, canonical_json, digest
from labelseg.pipeline.files.fingerprint import FileIndex
from labelseg.pipeline.files.leaves import rises
from labelseg.pipeline.instances import run_command, stage_of
from labelseg.pipeline.plan.attached_files import AttachedFiles
from labelseg.pipeline.plan.data_digests import ABSENT, DataDigests
from labelseg.pipeline.plan.decisions import Decision, Entries, Entry, Standing
from labelseg.pipeline.plan.graph import SPLIT_PARAM, Node, NodeId
from labelseg.pipeline.plan.keys import ItemKeys, KeyTable, compare, key_params
from labelseg.pipeline.plan.normal_form import normal_form, same_params
from labelseg.pipeline.plan.reasons import Reason, State, data_reasons, stale_reasons
from labelseg.pipeline.store.items.item_rows import pieces
from labelseg.pipeline.store.items.leaf_items import LeafItems
from labelseg.pipeline.store.manifests import Catalog, Manifest, ManifestItem, Ref, lost_items
from labelseg.pipeline.store.records import repair
from labelseg.pipeline.store.soundness import Soundness
from labelseg.protocols import Dataset, Kind

NO_ITEM = ""  # stands for the digest of an item that an artifact does not hold


class Planner:
    """Decides what has to be done for a node, given how the nodes it reads stand.

    Args:
        dataset: The data.
        catalog: Manifests and refs.
        index: Digests of files.
        root: Folder that relative paths of file options start from.
        tag: Refs under this tag win over the main ones; None looks at the main ones only.
    """

    def __init__(self, dataset: Dataset, catalog: Catalog, index: FileIndex, root: Path, tag: str | None = None) -> None:
        self.data = DataDigests(dataset, index)
        self.catalog = catalog
        self.root = root
        self.answers = GivenAnswers(root, Unknown(dataset))
        self.corrections = GivenCorrections(root)
        self.attached = AttachedFiles(index, root)
        self.tag = tag
        self._classes = list(dataset.classes)
        self.soundness = Soundness(catalog)
        self._manifests: dict[tuple[str, str], Manifest | None] = {}
        self._stages: dict[str, Stage] = {}
        self._entries: dict[tuple[Any, ...], Entries] = {}
        self._keys: dict[Node, tuple[Entries, bytes, KeyTable]] = {}

    def ref(self, node_id: NodeId) -> Ref | None:
        """Read the ref of a node, the tagged one first; one that is damaged is none."""
        tagged = self._ref(node_id, self.tag) if self.tag else None
        return tagged or self._ref(node_id, None)

    def manifest(self, stage: str, key: str) -> Manifest:
        """Read a manifest that a ref names, once.

        Raises:
            ArtifactError: it is gone or damaged.
        """
        manifest = self.catalog.load(stage, key) if (stage, key) not in self._manifests else self._manifests[stage, key]
        if manifest is None:
            raise ArtifactError(f"{self.catalog.manifest_path(stage, key)} is gone. {repair(stage)}")
        self._manifests[stage, key] = manifest
        return manifest

    def forget(self, stage: str, key: str) -> None:
        """Drop a manifest that was replaced."""
        self._manifests.pop((stage, key), None)
        self._keys.clear()
        self._entries.clear()  # they may say where items of it lay
        self.soundness.forget(stage, key)

    def recipe(self, node: Node, standings: Mapping[NodeId, Standing]) -> dict[str, Any]:
        """Say how a node is made: its own declaration and, for each source, the instance and how that is made."""
        self._stages[node.stage.name] = node.stage
        sources = {
            p.role: {"instance": p.instance, "recipe": without_inputs(standings[p.node].recipe) if p.node else None} for p in node.parents
        }
        return {
            "stage": node.stage.name,
            "version": node.stage.version,
            "params": key_params(node.stage, node.params, self.data.index.digest, self.root),
            "classes": self._classes,
            "splits": node.splits if node.is_model else {},
            "sources": sources,
        }

    def decide(self, node: Node, standings: Mapping[NodeId, Standing]) -> Decision:
        """Compare what a node should be with what stands.

        Args:
            node: The node.
            standings: How the nodes that it reads stand.
        """
        recipe = self.recipe(node, standings)
        ref, broken = self._sound_ref(node.id)
        if ref is not None:
            recipe = self.as_recorded(recipe, ref.recipe)
        moving = [p.instance for p in node.parents if p.node is not None and not standings[p.node].settled]
        if moving:
            return self._predict(node, recipe, ref, broken, moving)
        inputs = self._inputs(node, standings)
        key = self.key(node, recipe, inputs, ref, standings)
        alternatives = [ref] if ref is None or not ref.tag else [ref, self._ref(node.id, None)]
        for candidate in alternatives:
            if candidate is not None and candidate.key == key and not self.soundness.manifest_problem(candidate):
                problem = self.soundness.part_problem(candidate)
                if problem:
                    return Decision(node, "failed", (Reason("damaged", after=problem),), recipe, inputs, key, candidate)
                if candidate.failed:
                    return Decision(node, "failed", self._missing_items(candidate), recipe, inputs, key, candidate)
                return Decision(node, "fresh", (), recipe, inputs, key, candidate)
        reasons = [] if ref is None else self._stale_reasons(recipe, ref)
        if (reasons or broken) and not self.catalog.holds(node.stage.name, key):
            older = self._made_before(node, recipe)
            ref, reasons = (ref, reasons) if older is None else (older, [])
        if ref is None:
            return _absent(node, recipe, broken, inputs, key)
        if reasons:
            return Decision(node, "stale", tuple(reasons), recipe, inputs, key, ref)
        problem = self.soundness.part_problem(ref)
        if problem:
            return Decision(node, "failed", (Reason("damaged", after=problem),), recipe, inputs, key, ref)
        reasons = self._data_reasons(node, recipe, inputs, ref, standings)
        if not reasons:  # it was made from more than it reads today
            return Decision(node, "fresh", (), recipe, inputs, ref.key, ref)
        return Decision(node, "outdated" if node.is_model else "stale", tuple(reasons), recipe, inputs, key, ref)

    def _missing_items(self, ref: Ref) -> tuple[Reason, ...]:
        """Say why items of an artifact are missing: they failed, or what was stored for them was damaged."""
        total = ref.count + ref.failed
        lost = lost_items(self.manifest(ref.stage, ref.key))
        reasons = []
        if lost:
            reasons.append(Reason("lost-items", after={"lost": lost, "total": total}))
        if ref.failed > lost:
            reasons.append(Reason("failed-items", after={"failed": ref.failed - lost, "total": total}))
        return tuple(reasons)

    def entries(self, node: Node, split_param: str, standings: Mapping[NodeId, Standing]) -> Entries:
        """List the items that a node works on in one of its splits.

        Items that failed in a map it reads are left out; so are, for a training, those without the ground truth it learns from.
        They are listed once for each state of what the node reads.
        """
        read = [_finished(standings, p.node) for p in node.parents if p.node is not None and not p.is_model]
        name = (node, split_param, *((ref.key, ref.digest) for ref in read))
        if name not in self._entries:
            self._entries[name] = self._list_entries(node, split_param, standings)
        return self._entries[name]

    def _list_entries(self, node: Node, split_param: str, standings: Mapping[NodeId, Standing]) -> Entries:
        """List the items of a node; see ``entries``."""
        at_home, split = split_param == SPLIT_PARAM, node.splits[split_param]
        ids: Sequence[str] = self.data.ids(split)
        columns: dict[str, DigestColumn] = {kind: self.data.column(split, kind) for kind in node.uses(split_param)}
        read: dict[str, tuple[str, Manifest]] = {}
        lacking: set[int] = set()
        for parent in node.parents if at_home else ():
            role = f"@{parent.role}"
            if parent.node is None:
                columns[role] = self.data.column(split, "mask")
                lacking |= {*columns[role].places_of(ABSENT)} if node.is_model else set()
        for parent in node.parents if at_home else ():
            if parent.node is not None and not parent.is_model:
                stage, role = stage_of(parent.instance), f"@{parent.role}"
                read[parent.role] = stage, self.manifest(stage, _finished(standings, parent.node).key)
                columns[role] = item_digests(ids, read[parent.role][1].items)
                lacking |= {*columns[role].places_of(NO_ITEM)}
        if lacking:
            places = [place for place in range(len(ids)) if place not in lacking]
            ids, columns = [ids[k] for k in places], {name: DigestColumn(c[k] for k in places) for name, c in columns.items()}

        def plain(k: int) -> Entry:
            inputs = {name: column[k] for name, column in columns.items()}
            return Entry(ids[k], inputs, {role: (stage, found) for role, (stage, m) in read.items() if (found := m.find(ids[k]))})

        asked = node.asked if at_home else None
        if not (asked or node.stage.overridden or node.stage.attached):
            return Entries(ids, plain, columns)
        entries = [self._with_files(node, asked, plain(k)) for k in range(len(ids))]
        return Entries(ids, entries.__getitem__)

    def _with_files(self, node: Node, asked: str | None, entry: Entry) -> Entry:
        """Add to an item what people and other programs said of it."""
        image_id, inputs = entry.id, dict(entry.inputs)
        correction = attached = None
        if asked:
            inputs["answers"] = self.answers.digest(asked, (image_id,), node.partial)
        if node.stage.overridden:
            inputs["corrections"] = self.corrections.digest(node.instance, (image_id,))
            correction = self.corrections.of(node.instance, image_id)
        if node.stage.attached:
            attached = self.attached.of(node.attached, image_id)
            inputs["attached"] = self.attached.digest(attached)
        said = self.answers.placed(asked, image_id, self.data.dataset) if asked else ()
        return Entry(image_id, inputs, entry.reads, said, correction, attached)

    def item_keys(self, recipe: Mapping[str, Any], node: Node, inputs: Mapping[str, str], entries: Entries) -> KeyTable:
        """Map the id of each item of a map to its key; made once for the last entries asked for of a node."""
        shared = {f"@{p.role}": inputs[p.role] for p in node.parents if p.is_model}
        shared["classes"] = digest(*self._classes)
        way = canonical_json([recipe["params"], shared])
        known = self._keys.get(node)
        if known is None or known[0] is not entries or known[1] != way:
            keys = ItemKeys(node.stage.name, node.stage.version, recipe["params"], shared)
            made = (keys.key(e.inputs) for e in entries) if not entries.columns else keys.column(entries.columns)
            known = self._keys[node] = entries, way, KeyTable(entries.ids, made)
        return known[2]

    def rows(self, node: Node, standings: Mapping[NodeId, Standing]) -> dict[str, list[tuple[str, str]]]:
        """List what a training learns from: name of the split parameter -> ordered (id, digest of what is read of it)."""
        return {
            param: [(e.id, digest(canonical_json(dict(e.inputs)))) for e in self.entries(node, param, standings)] for param in node.splits
        }

    def _ref(self, node_id: NodeId, tag: str | None) -> Ref | None:
        """Read a ref; one that is damaged is none."""
        with suppress(ArtifactError):
            return self.catalog.ref(node_id.instance, node_id.split, tag)
        return None

    def _sound_ref(self, node_id: NodeId) -> tuple[Ref | None, Reason | None]:
        """Read the ref of a node; None where that or what it names cannot be read, and what is wrong with it."""
        ref = self.ref(node_id)
        if ref is None:
            try:
                self.catalog.ref(node_id.instance, node_id.split)
            except ArtifactError as error:
                return None, Reason("damaged", after=str(error))
            return None, None
        if not self.catalog.holds(ref.stage, ref.key):
            return None, Reason("manifest-gone")
        problem = self.soundness.manifest_problem(ref)
        return (None, Reason("damaged", after=problem)) if problem else (ref, None)

    def _inputs(self, node: Node, standings: Mapping[NodeId, Standing]) -> dict[str, str]:
        """Digest what a node reads: the data of each split, and the content of each artifact."""
        inputs = {}
        for param, split in node.splits.items():
            truth: tuple[Kind, ...] = ("mask",) if param == SPLIT_PARAM and any(p.node is None for p in node.parents) else ()
            inputs[f"data of {param}"] = self.data.split(split, tuple(dict.fromkeys((*node.uses(param), *truth))))
        for parent in node.parents:
            if parent.node is not None:
                inputs[parent.role] = _finished(standings, parent.node).digest
        if node.asked:
            inputs["answers"] = self.answers.digest(node.asked, self.data.ids(node.splits[SPLIT_PARAM]), node.partial)
        if node.stage.overridden:
            inputs["corrections"] = self.corrections.digest(node.instance, self.data.ids(node.splits[SPLIT_PARAM]))
        if node.stage.attached:
            inputs["attached"] = self.attached.of_all(node.attached, self.data.ids(node.splits[SPLIT_PARAM]))
        return inputs

    def key(
        self, node: Node, recipe: Mapping[str, Any], inputs: Mapping[str, str], ref: Ref | None, standings: Mapping[NodeId, Standing]
    ) -> str:
        """Key of the artifact that a node needs.

        Args:
            node: The node.
            recipe: How it is made.
            inputs: Digests of what it reads.
            ref: What stands now; it saves the listing of what a training learns from.
            standings: How the nodes that it reads stand.
        """
        own = _own(recipe)
        if not node.is_model:
            return digest("map", canonical_json([*own, dict(inputs)]))
        # Equal inputs make equal rows, so the rows of a training are listed only when something it reads changed.
        if ref is not None and ref.recipe.get("inputs") == inputs and _own(ref.recipe) == own:
            return ref.key
        models = {p.role: inputs[p.role] for p in node.parents if p.is_model}
        return digest("model", canonical_json([*own, models, self.rows(node, standings)]))

    def as_recorded(self, recipe: dict[str, Any], recorded: Mapping[str, Any]) -> dict[str, Any]:
        """Return a recipe with the parameters as they were recorded, where those amount to the same, so that what stands is found."""
        return {**recipe, "params": dict(recorded["params"])} if same_params(recipe, recorded, self._stages) else recipe

    def _stale_reasons(self, recipe: Mapping[str, Any], ref: Ref) -> list[Reason]:
        """List why what stands does not serve for a recipe; both by the declaration of today."""
        return stale_reasons(normal_form(recipe, self._stages), normal_form(ref.recipe, self._stages))

    def _predict(self, node: Node, recipe: dict[str, Any], ref: Ref | None, broken: Reason | None, moving: list[str]) -> Decision:
        """Decide while something that the node reads is going to change."""
        reasons = [] if ref is None else self._stale_reasons(recipe, ref)
        older = self._made_before(node, recipe) if reasons or broken else None
        ref, reasons = (ref, reasons) if older is None else (older, [])
        if ref is None:
            return _absent(node, recipe, broken)
        state: State = "outdated" if node.is_model and not reasons else "stale"
        expected = Reason("will-change", after=list(dict.fromkeys(moving)))
        return Decision(node, state, tuple(reasons) or (expected,), recipe, None, None, ref)

    def _made_before(self, node: Node, recipe: Mapping[str, Any]) -> Ref | None:
        """Find the last model that was made as asked for, from whatever images: back to old parameters, an outdated one serves again."""
        if not node.is_model:
            return None
        names = [name for name in self.catalog.manifests() if name[0] == node.stage.name]
        refs = [manifest.as_ref(*node.id) for manifest in (self.catalog.sound(*name) for name in names) if manifest is not None]
        fitting = [ref for ref in refs if not self._stale_reasons(recipe, ref) and not self.soundness.part_problem(ref)]
        return max(fitting, key=lambda ref: ref.created, default=None)

    def _data_reasons(
        self, node: Node, recipe: Mapping[str, Any], inputs: Mapping[str, str], ref: Ref, standings: Mapping[NodeId, Standing]
    ) -> list[Reason]:
        """Say how the data differs, where everything is made in the same way as before."""
        then_inputs = ref.recipe.get("inputs", {})
        retrained = [
            Reason("model", p.instance, then_inputs.get(p.role), inputs[p.role])
            for p in node.parents
            if p.is_model and then_inputs.get(p.role) != inputs[p.role]
        ]
        manifest = self.manifest(node.stage.name, ref.key)
        if node.is_model:
            then_rows = manifest.meta.get("rows", {})
            reasons = list(retrained)
            for param, rows in self.rows(node, standings).items():
                at_home = param == SPLIT_PARAM
                reasons += data_reasons(dict(rows), dict(then_rows.get(param, ())), trained=at_home, subject="" if at_home else param)
            return reasons
        if retrained:
            return retrained
        now = self.item_keys(recipe, node, inputs, self.entries(node, SPLIT_PARAM, standings))
        if not isinstance(manifest.items, LeafItems) or not now.is_sorted:
            then = {item.id: item.key for item in manifest.items}
            return data_reasons(now, then, trained=False) or [Reason("failed-images")]
        # Where a leaf is the same, none of its items has to be looked at.
        changed: list[dict[str, str]] = [{}, {}]
        same = 0
        for stretch in compare(now, manifest.items):
            same += stretch.stop - stretch.start if stretch.is_same else 0
            if stretch.rows is not None:
                changed[0] |= {image_id: now[image_id] for image_id in now.ids[stretch.start : stretch.stop]}
                changed[1] |= {item.id: item.key for item in stretch.rows}
        return data_reasons(*changed, trained=False, same=same) or [Reason("failed-images")]


def item_digests(ids: Sequence[str], items: Sequence[ManifestItem]) -> DigestColumn:
    """List the content digest of each image in an artifact, ``NO_ITEM`` where it holds none; many are read leaf by leaf."""
    if not isinstance(items, LeafItems) or not rises(ids):
        by_id = {item.id: item.digest for item in items}
        return DigestColumn(by_id.get(image_id, NO_ITEM) for image_id in ids)
    column = DigestColumn()
    for start, stop, leaf in items.stretches(ids):
        rows, wanted = items.rows(leaf), list(ids[start:stop])
        if rows.ids == wanted:
            column.extend(pieces(rows.digests))
        else:
            by_id = dict(zip(rows.ids, pieces(rows.digests), strict=True))
            column.extend([by_id.get(image_id, NO_ITEM) for image_id in wanted])
    return column


def _absent(
    node: Node, recipe: dict[str, Any], broken: Reason | None, inputs: dict[str, str] | None = None, key: str | None = None
) -> Decision:
    """Decide about a node for which nothing stands that can be read: it never ran, or its record is gone or unreadable."""
    reason = broken or Reason("never-ran")
    return Decision(node, "damaged" if reason.kind == "damaged" else "missing", (reason,), recipe, inputs, key, None)


def _own(recipe: Mapping[str, Any]) -> list[Any]:
    """List what a recipe says of the node itself."""
    return [recipe.get(name) for name in ("stage", "version", "params", "classes")]


def without_inputs(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe without the digests that are recorded beside it."""
    return {name: value for name, value in recipe.items() if name != "inputs"}


def _finished(standings: Mapping[NodeId, Standing], node_id: NodeId) -> Ref:
    """Return the finished artifact of a node that is read."""
    ref = standings[node_id].ref
    if ref is None:
        raise ArtifactError(f"{node_id} has never run here. Run: {run_command(*node_id)}")
    return ref
