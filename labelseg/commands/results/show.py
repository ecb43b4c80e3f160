"""``labelseg show``."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from labelseg.commands.advice import show_command
from labelseg.commands.context import Invocation, pass_invocation, talk, tell
from labelseg.commands.tables import bytes_text, printable
from labelseg.errors import MissingArtifactError, UsageError
from labelseg.pipeline.instances import command_on
from labelseg.suggestions import suggestion
from labelseg.wording import seconds_text

if TYPE_CHECKING:
    from labelseg.pipeline.store.manifests import Manifest, Ref
    from labelseg.results.standing import Named
    from labelseg.workspace import Workspace

WORST = 5  # images of least quality that are named


@click.command()
@click.argument("instance", metavar="STAGE")
@click.argument("image", metavar="[IMAGE]", required=False)
@click.option("--split", metavar="SPLIT", help="Split to show.")
@click.option("--tag", metavar="NAME", help="Show what a tag keeps; see: labelseg tag --list")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Draw the image and what the stages made of it, or the curves of a model.",
)
@pass_invocation
def show(
    invocation: Invocation, instance: str, image: str | None, split: str | None, tag: str | None, as_json: bool, plot: Path | None
) -> None:
    """Show the result of a stage: how it was made and from what, metrics, size, classes; or one image of it.

    Each parameter is told with where its value stands now; what was read, with whether it is still what stands. IMAGE is an id, a path
    below the images or a file name that no other image has.
    """
    from labelseg.quality.chain import least_trusted
    from labelseg.results.facts import artifact_facts, item_facts
    from labelseg.results.standing import Named, changes_of_data, classes_of, open_ref

    workspace = invocation.workspace()
    name = Named(instance, tag or "")
    if image is None:
        ref, manifest = _find(workspace, name, split)
        facts = artifact_facts(workspace, ref, manifest)
        if worst := least_trusted(workspace, ref, WORST):
            facts["least_quality"] = {one.id: one.quality for one in worst}
        if plot is not None:
            _plot_curves(manifest, ref, plot)
    else:
        ref, manifest, image_id = _find_image(workspace, name, image, split)
        facts = item_facts(image_id, manifest, open_ref(workspace, ref)[image_id], classes_of(ref, manifest))
        if plot is not None:
            _plot_item(workspace, ref, manifest, image_id, plot)
    if as_json:
        click.echo(json.dumps(facts, indent=2))
    else:
        tell("\n".join(_lines(_readable(facts))))
    if changed := changes_of_data(workspace, classes_of(ref, manifest)):
        talk(f"{Named(instance, ref.tag)} was made with other classes than the data has now: {changed}.")


def _find(workspace: Workspace, name: Named, split: str | None) -> tuple[Ref, Manifest]:
    """Find the artifact that is meant: in the split named, or the first."""
    from labelseg.results.standing import find_refs, load_manifest

    refs = find_refs(workspace, name, split)
    if len(refs) > 1:
        splits = ", ".join(ref.split for ref in refs)
        talk(f"{name} has results for the splits {splits}; showing the first. Choose with --split.")
    return refs[0], load_manifest(workspace, refs[0])


def _find_image(workspace: Workspace, name: Named, image: str, split: str | None) -> tuple[Ref, Manifest, str]:
    """Find the first artifact that holds an image, in the split named or in any, and the id that the image has."""
    from labelseg.results.standing import find_items, find_refs, load_manifest, maker

    refs = find_refs(workspace, name, split)
    if maker(workspace, refs[0]).kind == "model":
        raise UsageError(f"{name} is a model and holds no images. Leave out '{image}'.")
    manifests = [(ref, load_manifest(workspace, ref)) for ref in refs]
    held = _Held([manifest for _, manifest in manifests])
    failures = {failure["id"]: failure["error"] for _, manifest in manifests for failure in manifest.failed if failure["id"] not in held}
    meant = find_items(workspace, image, _Held(held.manifests, failures))
    if len(meant) > 1:
        raise UsageError(f"'{image}' may mean {', '.join(meant[:4])}. Write one of them: {show_command(str(name), meant[0])}")
    for image_id in meant:
        if image_id in failures:
            raise MissingArtifactError(f"{name} failed on {image_id}: {failures[image_id]}")
        return next((ref, manifest, image_id) for ref, manifest in manifests if manifest.find(image_id) is not None)
    raise MissingArtifactError(f"{name} holds no image '{image}'.{_elsewhere(workspace, name, image, held)}")


class _Held(Collection[str]):
    """The images of several artifacts and others, looked up one by one; all are listed only for those who ask."""

    def __init__(self, manifests: list[Manifest], others: Collection[str] = ()) -> None:
        self.manifests = manifests
        self._others = others

    def __contains__(self, image_id: object) -> bool:
        there = isinstance(image_id, str) and any(manifest.find(image_id) is not None for manifest in self.manifests)
        return there or image_id in self._others

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([item.id for manifest in self.manifests for item in manifest.items] + list(self._others)))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _elsewhere(workspace: Workspace, name: Named, image: str, held: Collection[str]) -> str:
    """Say where an image is that a result does not hold."""
    known = workspace.dataset.matches(image)
    if len(known) > 1:
        return f" It may mean {', '.join(known[:4])}."
    if known:
        splits = [split for split in workspace.dataset.splits() if split != "all" and known[0] in workspace.dataset.ids(split)]
        again = workspace.config.command(name.instance, splits[0]) if splits else ""
        where = f"the split {' and '.join(splits)}" if splits else "no split"
        return f" '{known[0]}' is in {where}.{f' To have it: {again}' if again and not name.tag else ''}"
    return suggestion(image, held, listed="It holds")


def _plot_item(workspace: Workspace, ref: Ref, manifest: Manifest, image_id: str, path: Path) -> None:
    """Draw the image, what every stage up to this one made of it, and the truth; one colour never stands for two classes."""
    from labelseg.data.formats.palette import clear_ids
    from labelseg.pipeline.plan.class_lists import mixed_ids
    from labelseg.results.pictures import class_ids_in, draw_sheet, paint_item, save_picture, with_legend
    from labelseg.results.standing import classes_of, open_ref

    classes, image = classes_of(ref, manifest), workspace.dataset.image(image_id)
    clear = clear_ids(classes)
    panels, left_out = [("image", image)], []
    present: set[int] = set()
    for shown in _up_to(workspace, ref):
        artifact = open_ref(workspace, shown)
        if image_id not in artifact:
            continue
        if mixed_ids(classes_of(shown, artifact.manifest), classes):
            left_out.append(shown.instance)
        elif (painted := paint_item(artifact[image_id], image, clear)) is not None:
            panels.append((shown.instance, painted))
            present |= class_ids_in(artifact[image_id])
    if workspace.dataset.has(image_id, "mask") and mixed_ids(workspace.dataset.classes, classes):
        left_out.append("truth")
    elif workspace.dataset.has(image_id, "mask"):
        truth = {"mask": workspace.dataset.mask(image_id)}
        panels += [("truth", painted)] if (painted := paint_item(truth, image, clear)) is not None else []
        present |= class_ids_in(truth)
    save_picture(with_legend(draw_sheet(panels), image_id, classes, present - {*clear}), path)
    talk(f"Drew {', '.join(name for name, _ in panels)}: {path}")
    if left_out:
        talk(f"Left out {', '.join(left_out)}, of other classes: the colours would mix.")


def _up_to(workspace: Workspace, ref: Ref) -> list[Ref]:
    """List the artifacts of a split that lead to one; of one under a tag, or of an instance that is gone, nothing but itself."""
    from labelseg.pipeline.plan.graph import resolve

    if ref.tag or ref.instance not in workspace.config.instances():
        return [ref]
    nodes = [node for node in resolve(workspace.config, ref.instance, ref.split) if node.split == ref.split]
    return [there for node in nodes if (there := workspace.ref(node.instance, node.split)) is not None]


def _plot_curves(manifest: Manifest, ref: Ref, path: Path) -> None:
    """Draw the curves of a model."""
    if not manifest.meta.get("curves"):
        raise UsageError(
            f"{ref.instance} has no curves. Name an image to draw: {command_on('show', ref.instance, '', 'IMAGE', '--plot', str(path))}"
        )
    from labelseg.results.pictures import plot_curves

    plot_curves(manifest.meta["curves"], ref.instance, path)
    talk(f"Drew the curves of {ref.instance}: {path}")


def _readable(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Put what belongs together on one line, and leave out what is empty."""
    told = {name: value for name, value in facts.items() if value not in ("", [], {}) or name in ("split", "failed")}
    if origins := told.pop("origins", None):
        told["parameters"] = {name: f"{_text('', value):<18} {origins[name]}" for name, value in facts["parameters"].items()}
    if "parents" in told:
        words = {True: "still stands", False: "has changed since", None: ""}
        told["parents"] = {role: f"{parent['instance']:<18} {words[parent['stands']]}" for role, parent in facts["parents"].items()}
    return told


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
    return printable(str(value)) if value != {} else ""
