"""Manifests say what an artifact consists of, refs say which artifact an instance stands for now. Plain JSON, read without zarr."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from labelseg.errors import ArtifactError
from labelseg.pipeline.files.atomic import write_atomically, write_if_absent
from labelseg.pipeline.files.digests import digest
from labelseg.pipeline.instances import run_command, stage_of

FORMAT = 1
MODEL_REF = "model"


class Location(NamedTuple):
    """Where the arrays of an item lie in a stage's artifacts, and their digest."""

    part: str
    index: int  # type: ignore[assignment]
    digest: str


class ManifestItem(NamedTuple):
    """Where one item lies: its id, its key, part and index in the part, and the digest of its arrays."""

    id: str
    key: str
    part: str
    index: int  # type: ignore[assignment]
    digest: str


@dataclass(kw_only=True)
class Manifest:
    """The record of one finished artifact.

    Attributes:
        stage, version, params, recipe: What made it.
        key: Digest of everything that went in; the name of the file.
        items: In the order of the split, or of the model's tensors.
        failed: ``{"id": ..., "error": ...}`` for each item that could not be computed.
        digest: Content digest of the ordered items; computed when left empty.
        meta: What else belongs to the artifact: metrics, classes, sizes.
        libraries: Name -> version of the libraries used; recorded, never compared.
        device, seconds, created: Where, how long, when (ISO 8601).
    """

    stage: str
    version: int
    key: str
    params: dict[str, Any]
    recipe: dict[str, Any] = field(default_factory=dict)
    items: list[ManifestItem] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)
    digest: str = ""
    meta: dict[str, Any] = field(default_factory=dict)
    libraries: dict[str, str] = field(default_factory=dict)
    device: str = ""
    seconds: float = 0.0
    created: str = ""
    format: int = FORMAT

    def __post_init__(self) -> None:
        self.digest = self.digest or content_digest(self.items)


@dataclass(frozen=True, kw_only=True)
class Ref:
    """What an instance stands for in a split: the key of a manifest and what ``status`` needs of it.

    Attributes:
        instance: ``cam`` or ``cam@wide``.
        split: Name of the split; empty for a model.
        key, digest: Of the manifest.
        count: Number of items.
        failed: Number of failed items.
        run: Id of the run that set the ref.
        tag: Empty for the ref that other stages read.
    """

    instance: str
    key: str
    digest: str
    split: str = ""
    count: int = 0
    failed: int = 0
    recipe: dict[str, Any] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    version: int = 1
    created: str = ""
    seconds: float = 0.0
    run: str = ""
    tag: str = ""
    format: int = FORMAT


def content_digest(items: Iterable[ManifestItem]) -> str:
    """Digest the ordered pairs of id and content digest."""
    return digest(*(text for item in items for text in (item.id, item.digest)))


class Catalog:
    """The manifests and refs of a workspace.

    Args:
        root: The ``.labelseg`` folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def publish(self, manifest: Manifest, *, replace: bool = False) -> bool:
        """Write a manifest; it appears whole or not at all.

        Args:
            manifest: What to publish.
            replace: Take the place of a manifest of the same key: after failed items were retried, or after a forced rerun.

        Returns:
            Whether it was written; False when a manifest of this key was there first, which then stands.
        """
        path = self.manifest_path(manifest.stage, manifest.key)
        data = _to_json(manifest)
        if replace:
            write_atomically(path, data)
            return True
        return write_if_absent(path, data)

    def load(self, stage: str, key: str) -> Manifest | None:
        """Read a manifest; None when there is none.

        Raises:
            ArtifactError: the file is damaged or of another format.
        """
        path = self.manifest_path(stage, key)
        try:
            values = _read_json(path, Manifest)
            if values is None:
                return None
            values["items"] = [ManifestItem(*row) for row in values["items"]]
        except TypeError as error:
            raise ArtifactError(f"{path} is damaged: {error}. {self.remedy(stage, key=key)}") from error
        except ArtifactError as error:
            raise ArtifactError(f"{error} {self.remedy(stage, key=key)}") from error
        return Manifest(**values)

    def manifests(self) -> list[tuple[str, str]]:
        """List (stage, key) of every manifest, sorted, without reading any."""
        return sorted((path.parent.name, path.stem) for path in self.root.glob("manifests/*/*.json"))

    def remedy(self, stage: str, *, key: str = "", part: str = "") -> str:
        """Say how to get back what is gone or damaged: the command that rebuilds each result made of it.

        Args:
            stage: Stage of the manifest or the part.
            key: Key of the manifest; empty where a part is meant.
            part: Id of the part.
        """
        commands = [
            run_command(ref.instance, ref.split, force=True, unsaved=bool(ref.tag))
            for ref in self._readable_refs()
            if stage_of(ref.instance) == stage and (ref.key == key or part in self._parts(stage, ref.key))
        ]
        return f"Rebuild: {'; '.join(commands)}" if commands else "No result is made of it. To remove it: labelseg gc"

    def _readable_refs(self) -> list[Ref]:
        """Read all refs, tagged ones as well, that are not damaged."""
        found = []
        for path in sorted(self.root.glob("refs/*/*.json")):
            with suppress(ArtifactError):
                found.append(_read_ref(path))
        return [ref for ref in found if ref is not None]

    def _parts(self, stage: str, key: str) -> set[str]:
        """List the parts that a manifest names; none where it cannot be read."""
        try:
            values = _read_json(self.manifest_path(stage, key), Manifest)
            return {row[2] for row in values["items"]} if values else set()
        except (ArtifactError, TypeError, IndexError):
            return set()

    def set_ref(self, ref: Ref, tag: str | None = None) -> None:
        """Make ``ref`` what its instance and split stand for; under ``tag`` the main ref stays as it is."""
        ref = dataclasses.replace(ref, tag=tag or "")
        write_atomically(self.ref_path(ref.instance, ref.split, tag), _to_json(ref))

    def ref(self, instance: str, split: str = "", tag: str | None = None) -> Ref | None:
        """Read a ref; None when the instance never finished in this split.

        Raises:
            ArtifactError: the file is damaged or of another format.
        """
        return _read_ref(self.ref_path(instance, split, tag))

    def refs(self, *, tagged: bool = False, instance: str | None = None) -> list[Ref]:
        """Read all main refs, or those of an instance, sorted by instance, split and tag; with ``tagged`` the tagged ones as well.

        Raises:
            ArtifactError: a file is damaged or of another format.
        """
        paths = [
            path
            for path in self.root.glob(f"refs/{'*' if instance is None else quote(instance, safe='@ ')}/*.json")
            if tagged or "@" not in path.name
        ]
        found = [ref for ref in map(_read_ref, paths) if ref is not None]
        return sorted(found, key=lambda ref: (ref.instance, ref.split, ref.tag))

    def manifest_path(self, stage: str, key: str) -> Path:
        """Where a manifest lies."""
        return self.root / "manifests" / stage / f"{key}.json"

    def ref_path(self, instance: str, split: str = "", tag: str | None = None) -> Path:
        """Where a ref lies; names are quoted, so that any split and tag makes one file name."""
        name = quote(split or MODEL_REF, safe=" ")
        return self.root / "refs" / quote(instance, safe="@ ") / (f"{name}@{quote(tag, safe=' ')}.json" if tag else f"{name}.json")


def _to_json(record: Manifest | Ref) -> bytes:
    """Write a record as JSON, one field a line so that a person finds the way in it."""
    values = ((f.name, getattr(record, f.name)) for f in fields(record))
    lines = (f"{json.dumps(name)}: {json.dumps(value, separators=(',', ':'), allow_nan=False)}" for name, value in values)
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode("ascii")


def _read_json(path: Path, record: type) -> dict[str, Any] | None:
    """Read the fields of a record; None when there is no file. What to do about an error is for the caller to add."""
    try:
        values = json.loads(path.read_bytes())
        found = values["format"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path} is damaged: {error or type(error).__name__}.") from error
    if found != FORMAT:
        raise ArtifactError(f"{path} is format {found}, expected {FORMAT}.")
    expected = {f.name for f in fields(record)}
    if values.keys() != expected:
        raise ArtifactError(f"{path} is damaged: fields {sorted(values.keys() ^ expected)} are missing or unknown.")
    return values


def _read_ref(path: Path) -> Ref | None:
    """Read one ref."""
    try:
        values = _read_json(path, Ref)
    except ArtifactError as error:
        split, _, tag = path.stem.partition("@")
        command = run_command(unquote(path.parent.name), "" if split == MODEL_REF else unquote(split), unsaved=bool(tag))
        raise ArtifactError(f"{error} Delete the file, then run: {command}") from error
    return None if values is None else Ref(**values)
