"""``labelseg export``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from labelseg.commands.context import Invocation, pass_invocation, talk
from labelseg.commands.results.outputs import demand_own_folder, refuse_other_classes, write_classes
from labelseg.errors import UsageError
from labelseg.pipeline.files.paths import below
from labelseg.pipeline.instances import stage_of
from labelseg.wording import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from labelseg.pipeline.store.artifacts import Artifact
    from labelseg.pipeline.store.manifests import Ref
    from labelseg.workspace import Workspace


@click.command()
@click.argument("instance", metavar="STAGE")
@click.option("--split", metavar="SPLIT", default="train", show_default=True, help="Split whose masks to write.")
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Folder to write masks to.")
@click.option("--grey", is_flag=True, help="Write class ids as grey values, without colours: for programs that read a palette as colours.")
@click.option("--overlay", is_flag=True, help="Write NAME.overlay.jpg as well: the mask over the image.")
@click.option(
    "--model", "model_file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write a model as .safetensors."
)
@click.option("--tag", metavar="NAME", help="Write what a tag keeps; see: labelseg tag --list")
@pass_invocation
def export(
    invocation: Invocation,
    instance: str,
    split: str,
    output: Path | None,
    grey: bool,
    overlay: bool,
    model_file: Path | None,
    tag: str | None,
) -> None:
    """Write the masks of a stage as palette PNG, or a model as safetensors.

    Masks hold class ids in the colours of Pascal VOC, under the names of their images; classes.txt names the classes
    that they were made with. A model file can be given to `--weights`.
    """
    from labelseg.results.standing import Named, find_refs

    workspace = invocation.workspace()
    name = Named(instance, tag or "")
    stage = workspace.stages.get(stage_of(instance)) or workspace.config.stage(instance)
    if stage.kind == "model":
        if model_file is None or output is not None:
            raise UsageError(f"{instance} is a model. Name a file: labelseg export {instance} --model FILE.safetensors")
        _export_model(workspace, find_refs(workspace, name)[0], model_file)
        return
    if not stage.has_masks:
        able = [s.name for s in workspace.stages.values() if s.has_masks]
        raise UsageError(f"{instance} makes no masks. Name one of: {', '.join(able)}.")
    if output is None or model_file is not None:
        raise UsageError(f"{instance} makes masks. Name a folder: labelseg export {instance} -o DIR")
    from labelseg.data.formats.palette import clear_ids
    from labelseg.data.formats.png import export_masks
    from labelseg.pipeline.engines.progress import show_progress
    from labelseg.results.standing import changes_of_data, classes_of, missing_items, open_ref

    demand_own_folder(workspace, output)
    (ref,) = find_refs(workspace, name, split)
    artifact = open_ref(workspace, ref)
    classes = classes_of(ref, artifact.manifest)
    refuse_other_classes(output, str(name), classes)
    with show_progress(len(artifact), f"export {instance}") as progress:
        image_of = workspace.dataset.image if overlay else None
        clear = clear_ids(classes)
        count = export_masks(_masks(artifact, output, progress), output, image_of, grey=grey, clear=clear)
    write_classes(output, classes)
    talk(f"Wrote {counted(count, 'mask')} and classes.txt to {output}.")
    if missing := missing_items(ref):
        talk(missing)
    if changed := changes_of_data(workspace, classes):
        talk(f"{name} was made with other classes than the data has now ({changed}): classes.txt names those of the masks.")


def _masks(artifact: Artifact, output: Path, progress: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    """Read one mask after the other; none whose id leads out of the folder, by its name or by a link."""
    for image_id in artifact:
        below(output, f"{image_id}.png")
        yield image_id, artifact[image_id]["mask"]
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
