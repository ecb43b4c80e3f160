"""Folders whose records are deep, odd or of other types, and whose names are."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.faults.kinds.hostilities.hostility import LONGEST, Hostility, edited, manifest, part, ref, replaced

DEPTH = 100_000
ODD: tuple[Any, ...] = (None, True, -1, 1e308, [], {}, [[1]], "x" * 5_000, "a\0b", "\ud800", 10**40)
HASH = "0" * 32


def deep() -> list[Hostility]:
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


def odd_records() -> list[Hostility]:
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


def odd_parts() -> list[Hostility]:
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


def names() -> list[Hostility]:
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
