"""Folders that someone with bad intent, or bad luck, has prepared: records that climb, links, pipes, deep and odd values."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

DEPTH = 100_000
LONGEST = 255  # bytes of a file name
CLIMBS = ("../../victim/precious", "../../../../victim/precious", "{victim}/precious", "..", ".", "", "a/../../../victim/precious")
ODD: tuple[Any, ...] = (None, True, -1, 1e308, [], {}, [[1]], "x" * 5_000, "a\0b", "\ud800", 10**40)
HASH = "0" * 32


@dataclass(frozen=True)
class Hostility:
    """One way to prepare a workspace.

    Attributes:
        name: What it is, in words.
        prepare: Given the workspace and the folder of the victim, changes them.
        linked: Whether the person linked the victim into the workspace: then it may be read through the link and files may come
            there, and still nothing that lies there may change or go.
        published: Whether the artifact is one that labelseg itself could have written, names apart: then it may read as it stands.
    """

    name: str
    prepare: Callable[[Path, Path], None]
    linked: bool = False
    published: bool = False


def all_hostilities() -> list[Hostility]:
    """List them, in a fixed order."""
    return [*_keys(), *_items(), *_links(), *_folders(), *_pipes(), *_deep(), *_odd_records(), *_odd_parts(), *_names()]


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
    found = json.loads(manifest(root, name).read_text())["items"][0][2]
    return root / ".labelseg" / "objects" / name.split("/")[0] / found[:2] / f"{found}.zarr"


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


def _keys() -> list[Hostility]:
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


def _items() -> list[Hostility]:
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


def _links() -> list[Hostility]:
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


def _folders() -> list[Hostility]:
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


def _pipes() -> list[Hostility]:
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


def _deep() -> list[Hostility]:
    """Values nested deeper than any reader can follow."""
    deep = "[" * DEPTH + "]" * DEPTH
    objects = '{"a":' * DEPTH + "1" + "}" * DEPTH
    places: dict[str, Callable[[Path], Path]] = {
        "ref": ref,
        "manifest": manifest,
        "part header": lambda root: part(root) / "zarr.json",
        "header of an array": lambda root: part(root) / "data" / "mask.uint8" / "zarr.json",
        "files.json": lambda root: root / ".labelseg" / "files.json",
        "marker": lambda root: root / ".labelseg" / "runs" / "markers" / "spread~train.json",
        "log of a run": lambda root: min(root.glob(".labelseg/runs/2*/log.jsonl")),
        "note of the lock": lambda root: root / ".labelseg" / "locks" / "workspace.json",
    }
    found = []
    for name, pick in places.items():
        for text in (deep, objects, '{"format":1,"files":' + deep + "}"):

            def nest(root: Path, victim: Path, pick: Callable[[Path], Path] = pick, text: str = text) -> None:
                replaced(pick(root), lambda path: path.write_text(text))

            found.append(Hostility(f"{name} {DEPTH:,} deep: {text[:20]}", nest))
    for text in (f"a = {deep}", f"[{'.'.join('a' * DEPTH)}]", f"a = {'{a=' * DEPTH}1{'}' * DEPTH}"):

        def toml(root: Path, victim: Path, text: str = text) -> None:
            path = root / "labelseg.toml"
            path.write_text(f"{text}\n{path.read_text()}")

        found.append(Hostility(f"labelseg.toml {DEPTH:,} deep: {text[:10]}", toml))
    return found


def _odd_records() -> list[Hostility]:
    """Values of other types, in every field of refs, manifests and markers, and in labelseg.toml."""
    found = []
    for label, pick in {"ref": ref, "manifest": manifest}.items():
        for value in ODD:

            def odd(root: Path, victim: Path, pick: Callable[[Path], Path] = pick, value: Any = value, label: str = label) -> None:
                fields = list(json.loads(pick(root).read_text()))
                # Another field for every value, so that the list stays short and all fields have their turn.
                chosen = fields[ODD.index(value) % len(fields) :: len(ODD)]
                edited(pick(root), **dict.fromkeys(chosen, value))

            found.append(Hostility(f"{label} with {repr(value)[:20]} in some fields", odd))
    rows: tuple[Any, ...] = (
        [],
        [1],
        "abcde",
        [["a1", 1, 2, 3, 4]],
        [["a1", HASH, HASH, "0", HASH]],
        [["a1", HASH, HASH, -1, HASH]],
        [None],
    )
    for value in rows:
        found.append(Hostility(f"manifest with the items {value}", lambda root, victim, v=value: edited(manifest(root), items=v)))  # type: ignore[misc]
    for value in ([], "x", {"sources": []}, {"sources": {"cam": 5}}, {"sources": {"cam": {"instance": []}}}, {"inputs": 5}):
        found.append(Hostility(f"ref with the recipe {value}", lambda root, victim, v=value: edited(ref(root), recipe=v)))  # type: ignore[misc]
    for pid in (10**30, -1, 0, "x", None, 1.5, []):

        def mark(root: Path, victim: Path, pid: Any = pid) -> None:
            path = root / ".labelseg" / "runs" / "markers" / "segment~train.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"state": "running", "pid": pid, "host": os.uname().nodename}))
            (root / "labelseg.toml").write_text((root / "labelseg.toml").read_text() + "\n[segment]\nshift = 1\n")

        found.append(Hostility(f"marker of the process {pid}", mark, published=True))
    for text in (
        "[run]\ntarget = 5",
        "[run]\ntarget = []",
        "run = 5",
        "cam = []",
        "[[cam]]",
        "[cam]\nscales = {}",
        "[evaluate]\nthreshold = []",
        "[data]\nimages = 5",
    ):

        def toml(root: Path, victim: Path, text: str = text) -> None:
            data = (root / "labelseg.toml").read_text().split("[run]")[0]
            (root / "labelseg.toml").write_text(f"{text}\n" if "data" in text or text.startswith("run") else f"{data}{text}\n")

        found.append(Hostility(f"labelseg.toml with {text!r}", toml))
    for key in ("images", "labels", "masks", "classes", "splits"):
        for value in ("5", "[]", '""', '"labels.csv"', '"\\u0000"', "{}", f'"{"x" * 5_000}"', "true"):

            def data(root: Path, victim: Path, key: str = key, value: str = value) -> None:
                lines = (root / "labelseg.toml").read_text().splitlines()
                (root / "labelseg.toml").write_text(
                    "\n".join(f"{key} = {value}" if line.startswith(f"{key} =") else line for line in lines)
                )

            found.append(Hostility(f"labelseg.toml with data.{key} = {value[:20]}", data, published=True))
    return found


def _odd_parts() -> list[Hostility]:
    """Headers of parts and arrays with values that no writer gives."""
    found = []
    for value in (["uint8", [8, 10], -80], ["uint8", [8, 10], 10**18], ["uint8", [-8, 10], 0], ["uint8", [10**7, 10**7], 0], ["object", [8, 10], 0], ["O", [1], 0], [], 5, ["uint8", "x", 0], ["uint8", [8, 10], "0"], ["uint8", [8.5, 10], 0], ["../mask", [8, 10], 0]):  # fmt: skip # noqa: E501

        def array(root: Path, victim: Path, value: Any = value) -> None:
            header = json.loads((part(root) / "zarr.json").read_text())
            for item in header["attributes"]["items"]:
                item["arrays"]["mask"] = value
            (part(root) / "zarr.json").write_text(json.dumps(header))

        found.append(Hostility(f"part header with the array {value}", array))
    for name, value in {"items": 5, "stage": [], "header": 5, "format": [], "zarr_format": 9}.items():

        def attribute(root: Path, victim: Path, name: str = name, value: Any = value) -> None:
            header = json.loads((part(root) / "zarr.json").read_text())
            header["attributes"][name] = value
            (part(root) / "zarr.json").write_text(json.dumps(header))

        found.append(Hostility(f"part header with {name} = {value}", attribute))
    for name, value in (("shape", [10**15]), ("shape", [-1]), ("shape", []), ("shape", 5), ("data_type", "object"), ("data_type", 5), ("codecs", []), ("codecs", 5), ("chunk_grid", {})):  # fmt: skip # noqa: E501

        def flat(root: Path, victim: Path, name: str = name, value: Any = value) -> None:
            edited(part(root) / "data" / "mask.uint8" / "zarr.json", **{name: value})

        found.append(Hostility(f"header of an array with {name} = {value}", flat))

    def giant(root: Path, victim: Path) -> None:
        path = min(root.glob(".labelseg/checkpoints/*/*/last.safetensors"))
        path.write_bytes((2**60).to_bytes(8, "little") + path.read_bytes()[8:])

    return [*found, Hostility("checkpoint whose header says 2 ** 60 bytes", giant)]


def _names() -> list[Hostility]:
    """Images and instances with names at the edge of what file systems hold."""
    found = []
    odd = ("x" * (LONGEST - 4), "ä" * 125, "a\nb", "-rf", ".hidden", "a b", "a'b\"c", "a%2Fb", "CON", "x.png")
    for name in odd:

        def image(root: Path, victim: Path, name: str = name) -> None:
            data = root.parent / "data"
            for kind in ("images", "masks"):
                shutil.copy(data / kind / "a1.png", data / kind / f"{name}.png")
            with (data / "labels.csv").open("a", newline="") as table:
                csv.writer(table).writerow([name, "cat"])
            if "\n" not in name:
                with (data / "train.txt").open("a") as file:
                    file.write(f"{name}\n")

        found.append(Hostility(f"an image named {name[:20]!r}, {len(name)} letters", image, published=True))

    def undecodable(root: Path, victim: Path) -> None:
        data = os.fsencode(root.parent / "data" / "images")
        shutil.copy(data + b"/a1.png", data + b"/\xff\xfe.png")

    found.append(Hostility("an image whose name is no UTF-8", undecodable))
    for name in ("x" * LONGEST, "x" * 100, "../../victim/deep", "a b"):

        def instance(root: Path, victim: Path, name: str = name) -> None:
            (root / "labelseg.toml").write_text((root / "labelseg.toml").read_text() + f'\n[spread."{name}"]\nrows = 1\n')

        found.append(Hostility(f"an instance named {name[:20]!r}, {len(name)} letters", instance))
    return found
