"""Damage to files of a workspace: by kind of file, and by what is done to it."""

from __future__ import annotations

import random
import re
import shutil
from pathlib import Path

# Kind of file -> which paths below the workspace are of it.
FILE_KINDS = {
    "part header": r"\.labelseg/objects/.*\.zarr/zarr\.json",
    "group of a part": r"\.labelseg/objects/.*\.zarr/data/zarr\.json",
    "header of an array": r"\.labelseg/objects/.*\.zarr/data/[^/]+/zarr\.json",
    "data of a part": r"\.labelseg/objects/.*\.zarr/data/[^/]+/c/.*",
    "manifest": r"\.labelseg/manifests/.*\.json",
    "leaf of items": r"\.labelseg/leaves/.*\.json",
    "leaf of the index": r"\.labelseg/files/.*\.json",
    "ref": r"\.labelseg/refs/.*\.json",
    "marker": r"\.labelseg/runs/markers/.*\.json",
    "log of a run": r"\.labelseg/runs/[^/]+/.*\.jsonl",
    "checkpoint": r"\.labelseg/checkpoints/.*\.safetensors",
    "index of files": r"\.labelseg/files\.json",
    "labelseg.toml": r"labelseg\.toml",
}
SELDOM = ("group of a part", "log of a run", "index of files", "leaf of the index", "marker", "labelseg.toml")  # little to read there
HARMS = ("bit", "digit", "truncate", "delete", "empty", "rubbish", "swap", "copy over")
WHOLE = "part header"  # of these the whole folder is swapped, copied or deleted at times


def files_of(root: Path, kind: str) -> list[Path]:
    """List the files of a kind, in a fixed order."""
    return [p for p in sorted(root.rglob("*")) if p.is_file() and re.fullmatch(FILE_KINDS[kind], p.relative_to(root).as_posix())]


def damage(root: Path, rng: random.Random) -> tuple[str, str]:
    """Damage one file of a workspace.

    Returns:
        The kind of file, and what was done in words.
    """
    there = {kind: found for kind in FILE_KINDS if (found := files_of(root, kind))}
    kind = rng.choices(list(there), [1 if name in SELDOM else 3 for name in there])[0]
    found = there[kind]
    harm = rng.choice(HARMS if len(found) > 1 else [h for h in HARMS if h not in ("swap", "copy over")])
    path = rng.choice(found)
    others = [other for other in found if other != path and other.read_bytes() != path.read_bytes()]
    if harm in ("swap", "copy over") and not others:
        harm = "rubbish"
    other = rng.choice(others) if others else path
    if kind == WHOLE and harm in ("swap", "copy over", "delete") and rng.random() < 0.5:
        path, other = path.parent, other.parent
    name = path.relative_to(root)
    {"swap": swap, "copy over": copy_over}.get(harm, lambda one, two: spoil(one, harm, rng))(path, other)
    return kind, f"{kind}: {harm} {name}" + (f" and {other.relative_to(root)}" if harm in ("swap", "copy over") else "")


def spoil(path: Path, harm: str, rng: random.Random) -> None:
    """Damage one file, or remove a folder."""
    if harm == "delete":
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        return
    data = bytearray(path.read_bytes())
    digits = [k for k, byte in enumerate(data) if chr(byte).isdigit()]
    if harm == "digit" and digits:
        at = rng.choice(digits)
        data[at] = ord(rng.choice([d for d in "0123456789" if ord(d) != data[at]]))
    elif harm == "truncate":
        del data[rng.randrange(max(1, len(data))) :]
    elif harm == "empty":
        data.clear()
    elif harm == "rubbish":
        at = rng.randrange(max(1, len(data)))
        data[at : at + 16] = rng.randbytes(16)
    elif data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def swap(one: Path, other: Path) -> None:
    """Exchange two files or folders."""
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def copy_over(one: Path, other: Path) -> None:
    """Put a copy of one file or folder in the place of another."""
    if one.is_dir():
        shutil.rmtree(other)
        shutil.copytree(one, other)
    else:
        shutil.copyfile(one, other)
