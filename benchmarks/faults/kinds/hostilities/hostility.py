"""One way to prepare a folder with bad intent, and what such ways have in common."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LONGEST = 255  # bytes of a file name


@dataclass(frozen=True)
class Hostility:
    """One way to prepare a workspace.

    Attributes:
        name: What it is, in words.
        prepare: Given the workspace and the folder of the victim, changes them.
        linked: Whether the person linked the victim into the workspace: then it may be read through the link and files may come
            there, and still nothing that lies there may change or go.
        state: What the workspace is before; that with what people said in it has commands of its own.
        in_leaves: Whether the items of its maps and its index of files lie in leaves.
        published: Whether the artifact is one that labelseg itself could have written, names apart: then it may read as it stands.
    """

    name: str
    prepare: Callable[[Path, Path], None]
    linked: bool = False
    published: bool = False
    state: str = "interrupted"
    in_leaves: bool = False


PEOPLE = "people"  # the state of a workspace in which people answered, marked and mended, and shares and tags are begun


def edited(path: Path, **values: Any) -> None:
    """Change values of a JSON record."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def ref(root: Path, name: str = "spread/train") -> Path:
    """The file of a ref."""
    return root / ".labelseg" / "refs" / f"{name}.json"


def manifest(root: Path, name: str = "spread/train") -> Path:
    """The file of the manifest that a ref names."""
    key = json.loads(ref(root, name).read_text())["key"]
    return root / ".labelseg" / "manifests" / name.split("/")[0].split("@")[0] / f"{key}.json"


def part(root: Path, name: str = "spread/train") -> Path:
    """The folder of the first part of an artifact."""
    record = json.loads(manifest(root, name).read_text())
    found = json.loads(leaf(root, name).read_text())["parts"][0] if record.get("leaves") else record["items"][0][2]
    return root / ".labelseg" / "objects" / name.split("/")[0] / found[:2] / f"{found}.zarr"


def leaf(root: Path, name: str = "spread/train") -> Path:
    """The file of the first leaf of an artifact."""
    return root / ".labelseg" / "leaves" / name.split("/")[0] / f"{json.loads(manifest(root, name).read_text())['leaves'][0][2]}.json"


def sealed(path: Path, **values: Any) -> None:
    """Change values of a record and put its seal right again."""
    from labelseg.pipeline.files.seals import BLANK, seal

    edited(path, **values)
    document = json.loads(path.read_text())
    document.pop("seal", None)
    path.write_bytes(seal(json.dumps({**document, "seal": BLANK}).encode()))


def linked(path: Path, target: Path) -> None:
    """Put a link in the place of a file or folder; what was there moves to the target where there is nothing yet."""
    if path.exists() and not target.exists():
        shutil.move(path, target)
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def replaced(path: Path, make: Callable[[Path], Any]) -> None:
    """Put something else in the place of a file or folder."""
    if path.is_dir():
        shutil.rmtree(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    make(path)
