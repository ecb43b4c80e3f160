"""``labelseg export``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from labelseg.commands.context import Invocation, pass_invocation, talk
from labelseg.commands.results.outputs import demand_own_folder, refuse_other_classes, write_classes
from labelseg.errors import ItemsFailedError, UsageError
from labelseg.exchange import WRITTEN
from labelseg.pipeline.files.paths import output_below
from labelseg.pipeline.instances import command_on, stage_of
from labelseg.wording import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from labelseg.pipeline.store.artifacts import Artifact
    from labelseg.pipeline.store.manifests import Ref
    from labelseg.results.exchange.mask_export import Choices
    from labelseg.results.standing import Named
    from labelseg.workspace import Workspace


@click.command()
@click.argument("instance", metavar="STAGE")
@click.option(
    "--split",
    "splits",
    metavar="SPLIT",
    multiple=True,
    default=("train",),
    show_default=True,
    help="Split whose masks to write; may be given several times.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="DIR", help="Folder to write masks to; for cvat a file FILE.zip.")
@click.option(
    "--format",
    "form",
    type=click.Choice(("png", *WRITTEN)),
    default="png",
    show_default=True,
    help="What to write; docs/formats.md tells what each is for.",
)
@click.option(
    "--grey", is_flag=True, help="Write class ids as grey values, without colours: for programs that read a palette as colours; png only."
)
@click.option("--overlay", is_flag=True, help="Write overlays/NAME.jpg as well: the mask over the image; png only.")
@click.option("--polygons", is_flag=True, help="Write polygons in place of run lengths; coco only.")
@click.option("--images", is_flag=True, help="Copy the images as well; coco and coco-semantic, which can do without.")
@click.option("--min-confidence", type=click.FloatRange(0, 1), metavar="P", help="Write 255 (unknown) where the confidence is below P.")
@click.option(
    "--min-quality",
    type=click.FloatRange(0, 1),
    metavar="Q",
    help="Leave out images whose masks are of quality below Q; see: labelseg quality",
)
@click.option(
    "--model", "model_file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write a model as .safetensors."
)
@click.option("--tag", metavar="NAME", help="Write what a tag keeps; see: labelseg tag --list")
@pass_invocation
def export(
    invocation: Invocation,
    instance: str,
    splits: tuple[str, ...],
    output: Path | None,
    form: str,
    grey: bool,
    overlay: bool,
    polygons: bool,
    images: bool,
    min_confidence: float | None,
    min_quality: float | None,
    model_file: Path | None,
    tag: str | None,
) -> None:
    """Write the masks of a stage as palette PNG or in the format of another tool, or a model as safetensors.

    Masks hold class ids in the colours of Pascal VOC, under the names of their images; classes.txt names the classes
    that they were made with. Other formats are written as a whole, to a place where nothing is yet. A model file can be given to
    `--weights`.
    """
    from labelseg.results.standing import Named, find_refs

    workspace = invocation.workspace()
    name = Named(instance, tag or "")
    stage = workspace.stages.get(stage_of(instance)) or workspace.config.stage(instance)
    if stage.kind == "model":
        if model_file is None or output is not None:
            raise UsageError(f"{instance} is a model. Name a file: {command_on('export', instance, '', '--model', 'FILE.safetensors')}")
        _export_model(workspace, find_refs(workspace, name)[0], model_file)
        return
    if not stage.has_masks:
        able = [s.name for s in workspace.stages.values() if s.has_masks]
        raise UsageError(f"{instance} makes no masks. Name one of: {', '.join(able)}.")
    if output is None or model_file is not None:
        raise UsageError(f"{instance} makes masks. Name a folder: {command_on('export', instance, '', '-o', 'DIR')}")
    if form != "png" and (grey or overlay):
        raise UsageError(f"export --format {form}: --grey and --overlay belong to png.")
    if form == "png" and (polygons or images):
        raise UsageError("export: --polygons and --images belong to other formats. Name one: --format coco")
    from labelseg.results.exchange.mask_export import Choices, demand_confidence, refuse_choices
    from labelseg.results.standing import changes_of_data, missing_items

    if min_quality is not None and tag is not None:
        raise UsageError("export: --min-quality is told of what stands, not of what a tag keeps. Leave one out.")
    demand_own_folder(workspace, output)
    choices = Choices(polygons, images, min_confidence)
    if form != "png":
        refuse_choices(form, output, choices)
    artifacts, refs, classes = _opened(workspace, name, splits)
    if min_quality is not None:
        artifacts = {ref.split: _trusted(workspace, ref, artifacts[ref.split], min_quality) for ref in refs}
    if min_confidence is not None:
        for artifact in artifacts.values():
            demand_confidence(artifact, str(name))
    if form == "png":
        _export_png(workspace, name, artifacts, classes, output, min_confidence, grey=grey, overlay=overlay)
        failed: dict[str, str] = {}
    else:
        failed = _export_format(workspace, name, artifacts, classes, output, form, choices)
    for ref in refs:
        if missing := missing_items(ref):
            talk(missing)
    if changed := changes_of_data(workspace, classes):
        talk(f"{name} was made with other classes than the data has now ({changed}): classes are named as those of the masks.")
    if failed:
        raise ItemsFailedError(f"{counted(len(failed), 'mask')} could not be written. The first: {next(iter(failed.values()))}")


def _opened(workspace: Workspace, name: Named, splits: tuple[str, ...]) -> tuple[dict[str, Artifact], list[Ref], tuple[str, ...]]:
    """Open what is to be written of each split; all must have been made with the same classes.

    Raises:
        UsageError: an id means one class in a split and another one in the next.
    """
    from labelseg.pipeline.plan.class_lists import mix_text, mixed_ids
    from labelseg.results.standing import classes_of, find_refs, open_ref

    artifacts: dict[str, Artifact] = {}
    refs: list[Ref] = []
    classes: tuple[str, ...] = ()
    for split in dict.fromkeys(splits):
        (ref,) = find_refs(workspace, name, split)
        artifact = open_ref(workspace, ref)
        own = classes_of(ref, artifact.manifest)
        if mixed_ids(own, classes):
            raise UsageError(f"{name} was made with other classes on {split}: {mix_text(own, classes)}. Export one split at a time.")
        classes = max(classes, own, key=len)
        artifacts[split] = artifact
        refs.append(ref)
    return artifacts, refs, classes


def _trusted(workspace: Workspace, ref: Ref, artifact: Artifact, least: float) -> Artifact:
    """Take out the images whose masks are not trusted, and name them; those of which nothing is known stay.

    A whole image goes, not a class of it: where a mask is wrong, what it lacks is called background, and 255 on the class alone would
    leave that as it is.
    """
    from labelseg.pipeline.engines.progress import show_progress
    from labelseg.quality.measuring import measure
    from labelseg.wording import some_of

    with show_progress(len(artifact), f"quality {ref.instance}") as progress:
        measured, _ = measure(workspace, ref, step=progress.update)
    low = {image.id for image in measured.images if image.quality is not None and image.quality < least}
    if low:
        talk(f"Left out {counted(len(low), 'image')} of {len(artifact):,} whose quality is below {least:g}: {some_of(sorted(low))}.")
    return artifact.only({*artifact} - low)


def _export_png(
    workspace: Workspace,
    name: Named,
    artifacts: Mapping[str, Artifact],
    classes: tuple[str, ...],
    output: Path,
    min_confidence: float | None,
    *,
    grey: bool,
    overlay: bool,
) -> None:
    """Write a palette PNG, or a grey one, for every mask, and the classes."""
    from labelseg.data.formats.palette import clear_ids
    from labelseg.data.formats.png import export_masks
    from labelseg.pipeline.engines.progress import show_progress

    if output.exists() and not output.is_dir():
        raise UsageError(f"-o {output}: expected a folder, found a file. Choose another name.")
    refuse_other_classes(output, str(name), classes)
    with show_progress(sum(map(len, artifacts.values())), f"export {name.instance}") as progress:
        image_of = workspace.dataset.at_file_size().image if overlay else None
        masks = _masks(workspace, artifacts, output, min_confidence, progress, overlay=overlay)
        count = export_masks(masks, output, image_of, grey=grey, clear=clear_ids(classes))
    write_classes(output, classes)
    talk(f"Wrote {counted(count, 'mask')} and classes.txt to {output}.")


def _export_format(
    workspace: Workspace,
    name: Named,
    artifacts: Mapping[str, Artifact],
    classes: tuple[str, ...],
    output: Path,
    form: str,
    choices: Choices,
) -> dict[str, str]:
    """Write the format of another tool; the images that could not be written, and why."""
    from labelseg.pipeline.engines.progress import show_progress
    from labelseg.results.exchange.mask_export import export_as

    with show_progress(sum(map(len, artifacts.values())), f"export {name.instance}") as progress:
        done = export_as(workspace, artifacts, classes, output, form, choices, lambda: progress.update(1))
    talk(f"Wrote {counted(done.masks, 'mask')} to {output} as {form}.")
    for line in done.losses:
        talk(line)
    return done.failed


def _masks(
    workspace: Workspace, artifacts: Mapping[str, Artifact], output: Path, min_confidence: float | None, progress: Any, *, overlay: bool
) -> Iterator[tuple[str, NDArray[Any]]]:
    """Read one mask after the other; none whose id leads out of the folder, by its name or by a link."""
    from labelseg.results.exchange.mask_export import read_mask

    for artifact in artifacts.values():
        for image_id in artifact:
            output_below(output, f"{image_id}.png")
            if overlay:
                output_below(output, "overlays", f"{image_id}.jpg")
            yield image_id, read_mask(workspace, artifact, image_id, min_confidence)
            progress.update(1)


def _export_model(workspace: Workspace, ref: Ref, path: Path) -> None:
    """Write the tensors of a model, with a header from which the network can be rebuilt."""
    import numpy as np
    from safetensors.numpy import save

    from labelseg.pipeline.files.atomic import write_atomically
    from labelseg.pipeline.store.artifacts import read_model
    from labelseg.results.standing import load_manifest

    if path.suffix != ".safetensors":
        raise UsageError(f"--model {path}: expected a file name that ends in .safetensors.")
    model = read_model(workspace.store, load_manifest(workspace, ref))
    header = {"instance": ref.instance, "key": ref.key, "meta": json.dumps(model.meta), "metrics": json.dumps(model.metrics)}
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in model.tensors.items()}
    write_atomically(path, _in_order(save(tensors, metadata=header)))
    talk(f"Wrote {counted(len(model.tensors), 'tensor')} to {path}.")


def _in_order(file: bytes) -> bytes:
    """Sort the metadata of a safetensors file, which the library writes in an order that differs between processes."""
    end = 8 + int.from_bytes(file[:8], "little")
    header = json.loads(file[8:end])
    text = json.dumps({**header, "__metadata__": dict(sorted(header["__metadata__"].items()))}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8
    return len(text).to_bytes(8, "little") + text + file[end:]
