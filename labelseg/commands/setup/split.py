"""``labelseg split``."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import click

from labelseg.commands.context import Invocation, no_wait, pass_invocation, talk, tell
from labelseg.commands.tables import format_table
from labelseg.commands.workspace_file import written_path
from labelseg.errors import DataError, UsageError
from labelseg.file_kinds import read_file
from labelseg.pipeline.files.atomic import write_atomically
from labelseg.pipeline.files.locks import workspace_lock

if TYPE_CHECKING:
    from labelseg.protocols import Dataset
    from labelseg.workspace import Workspace

FOLDER = "splits"
REST = "_rest"
LONGEST = 200  # bytes of the name of a list


@click.command()
@click.option(
    "--labelled", type=click.IntRange(min=1), metavar="N", help="Number of images to label, chosen so that classes keep their shares."
)
@click.option(
    "--list",
    "listed",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Label the images of this list instead, such as a published one.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the choice.")
@click.option("--nested", is_flag=True, help="Let the choices of one seed contain each other: 183 images hold the 92.")
@click.option("--from", "source", default="train", show_default=True, metavar="SPLIT", help="Split to choose from.")
@click.option(
    "--rest", "rest_of", metavar="SPLIT", show_default="that of --from", help="Split whose remaining images are the unlabelled ones."
)
@click.option(
    "--name", metavar="NAME", show_default="derived from the options", help="Name of the list; the unlabelled images are NAME_rest."
)
@click.option("--use/--no-use", default=True, show_default=True, help="Let the stages that learn from few masks train on these lists.")
@no_wait
@pass_invocation
def split(
    invocation: Invocation,
    labelled: int | None,
    listed: Path | None,
    seed: int,
    nested: bool,
    source: str,
    rest_of: str | None,
    name: str | None,
    use: bool,
) -> None:
    """Divide a split into few labelled and many unlabelled images, as two lists in the folder splits of the workspace.

    Images are chosen among those with masks, if there are any masks at all, by the classes in their tags or else in their masks. Lists
    are named by their origin: train_92_seed0 and train_92_seed0_rest.
    """
    if (labelled is None) == (listed is None):
        raise UsageError("split: give either --labelled N or --list FILE.")
    workspace = invocation.workspace()
    dataset = workspace.dataset
    if listed is not None:
        from labelseg.data.folder.splits import read_split

        name, chosen = name or listed.stem, read_split(listed, dataset)
        if not chosen:
            raise DataError(f"{listed}: names no image.")
        classes_of = _classes(dataset, chosen)
    else:
        from labelseg.data.folder.choosing import choose_images

        classes_of = _classes(dataset, _candidates(dataset, source))
        chosen = choose_images(classes_of, labelled or 0, seed, nested)
        name = name or f"{source}_{labelled}_{'nested' if nested else 'seed'}{seed}"
    taken = set(chosen)
    rest = [image_id for image_id in dataset.ids(rest_of or source) if image_id not in taken]
    if not rest:
        raise UsageError(f"split: no image of '{rest_of or source}' is left unlabelled. Label fewer, or name a larger split: --rest SPLIT")
    _demand_main(dataset, [*chosen, *rest])
    with workspace_lock(workspace.folder, "labelseg split", invocation.wait):
        _write(workspace, {name: chosen, f"{name}{REST}": rest})
        used = _use(workspace, name) if use else []
    tell(_report(dataset, name, chosen, rest, classes_of))
    if not any(dataset.has(image_id, "mask") for image_id in chosen):
        talk(
            f"warning: no image of {name} has a mask, which trainings from few masks learn from. Draw masks of these, and name "
            "their folder: labelseg config data.masks DIR"
        )
    talk(f"Wrote {workspace.root / FOLDER / name}.txt and {name}{REST}.txt{'; used by ' + ', '.join(used) if used else ''}.")


def _demand_main(dataset: Dataset, ids: list[str]) -> None:
    """Refuse images of a further data set: lists of these lie in a folder of their own."""
    if others := getattr(dataset, "others", {}):
        foreign = next((image_id for image_id in ids if image_id.partition(":")[0] in others), None)
        if foreign is not None:
            name = foreign.partition(":")[0]
            raise UsageError(f"split: '{foreign}' is of the data set '{name}'. Write its lists by hand: splits under [data.{name}]")


def _candidates(dataset: Dataset, source: str) -> list[str]:
    """List the images that may be labelled: those with masks, or all where nothing has a mask yet."""
    ids = dataset.ids(source)
    return [image_id for image_id in ids if dataset.has(image_id, "mask")] or ids


def _classes(dataset: Dataset, ids: list[str]) -> dict[str, tuple[int, ...]]:
    """List the classes of images: their tags, or those in their masks, background left out; none where nothing is known.

    An image whose tags or mask cannot be read is left out.

    Raises:
        DataError: none can be read.
    """
    import numpy as np

    first, whole = 1 if dataset.has_background else 0, dataset.at_file_size()
    found: dict[str, tuple[int, ...]] = {}
    refused: list[DataError] = []
    for image_id in ids:
        try:
            if dataset.has(image_id, "tags"):
                found[image_id] = dataset.tags(image_id) or ()
            elif dataset.has(image_id, "mask"):
                found[image_id] = tuple(int(k) for k in np.unique(whole.mask(image_id)) if first <= k < len(dataset.classes))
            else:
                found[image_id] = ()
        except DataError as error:
            talk(f"left out of the choice: {error}")
            refused.append(error)
    if not found:
        raise refused[0]
    return found


def _write(workspace: Workspace, lists: dict[str, list[str]]) -> None:
    """Write lists into the workspace, and add their folder to [data]."""
    from labelseg.data.dataset import split_folders

    for name in lists:
        if name.startswith(".") or len(name.encode()) > LONGEST or not name.isprintable() or Path(name).name != name:
            raise UsageError(f"split --name {name!r}: expected a plain name of a file of at most {LONGEST} bytes, such as few.")
    folder = workspace.root / FOLDER
    texts = {folder / f"{name}.txt": b"".join(map(_line, ids)) for name, ids in lists.items()}
    for path, text in texts.items():
        if path.exists() and read_file(path) != text:
            raise UsageError(f"{path} lists other images. Name the new lists: --name NAME")
        if path.stem in workspace.dataset.splits() and not path.exists():
            raise UsageError(f"the data has a split '{path.stem}' already. Name the new lists: --name NAME")
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        write_atomically(path, text)
    known = split_folders(workspace.root, workspace.config.data)
    if folder.resolve() not in [path.resolve() for path in known]:
        paths = [written_path(workspace.root, path) for path in (*known, folder)]
        workspace.write_config("data", {"splits": paths if len(paths) > 1 else paths[0]})


def _line(image_id: str) -> bytes:
    """Write the line of an image.

    Raises:
        DataError: its name is not UTF-8, which a list has to be.
    """
    try:
        return f"{image_id}\n".encode()
    except UnicodeEncodeError as error:
        raise DataError(f"image {image_id!a}: lists are UTF-8, and this file name is not. Rename the file.") from error


def _use(workspace: Workspace, name: str) -> list[str]:
    """Let every stage that learns from labelled and unlabelled images use the lists; their names."""
    used = [stage.name for stage in workspace.stages.values() if any(f.name == "unlabelled" for f in fields(stage.params))]
    for stage in used:
        workspace.write_config(stage, {"split": name, "unlabelled": f"{name}{REST}"})
    return used


def _report(dataset: Dataset, name: str, chosen: list[str], rest: list[str], classes_of: dict[str, tuple[int, ...]]) -> str:
    """Write how many images there are, and in how many of the chosen ones each class is."""
    splits = format_table(
        ("SPLIT", "IMAGES", "MASKS"),
        [(split, f"{len(ids):,}", f"{sum(dataset.has(i, 'mask') for i in ids):,}") for split, ids in ((name, chosen), (name + REST, rest))],
        right=("IMAGES", "MASKS"),
    )
    first = 1 if dataset.has_background else 0
    counts = [
        (title, sum(k in classes_of.get(image_id, ()) for image_id in chosen)) for k, title in enumerate(dataset.classes) if k >= first
    ]
    return f"{splits}\nlabelled images that hold each class: {', '.join(f'{title} {count:,}' for title, count in counts)}"
