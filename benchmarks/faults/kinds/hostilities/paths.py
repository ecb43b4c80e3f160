"""Folders in which names climb, and links, folders and pipes stand in place of files."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks.faults.kinds.hostilities.hostility import LONGEST, Hostility, edited, linked, manifest, part, ref, replaced

CLIMBS = ("../../victim/precious", "../../../../victim/precious", "{victim}/precious", "..", ".", "", "a/../../../victim/precious")


def keys() -> list[Hostility]:
    """Refs and manifests that name something elsewhere."""
    found = []
    for name in ("spread/train", "train-net/model", "cam/train@unsaved", "spread@wide/train"):
        for climb in CLIMBS:

            def prepare(root: Path, victim: Path, name: str = name, climb: str = climb) -> None:
                shutil.copy(manifest(root, name), victim / "precious.json")
                edited(ref(root, name), key=climb.format(victim=victim))

            found.append(Hostility(f"ref {name} with the key {climb!r}", prepare))
    for field in ("instance", "split", "tag"):

        def rename(root: Path, victim: Path, field: str = field) -> None:
            edited(ref(root), **{field: "../../../../victim/deep"})

        found.append(Hostility(f"ref whose {field} climbs", rename))
    for field in ("stage", "key"):

        def misname(root: Path, victim: Path, field: str = field) -> None:
            edited(manifest(root), **{field: "../../../../victim/deep"})

        found.append(Hostility(f"manifest whose {field} climbs", misname))
    return found


def items() -> list[Hostility]:
    """Items and parts with names that climb; digests fit, as if labelseg had written them."""
    found = []
    for climb in (
        "../../victim/precious",
        "../victim/precious",
        "{victim}/precious",
        "a/../../victim/precious",
        "..",
        "",
        "a\0b",
        "x" * LONGEST,
    ):

        def rename(root: Path, victim: Path, climb: str = climb) -> None:
            _rewritten(root, climb.format(victim=victim))

        found.append(Hostility(f"item with the id {climb[:40]!r}", rename, published=True))
    for climb in ("../../../victim/aa/part", "{victim}/aa/part"):

        def lead(root: Path, victim: Path, climb: str = climb) -> None:
            shutil.copytree(part(root, "segment/train"), victim / "aa" / "part.zarr")
            rows = json.loads(manifest(root).read_text())["items"]
            edited(manifest(root), items=[[row[0], row[1], climb.format(victim=victim), 0, row[4]] for row in rows])

        found.append(Hostility(f"manifest that names the part {climb!r}", lead))
    for climb in ("../../../../../../../victim/mask", "{victim}/mask"):

        def read_elsewhere(root: Path, victim: Path, climb: str = climb) -> None:
            where = part(root)
            shutil.copytree(where / "data" / "mask.uint8", victim / "mask.uint8")
            header = json.loads((where / "zarr.json").read_text())
            for item in header["attributes"]["items"]:
                item["arrays"][climb.format(victim=victim)] = item["arrays"]["mask"]
            (where / "zarr.json").write_text(json.dumps(header))

        found.append(Hostility(f"part header with an array named {climb!r}", read_elsewhere))
    return found


def _rewritten(root: Path, image_id: str) -> None:
    """Publish the masks of ``spread`` anew with another id for the first image, everything by the rules of the store."""
    from labelseg.pipeline.store.manifests import ManifestItem
    from labelseg.pipeline.store.parts import PartItem
    from labelseg.pipeline.store.store import Store

    store = Store(root / ".labelseg")
    before = store.catalog.ref("spread", "train")
    if before is None or (old := store.catalog.load("spread", before.key)) is None:
        raise RuntimeError("there is no spread to publish anew")
    arrays = [store.read("spread", item.part, item.index) for item in old.items]
    ids = [image_id, *(item.id for item in old.items[1:])]
    places = store.write_part("spread", {}, [PartItem(i, item.key, a) for i, item, a in zip(ids, old.items, arrays, strict=True)])
    items = [ManifestItem(i, item.key, *place) for i, item, place in zip(ids, old.items, places, strict=True)]
    new = replace(old, items=items, digest="")
    store.catalog.publish(new, replace=True)
    store.catalog.set_ref(replace(before, digest=new.digest))


def links() -> list[Hostility]:
    """Folders and files of the workspace that are links."""
    found = []
    for name in ("tmp", "checkpoints", "runs/markers", "locks", "runs"):

        def scratch(root: Path, victim: Path, name: str = name) -> None:
            linked(root / ".labelseg" / name, victim)

        found.append(Hostility(f"{name} is a link to a folder with other things", scratch, linked=True))
    for name in ("objects", "objects/spread", "manifests", "manifests/spread", "refs", "refs/spread", "checkpoints/train-net", ""):

        def moved(root: Path, victim: Path, name: str = name) -> None:
            linked(root / ".labelseg" / name, victim / "moved")

        found.append(Hostility(f"{name or '.labelseg'} was moved and linked", moved, linked=True))
    for place in (
        "tmp",
        "checkpoints",
        "checkpoints/train-net",
        "objects",
        "objects/spread",
        "objects/spread/ab",
        "manifests/spread",
        "refs",
    ):
        for target in ("victim", "loop", "nothing"):

            def lead(root: Path, victim: Path, place: str = place, target: str = target) -> None:
                folder = root / ".labelseg" / place
                folder.mkdir(parents=True, exist_ok=True)
                goal = {"victim": victim, "loop": folder, "nothing": victim / "nothing"}[target]
                (folder / "link").symlink_to(goal)
                (folder / "link.zarr").symlink_to(goal)
                (folder / "link.json").symlink_to(goal)

            found.append(Hostility(f"links to {target} in {place}", lead, linked=True))
    inner = {"a part": "", "the data of a part": "data", "an array": "data/mask.uint8", "a chunk": "data/mask.uint8/c/0"}
    for name, below in inner.items():

        def replace_inner(root: Path, victim: Path, below: str = below) -> None:
            linked(part(root) / below, victim / "moved")

        found.append(Hostility(f"{name} was moved and linked", replace_inner, linked=True))
    for name, pick in {"ref": ref, "manifest": manifest}.items():

        def replace_record(root: Path, victim: Path, pick: Callable[[Path], Path] = pick) -> None:
            linked(pick(root), victim / "moved.json")

        found.append(Hostility(f"a {name} was moved and linked", replace_record, linked=True))
    for name in ("locks/workspace.lock", "locks/workspace.json", "files.json", "runs/markers/spread~train.json"):

        def overwrite(root: Path, victim: Path, name: str = name) -> None:
            linked(root / ".labelseg" / name, victim / "precious.txt")

        found.append(Hostility(f"{name} is a link to a file elsewhere", overwrite, linked=True))
    return found


def folders() -> list[Hostility]:
    """Folders where files belong, and the other way round."""
    found = []
    for name in ("files.json", "locks/workspace.lock", "locks/workspace.json", "runs/markers/spread~train.json"):

        def folder(root: Path, victim: Path, name: str = name) -> None:
            replaced(root / ".labelseg" / name, lambda path: (path / "inner").mkdir(parents=True))

        found.append(Hostility(f"{name} is a folder", folder))
    for name in (
        "tmp",
        "checkpoints",
        "runs",
        "runs/markers",
        "objects/other",
        "manifests/other",
        "refs/other",
        "checkpoints/other",
        "tmp/other",
    ):

        def file(root: Path, victim: Path, name: str = name) -> None:
            replaced(root / ".labelseg" / name, lambda path: path.write_text("no folder"))

        found.append(Hostility(f"{name} is a file", file))
    for label, pick in {"ref": ref, "manifest": manifest}.items():

        def no_record(root: Path, victim: Path, pick: Callable[[Path], Path] = pick) -> None:
            replaced(pick(root), lambda path: (path / "inner").mkdir(parents=True))

        found.append(Hostility(f"a {label} is a folder", no_record))
    return found


def pipes() -> list[Hostility]:
    """Pipes that nobody writes to, where files belong."""
    places: dict[str, Callable[[Path], Path]] = {
        "ref": ref,
        "manifest": manifest,
        "part header": lambda root: part(root) / "zarr.json",
        "header of an array": lambda root: part(root) / "data" / "mask.uint8" / "zarr.json",
        "chunk": lambda root: part(root) / "data" / "mask.uint8" / "c" / "0",
        "files.json": lambda root: root / ".labelseg" / "files.json",
        "marker": lambda root: root / ".labelseg" / "runs" / "markers" / "spread~train.json",
        "note of the lock": lambda root: root / ".labelseg" / "locks" / "workspace.json",
        "file of the lock": lambda root: root / ".labelseg" / "locks" / "workspace.lock",
        "checkpoint": lambda root: min(root.glob(".labelseg/checkpoints/*/*/last.safetensors")),
        "labelseg.toml": lambda root: root / "labelseg.toml",
        "file in tmp": lambda root: root / ".labelseg" / "tmp" / "pipe",
        "image": lambda root: root.parent / "data" / "images" / "a1.png",
        "mask": lambda root: root.parent / "data" / "masks" / "a1.png",
        "new image": lambda root: root.parent / "data" / "images" / "new.png",
        "labels.csv": lambda root: root.parent / "data" / "labels.csv",
        "classes.txt": lambda root: root.parent / "data" / "classes.txt",
        "list of a split": lambda root: root.parent / "data" / "train.txt",
    }
    data = ("image", "mask", "new image", "labels.csv", "classes.txt", "list of a split")
    found = []
    for name, pick in places.items():

        def pipe(root: Path, victim: Path, pick: Callable[[Path], Path] = pick) -> None:
            replaced(pick(root), os.mkfifo)

        # Where the data has changed the artifacts are to change as well, and to say what failed.
        found.append(Hostility(f"a pipe for {name}", pipe, published=name in data))
    return found
