"""``labelseg export``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from labelseg.commands.context import Invocation, pass_invocation, talk
from labelseg.commands.results.outputs import demand_own_folder
from labelseg.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from labelseg.pipeline.store.artifacts import Artifact
    from labelseg.workspace import Workspace


@click.command()
@click.argument("instance", metavar="STAGE")
@click.option("--split", metavar="SPLIT", default="train", show_default=True, help="Split whose masks to write.")
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Folder to write masks to.")
@click.option("--overlay", is_flag=True, help="Write NAME.overlay.jpg as well: the mask over the image.")
@click.option(
    "--model", "model_file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write a model as .safetensors."
)
@pass_invocation
def export(invocation: Invocation, instance: str, split: str, output: Path | None, overlay: bool, model_file: Path | None) -> None:
    """Write the masks of a stage as palette PNG, or a model as safetensors.

    Masks hold class ids in the colours of Pascal VOC, under the names of their images. A model file can be given to `--weights`.
    """
    workspace = invocation.workspace()
    stage = workspace.config.stage(instance)
    if stage.kind == "model":
        if model_file is None or output is not None:
            raise UsageError(f"{instance} is a model. Name a file: labelseg export {instance} --model FILE.safetensors")
        _export_model(workspace, instance, model_file)
        return
    if not stage.has_masks:
        able = [s.name for s in workspace.stages.values() if s.has_masks]
        raise UsageError(f"{instance} makes no masks. Name one of: {', '.join(able)}.")
    if output is None or model_file is not None:
        raise UsageError(f"{instance} makes masks. Name a folder: labelseg export {instance} -o DIR")
    from labelseg.data.formats.png import export_masks
    from labelseg.pipeline.engines.progress import show_progress

    demand_own_folder(workspace, output)
    artifact = workspace[instance, split]
    with show_progress(len(artifact), f"export {instance}") as progress:
        count = export_masks(_masks(artifact, progress), output, workspace.dataset.image if overlay else None)
    (output / "classes.txt").write_text("".join(f"{name}\n" for name in workspace.dataset.classes), encoding="utf-8")
    talk(f"Wrote {count:,} masks and classes.txt to {output}.")


def _masks(artifact: Artifact, progress: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    """Read one mask after the other."""
    for image_id in artifact:
        yield image_id, artifact[image_id]["mask"]
        progress.update(1)


def _export_model(workspace: Workspace, instance: str, path: Path) -> None:
    """Write the tensors of a model, with a header from which the network can be rebuilt."""
    import numpy as np
    from safetensors.numpy import save

    from labelseg.pipeline.files.atomic import write_atomically

    if path.suffix != ".safetensors":
        raise UsageError(f"--model {path}: expected a file name that ends in .safetensors.")
    model = workspace.model(instance)
    ref = workspace.ref(instance)
    header = {"instance": instance, "key": ref.key if ref else "", "meta": json.dumps(model.meta), "metrics": json.dumps(model.metrics)}
    write_atomically(path, save({name: np.ascontiguousarray(tensor) for name, tensor in model.tensors.items()}, metadata=header))
    talk(f"Wrote {len(model.tensors):,} tensors to {path}.")
