"""Manifests say what an artifact consists of, refs say which artifact an instance stands for now. Plain JSON, read without zarr."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from labelseg.errors import ArtifactError, DamageError, MissingArtifactError
from labelseg.pipeline.files.atomic import write_atomically, write_if_absent
from labelseg.pipeline.files.digests import canonical_json, digest, digest_all
from labelseg.pipeline.files.paths import below, climbing, is_key, unlistable
from labelseg.pipeline.files.seals import intact_seal
from labelseg.pipeline.files.unfinished import Unfinished
from labelseg.pipeline.instances import run_command, stage_of
from labelseg.pipeline.record_forms import failed_problem, meta_problem, recipe_problem
from labelseg.pipeline.store.items.item_rows import ItemLeaf, ManifestItem
from labelseg.pipeline.store.items.leaf_items import LeafItems, read_leaves
from labelseg.pipeline.store.items.leaf_writing import takes_leaves, write_items
from labelseg.pipeline.store.records import FORMAT, read_record, repair, to_json

MODEL_REF = "model"
LOST = "what was stored for it was damaged and has been taken out"  # the error of an item that a repair took out
SINCE_SEALS = {"since": 2}
WITH_LEAVES = 3  # the format of a manifest of so many items that they lie in leaves


class Location(NamedTuple):
    """Where the arrays of an item lie in a stage's artifacts, and their digest."""

    part: str
    index: int  # type: ignore[assignment]
    digest: str


@dataclass(kw_only=True)
class Manifest:
    """The record of one finished artifact.

    Attributes:
        stage, version, params, recipe: What made it.
        key: Digest of everything that went in; the name of the file.
        items: In the order of the split, or of the model's tensors; many of a map are read when they are asked for.
        failed: ``{"id": ..., "error": ...}`` for each item that could not be computed.
        digest: Content digest of the ordered items; computed when left empty.
        meta: What else belongs to the artifact: metrics, classes, sizes.
        libraries: Name -> version of the libraries used; recorded, never compared.
        device, seconds, created: Where, how long, when (ISO 8601).
        parts: The parts that the items lie in, for those who do not read the items; follows from them.
        leaves: The files that items of a large map lie in; follows from them.
        seal: Digest of the file, filled in when it is written; empty in a record from before there were seals.
    """

    stage: str
    version: int
    key: str
    params: dict[str, Any]
    recipe: dict[str, Any] = field(default_factory=dict)
    items: list[ManifestItem] | LeafItems = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)
    digest: str = ""
    meta: dict[str, Any] = field(default_factory=dict)
    libraries: dict[str, str] = field(default_factory=dict)
    device: str = ""
    seconds: float = 0.0
    created: str = ""
    format: int = FORMAT
    parts: list[str] = field(default_factory=list, compare=False, metadata=SINCE_SEALS)
    leaves: list[ItemLeaf] = field(default_factory=list, compare=False, metadata={"since": WITH_LEAVES})
    seal: str = field(default="", compare=False, metadata=SINCE_SEALS)

    def __post_init__(self) -> None:
        if isinstance(self.items, LeafItems):
            self.leaves = list(self.items.leaves)
            if not (self.digest and self.parts):
                self.digest, self.parts = self.items.summary()
        else:
            self.leaves = []
            self.digest = self.digest or content_digest(self.items)
            self.parts = list(dict.fromkeys(item.part for item in self.items))
        self._by_id: dict[str, ManifestItem] = {}

    def find(self, item_id: str) -> ManifestItem | None:
        """Look an item up by its id."""
        if isinstance(self.items, LeafItems):
            return self.items.find(item_id)
        if len(self._by_id) != len(self.items):
            self._by_id = {item.id: item for item in self.items}
        return self._by_id.get(item_id)

    @property
    def ref_digest(self) -> str:
        """What a ref says of the content: for a model the meta values that rebuild the network enter as well."""
        return model_digest(self.items, self.meta["model"]) if "model" in self.meta else self.digest

    def as_ref(self, instance: str, split: str = "", run: str = "") -> Ref:
        """Make a ref by which an instance stands for this artifact."""
        return Ref(
            instance=instance, split=split, key=self.key, digest=self.ref_digest, count=len(self.items), failed=len(self.failed),
            recipe=self.recipe, params=self.params, version=self.version, created=self.created, seconds=self.seconds, run=run,
            manifest=self.seal,
        )  # fmt: skip


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
        manifest: Seal of the manifest as it was when the ref was set; empty where it has none.
        seal: Digest of the file, filled in when it is written.
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
    manifest: str = field(default="", compare=False, metadata=SINCE_SEALS)
    seal: str = field(default="", compare=False, metadata=SINCE_SEALS)

    @property
    def stage(self) -> str:
        """Name of the stage."""
        return stage_of(self.instance)


def content_digest(items: Iterable[ManifestItem]) -> str:
    """Digest the ordered pairs of id and content digest."""
    return digest_all(text for item in items for text in (item.id, item.digest))


def model_digest(items: Iterable[ManifestItem], meta: Mapping[str, Any]) -> str:
    """Digest a model: tensors, and the meta values that rebuild the network around them."""
    return digest(content_digest(items), canonical_json(dict(meta)))


def lost_items(manifest: Manifest | None) -> int:
    """Count the items that a repair took out of an artifact."""
    return 0 if manifest is None else sum(failure["error"] == LOST for failure in manifest.failed)


class Catalog:
    """The manifests and refs of a workspace.

    Args:
        root: The ``.labelseg`` folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self.unfinished = Unfinished(self.root)

    def publish(self, manifest: Manifest, *, replace: bool = False) -> bool:
        """Write a manifest; it appears whole or not at all, after the leaves of its items, if there are many.

        Args:
            manifest: What to publish.
            replace: Take the place of a manifest of the same key: after failed items were retried, or after a forced rerun.

        Returns:
            Whether it was written; False when a manifest of this key was there first, which then stands.
        """
        path = self.manifest_path(manifest.stage, manifest.key)
        if "model" not in manifest.meta and not isinstance(manifest.items, LeafItems) and takes_leaves(manifest.items):
            manifest.items = LeafItems(self.root, manifest.stage, write_items(self.root, manifest.stage, manifest.items))
            manifest.leaves = list(manifest.items.leaves)
        data = to_json(manifest, WITH_LEAVES, items=[]) if manifest.leaves else to_json(manifest)
        if replace:
            write_atomically(path, data)
        elif not write_if_absent(path, data):
            return False
        manifest.seal = intact_seal(data)
        return True

    def load(self, stage: str, key: str) -> Manifest | None:
        """Read a manifest; None when there is none.

        Raises:
            ArtifactError: the file is of another format.
            DamageError: it is not what was written, or not what its name says.
        """
        path = self.manifest_path(stage, key)
        values = read_record(path, Manifest, stage)
        if values is None:
            return None
        try:
            leaves = read_leaves(values.pop("leaves", []))
            values["items"] = LeafItems(self.root, stage, leaves) if leaves else _items(values["items"])
            problem = "" if all(map(is_key, values.get("parts", ()))) else "it names what is no part"
            forms = recipe_problem(values["recipe"]), meta_problem(values["meta"]), failed_problem(values["failed"])
            if problem := problem or next(filter(None, forms), ""):
                raise ValueError(problem)
            manifest = Manifest(**values)
            if (manifest.stage, manifest.key) != (stage, key):
                raise ValueError(f"it is the manifest {manifest.key} of {manifest.stage}")
            # What a sealed record says of the content of leaves was computed when they were written, and each of them has a digest.
            if not leaves and manifest.digest != content_digest(manifest.items):
                raise ValueError("its digest is not that of its items")
        except (TypeError, ValueError) as error:
            raise DamageError(f"{path} is damaged: {error}. {repair(stage)}") from error
        return manifest

    def named(self, ref: Ref) -> Manifest:
        """Read the manifest that a ref names.

        Raises:
            MissingArtifactError: there is none.
            ArtifactError: it cannot be read, or has another content than the ref says.
        """
        path = self.manifest_path(ref.stage, ref.key)
        manifest = self.load(ref.stage, ref.key)
        if manifest is None:
            command = run_command(ref.instance, ref.split, unsaved=bool(ref.tag))
            raise MissingArtifactError(f"{path} is gone. Run: {command}")
        if (manifest.ref_digest, len(manifest.items), len(manifest.failed)) != (ref.digest, ref.count, ref.failed):
            raise ArtifactError(f"{path} is another one than {ref.instance} was set to. {repair(ref.stage)}")
        return manifest

    def sound(self, stage: str, key: str) -> Manifest | None:
        """Read a manifest; None when there is none that can be read."""
        with suppress(ArtifactError):
            return self.load(stage, key)
        return None

    def holds(self, stage: str, key: str) -> bool:
        """Whether there is a manifest, sound or not; also where that cannot be told, for it must not count as gone."""
        try:
            self.manifest_path(stage, key).lstat()
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return True

    def manifests(self) -> list[tuple[str, str]]:
        """List (stage, key) of every manifest, sorted, without reading any."""
        return sorted((path.parent.name, path.stem) for path in self.root.glob("manifests/*/*.json"))

    def set_ref(self, ref: Ref, tag: str | None = None) -> None:
        """Make ``ref`` what its instance and split stand for; under ``tag`` the main ref stays as it is."""
        ref = dataclasses.replace(ref, tag=tag or "")
        write_atomically(self.ref_path(ref.instance, ref.split, tag), to_json(ref))

    def follow(self, manifest: Manifest) -> None:
        """Let every ref to a manifest of this key, tagged ones and those of other instances too, say what the published one holds."""
        for ref in self.refs(tagged=True):
            if (ref.stage, ref.key) == (manifest.stage, manifest.key):
                self.keep_up(ref, manifest)

    def keep_up(self, ref: Ref, manifest: Manifest) -> bool:
        """Let a ref say what its manifest holds now.

        Returns:
            Whether it said something else before.
        """
        now = dataclasses.replace(
            ref, digest=manifest.ref_digest, count=len(manifest.items), failed=len(manifest.failed), manifest=manifest.seal
        )
        if now == ref:
            return False
        self.set_ref(now, ref.tag or None)
        return True

    def ref(self, instance: str, split: str = "", tag: str | None = None) -> Ref | None:
        """Read a ref; None when the instance never finished in this split, or the tag is not finished.

        Raises:
            ArtifactError: the file is of another format, or whether the tag is finished cannot be read.
            DamageError: it is not what was written, or that of another instance, split or tag.
        """
        path = self.ref_path(instance, split, tag)
        return None if tag and path in self.unfinished.files(tag) else self._read(path)

    def refs(self, *, tagged: bool = False, instance: str | None = None) -> list[Ref]:
        """Read all main refs that can be read, or those of an instance, sorted; with ``tagged`` the tagged ones as well."""
        found = [ref for _, ref in self.ref_files(tagged=tagged, instance=instance) if isinstance(ref, Ref)]
        return sorted(found, key=lambda ref: (ref.instance, ref.split, ref.tag))

    def ref_files(self, *, tagged: bool = False, instance: str | None = None) -> Iterator[tuple[Path, Ref | ArtifactError]]:
        """Read the file of every ref, sorted; what is wrong with it stands in place of one that cannot be read.

        What belongs to a tag that is not finished is left out; where that cannot be told, this is what is wrong.
        """
        unfinished = self._unfinished() if tagged else {}
        for path in sorted(self.root.glob(f"refs/{'*' if instance is None else quote(instance, safe='@ ')}/*.json")):
            left = unfinished.get(path.stem.partition("@")[2], ())
            if isinstance(left, ArtifactError):
                yield path, left
            elif path not in left and (tagged or "@" not in path.name):
                try:
                    ref = self._read(path)
                except ArtifactError as error:
                    yield path, error
                else:
                    if ref is not None:
                        yield path, ref

    def damaged_refs(self, *, tagged: bool = False, instance: str | None = None) -> list[ArtifactError]:
        """List what is wrong with refs that cannot be read, or with their folders; of an instance, or of all."""
        files = [ref for _, ref in self.ref_files(tagged=tagged, instance=instance) if isinstance(ref, ArtifactError)]
        folders = [(path.name, error) for path, error in unlistable(self.root / "refs", 1)]
        return [error for name, error in folders if instance is None or name in ("refs", quote(instance, safe="@ "))] + files

    def demand_seen(self) -> None:
        """Refuse to call refs missing that may be there and cannot be seen.

        Raises:
            ArtifactError: a folder of refs cannot be read.
        """
        for _, error in unlistable(self.root / "refs", 1):
            raise error

    def manifest_path(self, stage: str, key: str) -> Path:
        """Where a manifest lies.

        Raises:
            DamageError: the key has not the form of one.
        """
        if not is_key(key):
            raise DamageError(f"{key!r} is no key of {stage}: expected 32 hex characters. {repair(stage)}")
        return below(self.root / "manifests", stage, f"{key}.json")

    def ref_path(self, instance: str, split: str = "", tag: str | None = None) -> Path:
        """Where a ref lies; names are quoted, so that any split and tag makes one file name, also one that no file is named by."""
        tail = f"@{quote(tag, ' ', errors='surrogatepass')}" if tag else ""
        folder, name = quote(instance, "@ ", errors="surrogatepass"), quote(split or MODEL_REF, " ", errors="surrogatepass")
        return below(self.root / "refs", folder, f"{name}{tail}.json")

    def _unfinished(self) -> dict[str, Collection[Path] | ArtifactError]:
        """Map each tag that is not finished to the refs that do not count, or to why these cannot be told."""
        found: dict[str, Collection[Path] | ArtifactError] = {}
        for tag in self.unfinished.names():
            try:
                found[tag] = self.unfinished.files(tag)
            except ArtifactError as error:  # nothing is wrong with the refs themselves
                found[tag] = ArtifactError(str(error))
        return found

    def _read(self, path: Path) -> Ref | None:
        """Read one ref and compare it with its path."""
        stage = stage_of(path.parent.name)
        values = read_record(path, Ref, stage)
        if values is None:
            return None
        ref = Ref(**values)
        odd = next((f"its {name} is not one" for name in ("key", "digest") if not is_key(getattr(ref, name))), "")
        if odd := odd or recipe_problem(ref.recipe):
            raise DamageError(f"{path} is damaged: {odd}. {repair(stage)}")
        if self.ref_path(ref.instance, ref.split, ref.tag) != path:
            named = f"{ref.instance}{' in ' + ref.split if ref.split else ''}".encode("utf-8", "backslashreplace").decode()
            raise DamageError(f"{path} is the ref of {named}. {repair(stage)}")
        return ref


def ref_names(path: Path) -> tuple[str, str]:
    """Tell by the path of a ref of which instance in which split it is; the split of a model is empty."""
    split = path.stem.partition("@")[0]
    return unquote(path.parent.name), "" if split == MODEL_REF else unquote(split)


def _items(rows: list[Any]) -> list[ManifestItem]:
    """Read the items of a manifest and check the form of what they say.

    Raises:
        ValueError, TypeError: they are no items.
    """
    items = [ManifestItem(*row) for row in rows]
    columns = list(zip(*items, strict=True)) or [()] * 5
    for name, column, kind in zip(ManifestItem._fields, columns, (str, str, str, int, str), strict=True):
        if set(map(type, column)) - {kind}:
            raise ValueError(f"{name} of an item is of another type")
    odd = next((part for part in set(columns[2]) if not is_key(part)), None)
    if odd is not None:
        raise ValueError(f"{odd!r} is no part")
    if climbing(columns[0]):
        raise ValueError(f"the item '{climbing(columns[0])}' would lead out of a folder")
    return items
