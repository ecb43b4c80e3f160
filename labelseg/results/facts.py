"""What is recorded of an artifact: how it was made, from what, on what, and where its values come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labelseg.pipeline.declare.values import former_names
from labelseg.pipeline.files.paths import size_of
from labelseg.pipeline.plan.graph import GROUND_TRUTH
from labelseg.pipeline.plan.keys import params_json
from labelseg.pipeline.store.headers import part_path
from labelseg.pipeline.store.manifests import Manifest, Ref
from labelseg.results.dependencies import recorded_reads
from labelseg.results.standing import changes_of_data, classes_of
from labelseg.results.tags import tags

if TYPE_CHECKING:
    from labelseg.workspace import Workspace


def kept_metrics(manifest: Manifest) -> Mapping[str, Any]:
    """Read the metrics of a model after the epoch whose weights were kept; nothing of a map."""
    metrics = manifest.meta.get("metrics", {})
    kept = "best" if manifest.params.get("keep") == "best" and "best" in metrics else "last"
    return metrics.get(kept) or {}


def artifact_facts(workspace: Workspace, ref: Ref, manifest: Manifest) -> dict[str, Any]:
    """Collect what is recorded of an artifact.

    Args:
        workspace: The workspace.
        ref: What names the artifact.
        manifest: Its record.

    Returns:
        JSON values. ``parameters`` are those it was made with, ``origins`` tell where each stands now, ``parents`` what it read and
        whether that still stands, ``classes`` the names by id, ``data_changes`` how the classes of the data differ by now.
    """
    parts = set(manifest.parts)
    classes = classes_of(ref, manifest)
    stage = workspace.stages.get(manifest.stage)
    today = {} if stage is None else former_names(stage)
    params = {today.get(name, name): value for name, value in manifest.params.items()}
    facts: dict[str, Any] = {
        "instance": ref.instance,
        "split": ref.split,
        "tag": ref.tag,
        "kept_by": [name for name, refs in tags(workspace).items() if any(_same(ref, kept) for kept in refs)],
        "version": manifest.version,
        "key": manifest.key,
        "run": ref.run,
        "created": manifest.created,
        "seconds": manifest.seconds,
        "device": manifest.device,
        "items": len(manifest.items),
        "failed": manifest.failed,
        "parts": len(parts),
        "bytes": sum(_part_bytes(workspace, manifest.stage, part) for part in parts),
        "classes": list(classes),
        "data_changes": changes_of_data(workspace, classes),
        "parameters": params,
        "origins": origins(workspace, ref.instance, params),
        "splits": manifest.recipe.get("splits", {}),
        "parents": parents(workspace, manifest.recipe, ref.split),
        "reads": _lineage(workspace, manifest.recipe),
        "libraries": manifest.libraries,
    }
    if "metrics" in manifest.meta:
        facts["metrics"] = manifest.meta["metrics"]
        facts["network"] = {key: value for key, value in manifest.meta["model"].items() if key != "classes"}
    return facts


def origins(workspace: Workspace, instance: str, params: Mapping[str, Any]) -> dict[str, str]:
    """Tell of each parameter of an artifact where its value stands: ``default``, a table of the file, an environment variable.

    Where the configuration has another value by now, that is told with where it stands.
    """
    config = workspace.config
    if instance not in config.instances():
        return dict.fromkeys(params, f"{instance} has left {config.path.name}")
    given, now = config.given(instance), params_json(config.params(instance))
    found = {}
    for name, value in params.items():
        where = given[name][1] if name in given else "default"
        if name not in now:
            found[name] = "no parameter any more"
        else:
            found[name] = where if now[name] == value else f"now {_text(now[name])}: {where}"
    return found


def parents(workspace: Workspace, recipe: Mapping[str, Any], split: str) -> dict[str, dict[str, Any]]:
    """Map each parameter that names a source to the instance it named, the split, the digest of what was read, and whether that stands now.

    ``stands`` is None where nothing stands any more, and for the ground truth of the data.
    """
    found: dict[str, dict[str, Any]] = {}
    for role, read in recorded_reads(workspace, recipe, split).items():
        digest = (recipe.get("inputs") or {}).get(role, "")
        there = None if read.instance == GROUND_TRUTH else workspace.ref(read.instance, read.split)
        stands = None if there is None else there.digest == digest
        found[read.role] = {"instance": read.instance, "split": read.split, "digest": digest, "stands": stands}
    return found


def item_facts(image_id: str, manifest: Manifest, arrays: Mapping[str, Any], classes: tuple[str, ...]) -> dict[str, Any]:
    """Collect what an item holds; a mask is told by the classes that the artifact was made with."""
    item = manifest.find(image_id)
    facts: dict[str, Any] = {"image": image_id, "arrays": {}}
    if item is not None:
        facts = {"image": image_id, "key": item.key, "digest": item.digest, "part": item.part, "arrays": {}}
    for name, array in arrays.items():
        shape = " x ".join(map(str, array.shape)) or "one number"
        span = f", {array.min():.4g} to {array.max():.4g}" if array.size else ", empty"
        facts["arrays"][name] = f"{array.dtype} {shape}{span}"
    if "mask" in arrays:
        facts["mask"] = class_shares(arrays["mask"], classes)
    return facts


def class_shares(mask: Any, classes: tuple[str, ...]) -> dict[str, str]:
    """Map the name of each class in a mask to its share of the pixels, as ``12.5 %``."""
    import numpy as np

    ids, counts = np.unique(mask, return_counts=True)
    names = {**dict(enumerate(classes)), 255: "ignore"}
    return {names.get(int(k), str(k)): f"{100 * int(count) / mask.size:.1f} %" for k, count in zip(ids, counts, strict=True)}


def _same(ref: Ref, kept: Ref) -> bool:
    """Whether a tag keeps an artifact."""
    return (ref.instance, ref.split, ref.key) == (kept.instance, kept.split, kept.key)


def _lineage(workspace: Workspace, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Map each parameter that names a source to the instance it named and to what that reads in turn."""
    found: dict[str, Any] = {}
    for role, read in recorded_reads(workspace, recipe, "").items():
        source = recipe["sources"][role]
        inner = _lineage(workspace, source["recipe"]) if source.get("recipe") else {}
        found[read.role] = {source["instance"]: inner} if inner else source["instance"]
    return found


def _part_bytes(workspace: Workspace, stage: str, part: str) -> int:
    """Count the bytes of a part on disk."""
    return size_of(part_path(workspace.folder, stage, part))


def _text(value: Any) -> str:
    """Write a value as a person would."""
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(_text, value)) if isinstance(value, list) else str(value) or "none"
