"""Listing parts and removing what nothing names any more; plain JSON, without zarr."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from labelseg.errors import ArtifactError
from labelseg.pipeline.instances import stage_of
from labelseg.pipeline.store.headers import PartHeader, part_paths
from labelseg.pipeline.store.manifests import Catalog

WRITTEN_ASIDE = ("", "manifests/*/", "refs/*/", "runs/markers/", "locks/")  # folders in which files are written atomically


@dataclass(frozen=True)
class Swept:
    """What a sweep removed, or would remove."""

    manifests: int
    parts: int
    checkpoints: int
    bytes: int


def readable_headers(root: Path, stage: str) -> Iterator[PartHeader]:
    """Read the headers of all parts of a stage, in a fixed order; a part whose header is damaged covers nothing and is left out."""
    for path in part_paths(root, stage):
        try:
            yield PartHeader.read(path)
        except ArtifactError:
            continue


def sweep(
    root: Path,
    keep: Collection[tuple[str, str]] | None = None,
    keep_checkpoints: Collection[tuple[str, str | None]] | None = None,
    *,
    dry_run: bool = False,
) -> Swept:
    """Remove manifests that are not kept, parts that no kept manifest names, checkpoints that are not kept, and everything under ``tmp``.

    Call it under the workspace lock: what a running stage has written so far is named by no manifest yet.

    Args:
        root: The ``.labelseg`` folder.
        keep: (stage, key) of the manifests to keep; None keeps those that a ref names, tagged or not.
        keep_checkpoints: (stage, key) of the trainings whose checkpoints to keep, (stage, None) for all of a stage; None keeps all.
        dry_run: Only count.

    Raises:
        ArtifactError: a kept manifest or a ref cannot be read; nothing was removed.
    """
    catalog = Catalog(root)
    kept = _referenced(catalog) if keep is None else set(keep)
    parts_kept = {(stage, item.part) for stage, key in kept for item in getattr(catalog.load(stage, key), "items", ())}
    manifests = [catalog.manifest_path(*name) for name in catalog.manifests() if name not in kept]
    parts = [path for path in part_paths(root) if (path.parent.parent.name, path.stem) not in parts_kept]
    # Files of an atomic write that was killed lie beside their goal.
    rubbish = [path for folder in WRITTEN_ASIDE for path in root.glob(f"{folder}.*.tmp")] + list(root.glob("tmp/*"))
    checkpoints = [] if keep_checkpoints is None else _checkpoints(root, set(keep_checkpoints))
    swept = Swept(len(manifests), len(parts), len(checkpoints), sum(map(_size, [*manifests, *parts, *checkpoints, *rubbish])))
    if dry_run:
        return swept
    # Manifests go first: killed in between, the sweep leaves parts without a manifest, never a manifest without its parts.
    for path in manifests:
        path.unlink()
    for path in parts:
        aside = root / "tmp" / uuid.uuid4().hex
        aside.parent.mkdir(exist_ok=True)
        # A part leaves by a rename, as it came, so that no half of it is ever seen.
        os.rename(path, aside)
        rubbish.append(aside)
    for path in (*checkpoints, *rubbish):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    return swept


def _checkpoints(root: Path, keep: Collection[tuple[str, str | None]]) -> list[Path]:
    """List the folders ``checkpoints/<stage>/<key>`` of trainings that are not kept."""
    return [
        path for path in sorted(root.glob("checkpoints/*/*")) if not {(path.parent.name, path.name), (path.parent.name, None)} & set(keep)
    ]


def _referenced(catalog: Catalog) -> set[tuple[str, str]]:
    """List (stage, key) of the manifests that refs name."""
    return {(stage_of(ref.instance), ref.key) for ref in catalog.refs(tagged=True)}


def _size(path: Path) -> int:
    """Count the bytes of a file, or of the files below a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
