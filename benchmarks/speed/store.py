"""The store against one zarr array an image and against one compressed npz an image, on masks and maps of VOC size.

Floor: a mask of 375 x 500 is 188 kB and a stride-4 map of two classes 47 kB before compression; written once and read once. A random
read has to decompress the chunks of one item.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from PIL import Image

from benchmarks.timing import seconds
from labelseg.data.scenes.drawing import make_scene
from labelseg.pipeline.store.parts import PartItem
from labelseg.pipeline.store.store import PartWriter, Store

SIZE = (375, 500)
Arrays = dict[str, NDArray[Any]]


def items(count: int) -> list[tuple[str, Arrays]]:
    """Masks of scenes at VOC size and smooth maps at a quarter of it, as stages write them."""
    rng = np.random.default_rng(0)
    made = []
    for index in range(count):
        mask = np.asarray(Image.fromarray(make_scene(index % 100).mask).resize(SIZE[::-1], Image.Resampling.NEAREST))
        coarse = rng.random((2, 12, 16), dtype=np.float32)
        maps = [np.asarray(Image.fromarray(plane).resize((125, 94), Image.Resampling.BILINEAR)) for plane in coarse]
        made.append((f"{index:06d}", {"mask": np.roll(mask, index, axis=1), "scores": np.stack(maps).astype(np.float16)}))
    return made


class OurStore:
    """Immutable parts of 64 items."""

    name = "labelseg"

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = Store(root)
        self.places: dict[str, tuple[str, int]] = {}

    def write(self, data: list[tuple[str, Arrays]]) -> None:
        writer = PartWriter(self.store, "cam", {})
        for name, arrays in data:
            writer.add(PartItem(name, name, arrays))
        places = writer.flush()
        self.places = {name: (place.part, place.index) for (name, _), place in zip(data, places, strict=True)}

    def read(self, name: str) -> Arrays:
        return self.store.read("cam", *self.places[name])


class ZarrArrays:
    """One zarr v3 array for each image and name, with zarr's default codecs."""

    name = "one zarr array an image"

    def __init__(self, root: Path) -> None:
        self.group = zarr.open_group(root, mode="w")

    def write(self, data: list[tuple[str, Arrays]]) -> None:
        for name, arrays in data:
            for kind, array in arrays.items():
                self.group.create_array(f"{kind}/{name}", data=array)

    def read(self, name: str) -> Arrays:
        return {kind: self.group[f"{kind}/{name}"][:] for kind in ("mask", "scores")}  # type: ignore[index,misc]


class CompressedNpz:
    """One compressed npz file an image."""

    name = "one compressed npz an image"

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, data: list[tuple[str, Arrays]]) -> None:
        for name, arrays in data:
            np.savez_compressed(self.root / f"{name}.npz", **arrays)  # type: ignore[arg-type]

    def read(self, name: str) -> Arrays:
        with np.load(self.root / f"{name}.npz", allow_pickle=False) as file:
            return {kind: file[kind] for kind in ("mask", "scores")}


def footprint(root: Path) -> tuple[int, int]:
    """Count files and bytes below a folder."""
    sizes = [path.stat().st_size for path in root.rglob("*") if path.is_file()]
    return len(sizes), sum(sizes)


def measure(make: Callable[[Path], Any], data: list[tuple[str, Arrays]], root: Path) -> dict[str, float]:
    """Write, read at random from a fresh handle, scan, and check what comes back."""
    root.mkdir()
    holder = make(root)
    took = {"write": seconds(lambda: holder.write(data))}
    order = np.random.default_rng(1).permutation(len(data))[: max(len(data) // 5, 1)]
    took["random read"] = seconds(lambda: [holder.read(data[k][0]) for k in order])
    took["scan"] = seconds(lambda: [holder.read(name) for name, _ in data])
    for name, arrays in (data[0], data[-1]):
        back = holder.read(name)
        if any(not np.array_equal(back[kind], array) for kind, array in arrays.items()):
            raise SystemExit(f"store benchmark: {holder.name} gave back something else.")
    took["files"], took["bytes"] = footprint(root)
    return took


def run(quick: bool) -> list[dict[str, Any]]:
    """Measure."""
    data = items(100 if quick else 1000)
    with fresh_folder() as folder:
        results = {kind.name: measure(kind, data, folder / kind.__name__) for kind in (OurStore, ZarrArrays, CompressedNpz)}
    ours = results[OurStore.name]
    rows = []
    for opponent in (ZarrArrays.name, CompressedNpz.name):
        theirs = results[opponent]
        for job in ("write", "random read", "scan"):
            rows.append(
                {
                    "name": f"store: {job}, {len(data)} images with mask and maps",
                    "ours_s": ours[job],
                    "opponent": opponent,
                    "opponent_s": theirs[job],
                    "ratio": theirs[job] / ours[job],
                    "files": [int(ours["files"]), int(theirs["files"])],
                    "kilobytes an image": [round(r["bytes"] / len(data) / 1000, 2) for r in (ours, theirs)],
                }
            )
    return rows


@contextmanager
def fresh_folder() -> Iterator[Path]:
    """Make a folder on the disk of this project, removed afterwards: a temporary folder may lie in memory."""
    runs = Path("runs")
    runs.mkdir(exist_ok=True)
    path = Path(tempfile.mkdtemp(prefix="bench-", dir=runs))
    try:
        yield path
    finally:
        shutil.rmtree(path)
