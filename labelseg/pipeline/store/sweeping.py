"""Listing parts and removing what nothing names any more; plain JSON, without zarr. No link is followed."""

from __future__ import annotations

import os
import uuid
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from labelseg.asides.making import is_held
from labelseg.errors import ArtifactError
from labelseg.pipeline.files.paths import remove, size_of, unlinked, unlistable
from labelseg.pipeline.files.share_folders import FOLDER, begun_shares, hidden_shares
from labelseg.pipeline.store.away.marks import FOLDER as AWAY
from labelseg.pipeline.store.headers import PartHeader, known_paths
from labelseg.pipeline.store.items.leaf_items import FOLDER as LEAVES
from labelseg.pipeline.store.manifests import Catalog, Ref

# Folders in which files are written atomically: those of a write that was killed lie beside their goal.
WRITTEN_ASIDE = (
    "", "files/", "away/", "away/*/", "leaves/*/", "manifests/*/", "refs/*/", "unfinished/", "runs/markers/", "locks/", "quality/",
    "objects/*/*/",
)  # fmt: skip
SWEPT = ("objects", "leaves", "manifests", "refs", "checkpoints", "tmp", "runs")


@dataclass(frozen=True)
class Swept:
    """What a sweep removed, or would remove.

    Attributes:
        manifests, parts, checkpoints, logs: How many of each.
        bytes: How many bytes all of them are.
        tags: How many tags an interruption had left unfinished.
        kept: Why something stayed, a line for each cause.
    """

    manifests: int
    parts: int
    checkpoints: int
    logs: int
    bytes: int
    tags: int = 0
    kept: tuple[str, ...] = ()


def readable_headers(root: Path, stage: str) -> Iterator[PartHeader]:
    """Read the headers of all parts of a stage, in a fixed order; a part whose header is damaged covers nothing and is left out."""
    for path in known_paths(root, stage):
        try:
            yield PartHeader.read(path)
        except ArtifactError:
            continue


def clear_work(root: Path) -> None:
    """Remove what work that was cut short has left under ``tmp``; call it under the workspace lock. What cannot go stays for ``gc``.

    Shares of a map, which are computed without the lock, may be at work: while any are begun, all of it stays.
    """
    if begun_shares(root) or hidden_shares(root):
        return
    for path in unlinked(root, "tmp/*"):
        with suppress(OSError):
            remove(path)


def sweep(
    root: Path,
    keep: Collection[tuple[str, str]] | None = None,
    keep_checkpoints: Collection[tuple[str, str | None]] | None = None,
    *,
    gone: Collection[Path] = (),
    logs: Collection[Path] = (),
    shares: bool = False,
    dry_run: bool = False,
) -> Swept:
    """Remove manifests that are not kept, parts that no kept manifest names, checkpoints that are not kept, and everything under ``tmp``.

    Where a ref cannot be read, no manifest goes, and no part; where a kept manifest is gone or cannot be read, nothing of its stage: what
    it named may be among the parts, and another one may be all that is left of a model. Call it under the workspace lock: what a running
    stage has written so far is named by no manifest yet.

    Args:
        root: The ``.labelseg`` folder.
        keep: (stage, key) of the manifests to keep; None keeps those that a ref names, tagged or not.
        keep_checkpoints: (stage, key) of the trainings whose checkpoints to keep, (stage, None) for all of a stage; None keeps all.
        gone: Refs to remove as well.
        logs: Folders of logs to remove as well.
        shares: Whether shares go that were begun, with what they computed; else nothing goes of a stage of which any are, nor from ``tmp``.
        dry_run: Only count; nothing on disk changes.
    """
    catalog = Catalog(root)
    told = [f"{root / name} is a link: what it leads to stays." for name in SWEPT if (root / name).is_symlink()]
    kept, unreadable = _referenced(catalog, set(gone)) if keep is None else (set(keep), [])
    told += unreadable
    told += [f"No part goes from where it cannot be seen: {error}" for _, error in unlistable(root / "objects", 2)]
    named, leaves_named, lost = _named(catalog, kept, told)
    begun = [] if shares else begun_shares(root)
    for name in sorted({name for name, _ in begun}):
        lost.add(name)
        told.append(
            f"Nothing of {name} goes, because shares of it are not finished. Which: labelseg status. To remove them: labelseg gc --shares"
        )
    shut = [] if shares else hidden_shares(root)
    told += [f"No part goes, because {error}" for error in shut]
    manifests = [
        path
        for path in unlinked(root, "manifests/*/*.json")
        if not unreadable and (path.parent.name, path.stem) not in kept and path.parent.name not in lost
    ]
    parts = [
        path
        for path in unlinked(root, "objects/*/*/*.zarr")
        if not (unreadable or shut) and (path.parent.parent.name, path.stem) not in named and path.parent.parent.name not in lost
    ]
    leaves = [
        path
        for path in unlinked(root, f"{LEAVES}/*/*.json")
        if not unreadable and (path.parent.name, path.stem) not in leaves_named and path.parent.name not in lost
    ]
    marks = [
        path
        for path in (*unlinked(root, f"{AWAY}/*/*.json"), *unlinked(root, f"{AWAY}/*/*.damaged"))
        if not (unreadable or shut) and (path.parent.name, path.stem) not in named and path.parent.name not in lost
    ]
    # Some files, such as the index of the data, are written without the lock of the workspace.
    rubbish = [path for folder in WRITTEN_ASIDE for path in unlinked(root, f"{folder}.*.tmp") if not is_held(path)]
    rubbish += [] if begun or shut else list(unlinked(root, "tmp/*"))
    rubbish += list(unlinked(root, f"{FOLDER}/*")) if shares else []
    checkpoints = [] if keep_checkpoints is None else _checkpoints(catalog, set(keep_checkpoints))
    size = sum(map(size_of, [*manifests, *leaves, *parts, *checkpoints, *rubbish, *logs]))
    unfinished = [] if unreadable else catalog.unfinished.names()
    swept = Swept(len(manifests), len(parts), len(checkpoints), len(logs), size, len(unfinished), tuple(told))
    if dry_run:
        return swept
    for tag in unfinished:
        catalog.unfinished.clear(tag)
    # Refs go first, then manifests, then leaves: killed in between, nothing names what is not there.
    for path in (*gone, *manifests, *leaves, *marks):
        remove(path)
    for path in parts:
        # A part leaves by a rename, as it came, so that no half of it is ever seen.
        aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
        os.rename(path, aside)
        remove(aside)
        remove(root / "damaged" / path.parent.parent.name / path.stem)
    for path in (*checkpoints, *rubbish, *logs):
        remove(path)
    return swept


Names = set[tuple[str, str]]


def _named(catalog: Catalog, kept: Collection[tuple[str, str]], told: list[str]) -> tuple[Names, Names, set[str]]:
    """List (stage, part) and (stage, leaf) that kept manifests name, and the stages of those that cannot be read, which are told."""
    parts: Names = set()
    leaves: Names = set()
    lost: set[str] = set()
    for stage, key in sorted(kept):
        try:
            manifest = catalog.load(stage, key)
            if manifest is None:
                raise ArtifactError(f"{catalog.manifest_path(stage, key)} is gone. Repair: labelseg verify --repair {stage}")
        except ArtifactError as error:
            lost.add(stage)
            told.append(f"Nothing of {stage} goes, because {error}")
        else:
            parts |= {(stage, part) for part in manifest.parts}
            leaves |= {(stage, leaf.digest) for leaf in manifest.leaves}
    return parts, leaves, lost


def _checkpoints(catalog: Catalog, keep: Collection[tuple[str, str | None]]) -> list[Path]:
    """List the folders ``checkpoints/<stage>/<key>`` of trainings that are not kept, and of those that were killed after their end."""
    return [
        path
        for path in unlinked(catalog.root, "checkpoints/*/*")
        if not {(path.parent.name, path.name), (path.parent.name, None)} & set(keep)
        or catalog.sound(path.parent.name, path.name) is not None
    ]


def _referenced(catalog: Catalog, gone: Collection[Path]) -> tuple[set[tuple[str, str]], list[str]]:
    """List (stage, key) of the manifests that refs name, and what keeps others from being read."""
    found = [(path, ref) for path, ref in catalog.ref_files(tagged=True) if path not in gone]
    errors = [error for _, error in unlistable(catalog.root / "refs", 1)] + [ref for _, ref in found if not isinstance(ref, Ref)]
    unreadable = [f"No artifact goes, because {error}" for error in errors]
    return {(ref.stage, ref.key) for _, ref in found if isinstance(ref, Ref)}, unreadable
