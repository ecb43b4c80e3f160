"""Writing a new ``labelseg.toml``, and paths in it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labelseg.errors import UsageError
from labelseg.pipeline.files.atomic import write_if_absent

COMMENTS = {
    "images": "an image is named by its path below this folder, without extension",
    "labels": "image,labels; an image without a line has unknown tags, an empty cell means no class",
    "masks": "class ids, 255 = ignore",
    "classes": "line k names class k",
    "splits": "NAME.txt lists the images of a split",
    "fractions": "dealt out by a hash of the name, so that an image stays where it is",
    "scenes": "numbers of images to draw",
    "long_side": "pixels that larger photos are worked on at, for speed; masks are written at the size of the files, as without this line",
}


def workspace_text(
    data: Mapping[str, Any],
    target: str,
    split: str,
    tables: Mapping[str, Mapping[str, Any]],
    remarks: Mapping[str, str] | None = None,
) -> str:
    """Write labelseg.toml with comments.

    Args:
        data: The table ``[data]``.
        target, split: What ``labelseg run`` brings up to date.
        tables: Stage -> parameters that differ from the defaults; empty ones are left out.
        remarks: Stage -> comment above its table.
    """
    lines = [
        "# Parameters not set here have the defaults that `labelseg STAGE --help` shows. Options of a command line are written here.",
        "# `labelseg config` shows every value and where it comes from.",
        "",
        "[data]",
        *(f"{key} = {toml_value(value)}{f'  # {COMMENTS[key]}' if key in COMMENTS else ''}" for key, value in data.items()),
        "",
        "# What `labelseg run` brings up to date, and for which images.",
        "[run]",
        f"target = {toml_value(target)}",
        f"split = {toml_value(split)}",
        "",
        "# Background score that class activation maps are compared with; without it `labelseg evaluate` picks the best one.",
        "[evaluate]",
        "# threshold = 0.4",
    ]
    for name, values in tables.items():
        if values:
            remark = [f"# {remarks[name]}"] if remarks and name in remarks else []
            lines += ["", *remark, f"[{name}]", *(f"{key} = {toml_value(value)}" for key, value in values.items())]
    return "\n".join(lines) + "\n"


def toml_value(value: Any) -> str:
    """Write a value as toml does; a table on one line."""
    import tomlkit

    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {toml_value(inner)}" for key, inner in value.items()) + "}"
    return tomlkit.item(list(value) if isinstance(value, tuple) else value).as_string()


def write_new(path: Path, text: str) -> None:
    """Write a file that must not exist yet.

    Raises:
        UsageError: it exists.
    """
    if not write_if_absent(path, text.encode()):
        raise exists_error(path)


def exists_error(path: Path) -> UsageError:
    """Say that a workspace is there already."""
    return UsageError(f"{path} exists. Edit it, or delete it and run init again.")


def located(root: Path, value: str) -> str:
    """Write the path of a file from the current folder as one from the workspace; anything else, such as ``none``, stays."""
    path = Path(value).expanduser()
    return written_path(root, path) if path.exists() else value


def written_path(root: Path, path: Path) -> str:
    """Write a path into labelseg.toml: relative where it lies in the workspace, absolute elsewhere."""
    base, full = os.path.abspath(root), os.path.abspath(path.expanduser())
    return os.path.relpath(full, base) if os.path.commonpath([base, full]) == base else full
