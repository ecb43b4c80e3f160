"""``labelseg data``: further data sets beside the first one."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from labelseg.commands.context import Invocation, no_wait, pass_invocation, talk, tell
from labelseg.commands.setup.data_options import ending_option, file_option, folder_option, scenes_option, share_option
from labelseg.commands.tables import format_table
from labelseg.commands.workspace_file import written_path
from labelseg.errors import UsageError
from labelseg.pipeline.files.locks import workspace_lock


@click.group()
def data() -> None:
    """Further data sets beside the first one, such as the domain that a segmenter is to be carried over to."""


@data.command()
@click.argument("name")
@click.option("--images", **folder_option("Folder of images: jpg, png, webp, bmp, tiff."))
@click.option("--masks", **folder_option("True masks, to evaluate or to answer questions with; index or palette PNG, 255 = ignore."))
@click.option("--image-suffix", **ending_option("images, such as _leftImg8bit,"))
@click.option("--mask-suffix", **ending_option("masks, such as _mask or _gtFine_labelIds,"))
@click.option("--classes", **file_option("Class names, where the masks count them in another order than those of the first data set."))
@click.option("--splits", **folder_option("Folder of lists of images, such as train.txt and val.txt."))
@click.option("--val", **share_option("Share of the images to hold out as val."))
@click.option("--label-map", metavar="NAME", help="Published ids that the masks hold: cityscapes, gta5, synthia, cityscapes-16, gta5-16.")
@click.option("--scenes", **scenes_option("Built-in scenes at dusk"))
@no_wait
@pass_invocation
def add(
    invocation: Invocation,
    name: str,
    images: Path | None,
    masks: Path | None,
    classes: Path | None,
    splits: Path | None,
    val: float | None,
    label_map: str | None,
    image_suffix: str | None,
    mask_suffix: str | None,
    scenes: int | None,
) -> None:
    """Add a data set under NAME, such as target; nothing is copied.

    Its images are called NAME:..., its splits NAME:train, NAME:val and so on: labelseg segment --split target:val. It has the classes of
    the first data set; where lists differ in more than their order it is refused.
    """
    from labelseg.data.dataset import KEYS
    from labelseg.data.domains.joint_dataset import check_name
    from labelseg.workspace import open_data

    workspace = invocation.workspace()
    check_name(name, KEYS)
    if (images is None) == (scenes is None):
        raise UsageError(f"data add {name}: give either --images DIR or --scenes.")
    table: dict[str, Any]
    if scenes is None:
        paths = {"images": images, "masks": masks, "classes": classes, "splits": splits}
        table = {key: written_path(workspace.root, path) for key, path in paths.items() if path is not None}
        table |= {"fractions": {"val": val, "seed": 0}} if val else {}
        named = {"label_map": label_map, "image_suffix": image_suffix, "mask_suffix": mask_suffix}
        table |= {key: value for key, value in named.items() if value}
    else:
        if masks or classes or splits or val or label_map or image_suffix or mask_suffix:
            raise UsageError(f"data add {name}: scenes have masks and splits of their own. Leave out all options but --scenes.")
        own = workspace.config.data.get("scenes", {})
        seed = own.get("seed", 0) + 1 if isinstance(own, dict) else 1
        table = {"scenes": {"train": scenes, "val": max(scenes // 2, 1), "style": "dusk", "seed": seed}}
    with workspace_lock(workspace.folder, "labelseg data add", invocation.wait):
        if name in workspace.config.data and workspace.config.data[name] != table:
            where = workspace.config.path
            raise UsageError(f"data add {name}: there is one already. Edit [data.{name}] in {where}, or choose another name.")
        dataset = open_data(workspace.root, {**workspace.config.data, name: table})
        own_splits = [split for split in dataset.splits() if split.startswith(f"{name}:")]
        rows = [(split, len(ids), sum(dataset.has(i, "mask") for i in ids)) for split in own_splits for ids in (dataset.ids(split),)]
        for split in dataset.splits():
            dataset.ids(split)  # refuses what collides
        workspace.write_config("data", {name: _toml_table(table)})
        watched = f"{name}:val"
        if any(split == watched and masks for split, _, masks in rows):
            for stage in invocation.stages:
                if stage.home.startswith(f"{name}:") and any(f.name == "validation" for f in fields(stage.params)):
                    workspace.write_config(stage.name, {"validation": watched})
    tell(format_table(("SPLIT", "IMAGES", "MASKS"), [(s, f"{n:,}", f"{m:,}") for s, n, m in rows], right=("IMAGES", "MASKS")))
    talk(f"Wrote [data.{name}] to {workspace.config.path}.")


def _toml_table(values: dict[str, Any]) -> Any:
    """Make a toml table of its own, tables within it on one line, and a blank line after it."""
    import tomlkit

    table = tomlkit.table()
    for key, value in values.items():
        inner = value
        if isinstance(value, dict):
            inner = tomlkit.inline_table()
            inner.update(value)
        table.add(key, inner)
    table.add(tomlkit.nl())
    return table
