"""A workspace of many generated images with maps and masks that no network had to make."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.recording import labelseg
from labelseg.data.scenes.drawing import make_scene
from labelseg.data.scenes.world import CLASSES

WIDTH, HEIGHT = 500, 375  # as photos of Pascal VOC
GRID = 8  # pixels of the image to a place of a map
DRAWN = 100  # scenes; further images are these in another light
IN_A_FOLDER = 1000
SHIFT = 12  # pixels that a mask is moved by, so that it is not the true one
DATA = {"images": "images", "labels": "labels.csv", "masks": "masks", "classes": "classes.txt"}
SETTINGS = "[data]\n" + "".join(f'{key} = "{value}"\n' for key, value in DATA.items()) + '[run]\ntarget = "override"\nsplit = "train"\n'


def make_large_workspace(root: Path, images: int) -> None:
    """Write images, tags, true masks, maps and masks that differ from the true ones, and take them in by ``labelseg``."""
    for name in ("images", "masks", "scores", "found"):
        for folder in range(-(-images // IN_A_FOLDER)):
            (root / name / f"{folder:04d}").mkdir(parents=True)
    (root / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    (root / "found" / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    (root / "labelseg.toml").write_text(SETTINGS)
    lines = ["image,labels"]
    for first in range(min(DRAWN, images)):
        lines += _write_scene(root, first, range(first, images, DRAWN))
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    labelseg(root, "import-scores", "--files", str(root / "scores"), "--workers", "0")
    labelseg(root, "import-masks", str(root / "found"))
    labelseg(root, "override", "--of", "", "--workers", "0")
    labelseg(root, "quality", "override")


def _write_scene(root: Path, first: int, numbers: range) -> list[str]:
    """Write all images of a scene; their lines of the table."""
    scene = make_scene(first)
    photo = Image.fromarray(scene.image).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    mask = np.asarray(Image.fromarray(scene.mask).resize((WIDTH, HEIGHT), Image.Resampling.NEAREST))
    maps = np.stack([mask[GRID // 2 :: GRID, GRID // 2 :: GRID] == k for k in scene.tags]).astype(np.float16)
    true, moved, scores = _png(mask), _png(np.roll(mask, SHIFT, axis=1)), io.BytesIO()
    np.savez(scores, scores=maps, classes=np.array([CLASSES[k] for k in scene.tags]))
    lines = []
    for number in numbers:
        name = f"{number // IN_A_FOLDER:04d}/{number:06d}"
        photo.point(lambda value, light=0.7 + 0.3 * number / numbers.stop: value * light).save(root / f"images/{name}.jpg", quality=90)
        (root / f"masks/{name}.png").write_bytes(true)
        (root / f"found/{name}.png").write_bytes(moved)
        (root / f"scores/{name}.npz").write_bytes(scores.getvalue())
        lines.append(f"{name},{';'.join(CLASSES[k] for k in scene.tags)}")
    return lines


def _png(mask: np.ndarray) -> bytes:
    """Encode class ids (H, W)."""
    data = io.BytesIO()
    Image.fromarray(mask).save(data, "PNG")
    return data.getvalue()
