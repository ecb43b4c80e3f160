"""``labelseg show``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from labelseg.commands.context import Invocation, pass_invocation, talk
from labelseg.commands.tables import bytes_text, percent, seconds_text
from labelseg.errors import MissingArtifactError, UsageError
from labelseg.file_kinds import naming

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from labelseg.pipeline.store.manifests import Manifest, Ref
    from labelseg.workspace import Workspace


@click.command()
@click.argument("instance", metavar="STAGE")
@click.argument("image_id", metavar="[IMAGE]", required=False)
@click.option("--split", metavar="SPLIT", help="Split to show.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Draw the image and what the stages made of it, or the curves of a model.",
)
@pass_invocation
def show(invocation: Invocation, instance: str, image_id: str | None, split: str | None, as_json: bool, plot: Path | None) -> None:
    """Show the result of a stage: parameters, metrics, key, size and what it was made from; or one image of it."""
    workspace = invocation.workspace()
    ref, manifest = _find(workspace, instance, image_id, split)
    if image_id is None:
        facts = _artifact_facts(workspace, ref, manifest)
        if plot is not None:
            _plot_curves(manifest, ref, plot)
    else:
        from labelseg.results.scores import open_ref

        facts = _item_facts(workspace, image_id, manifest, open_ref(workspace, ref)[image_id])
        if plot is not None:
            _plot_item(workspace, ref, image_id, plot)
    click.echo(json.dumps(facts, indent=2) if as_json else "\n".join(_lines(facts)))


def _find(workspace: Workspace, instance: str, image_id: str | None, split: str | None) -> tuple[Ref, Manifest]:
    """Find the artifact to show: that of the split named, or the first that holds the image."""
    stage = workspace.config.stage(instance)
    refs = [ref for ref in workspace.catalog.refs() if ref.instance == instance and split in (None, ref.split)]
    manifests = [(ref, manifest) for ref in refs if (manifest := workspace.catalog.load(stage.name, ref.key)) is not None]
    if refs and not manifests:
        command = workspace.config.command(instance, refs[0].split)
        raise MissingArtifactError(f"the manifest of {instance} is gone. Run: {command}")
    if not manifests:
        where = f" on {split}" if split else ""
        raise MissingArtifactError(f"{instance} has never run here{where}. Run: {workspace.config.command(instance, split or '')}")
    if image_id is None:
        if len(manifests) > 1:
            splits = ", ".join(ref.split for ref, _ in manifests)
            talk(f"{instance} has results for the splits {splits}; showing the first. Choose with --split.")
        return manifests[0]
    if stage.kind == "model":
        raise UsageError(f"{instance} is a model and holds no images. Leave out '{image_id}'.")
    for ref, manifest in manifests:
        if any(item.id == image_id for item in manifest.items):
            return ref, manifest
    for _, manifest in manifests:
        for failure in manifest.failed:
            if failure["id"] == image_id:
                raise MissingArtifactError(f"{instance} failed on {image_id}: {failure['error']}")
    raise MissingArtifactError(f"{instance} holds no image '{image_id}'. The first it holds: {manifests[0][1].items[0].id}")


def _artifact_facts(workspace: Workspace, ref: Ref, manifest: Manifest) -> dict[str, Any]:
    """Collect what is recorded about an artifact."""
    parts = {item.part for item in manifest.items}
    facts: dict[str, Any] = {
        "instance": ref.instance,
        "split": ref.split,
        "key": manifest.key,
        "created": manifest.created,
        "seconds": manifest.seconds,
        "device": manifest.device,
        "items": len(manifest.items),
        "failed": manifest.failed,
        "parts": len(parts),
        "bytes": sum(_part_bytes(workspace, manifest.stage, part) for part in parts),
        "parameters": manifest.params,
        "reads": _lineage(ref.recipe),
        "libraries": manifest.libraries,
    }
    if "metrics" in manifest.meta:
        facts["metrics"] = manifest.meta["metrics"]
        facts["network"] = {key: value for key, value in manifest.meta["model"].items() if key != "classes"}
    return facts


def _lineage(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Map each role to the instance that plays it and to what that reads in turn."""
    found: dict[str, Any] = {}
    for role, source in recipe.get("sources", {}).items():
        inner = _lineage(source["recipe"]) if source.get("recipe") else {}
        found[role] = {source["instance"]: inner} if inner else source["instance"]
    return found


def _part_bytes(workspace: Workspace, stage: str, part: str) -> int:
    """Count the bytes of a part on disk."""
    from labelseg.pipeline.store.headers import part_path

    return sum(file.stat().st_size for file in part_path(workspace.folder, stage, part).rglob("*") if file.is_file())


def _item_facts(workspace: Workspace, image_id: str, manifest: Manifest, arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Collect what an item holds."""
    item = next(item for item in manifest.items if item.id == image_id)
    facts: dict[str, Any] = {"image": image_id, "key": item.key, "digest": item.digest, "part": item.part, "arrays": {}}
    for name, array in arrays.items():
        shape = " x ".join(map(str, array.shape)) or "one number"
        span = f", {array.min():.4g} to {array.max():.4g}" if array.size else ", empty"
        facts["arrays"][name] = f"{array.dtype} {shape}{span}"
    if "mask" in arrays:
        facts["mask"] = _class_shares(workspace, arrays["mask"])
    return facts


def _class_shares(workspace: Workspace, mask: NDArray[Any]) -> dict[str, str]:
    """Map each class in a mask to its share of the pixels."""
    import numpy as np

    ids, counts = np.unique(mask, return_counts=True)
    names = {255: "ignore", **dict(enumerate(workspace.dataset.classes))}
    return {names.get(int(k), str(k)): f"{percent(int(count) / mask.size)} %" for k, count in zip(ids, counts, strict=True)}


def _plot_item(workspace: Workspace, ref: Ref, image_id: str, path: Path) -> None:
    """Draw the image, what every stage up to this one made of it, and the truth."""
    from labelseg.pipeline.plan.graph import resolve
    from labelseg.results.pictures import draw_sheet, paint_item
    from labelseg.results.scores import open_ref

    image = workspace.dataset.image(image_id)
    panels = [("image", image)]
    for node in resolve(workspace.config, ref.instance, ref.split):
        there = workspace.ref(node.instance, node.split) if node.split == ref.split else None
        artifact = open_ref(workspace, there) if there is not None else {}
        painted = paint_item(artifact[image_id], image) if image_id in artifact else None
        if painted is not None:
            panels.append((node.instance, painted))
    if workspace.dataset.has(image_id, "mask"):
        painted = paint_item({"mask": workspace.dataset.mask(image_id)}, image)
        panels += [("truth", painted)] if painted is not None else []
    with naming(path):
        draw_sheet(panels).save(path)
    talk(f"Drew {', '.join(name for name, _ in panels)}: {path}")


def _plot_curves(manifest: Manifest, ref: Ref, path: Path) -> None:
    """Draw the curves of a model."""
    if not manifest.meta.get("curves"):
        raise UsageError(f"{ref.instance} has no curves. Name an image to draw: labelseg show {ref.instance} IMAGE --plot {path}")
    from labelseg.results.pictures import plot_curves

    plot_curves(manifest.meta["curves"], ref.instance, path)
    talk(f"Drew the curves of {ref.instance}: {path}")


def _lines(facts: Mapping[str, Any], depth: int = 0) -> Iterator[str]:
    """Write facts line by line, nested ones further in."""
    for name, value in facts.items():
        lead = f"{'  ' * depth}{name}"
        if isinstance(value, Mapping) and value:
            yield lead
            yield from _lines(value, depth + 1)
        elif name == "failed" and isinstance(value, list):
            yield f"{lead:<22} {len(value)}"
            yield from (f"{'  ' * (depth + 1)}{failure['id']}: {failure['error']}" for failure in value[:10])
        else:
            yield f"{lead:<22} {_text(name, value)}".rstrip()


def _text(name: str, value: Any) -> str:
    """Write one value."""
    if name == "bytes":
        return bytes_text(value)
    if name == "seconds":
        return seconds_text(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(_text("", part) for part in value)
    return str(value) if value != {} else ""
