"""Images under names that programs trip over, and masks with all that formats trip over."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

NAMES = (
    "plain.png",
    "with space.jpg",
    "farm/one.jpg",
    "barn/one.jpg",
    "dots.v1.final.png",
    "Größe π.png",
    "images/deep/x.png",
    "turned.jpg",
)
CLASSES = ("background", "cat", "tabby dog")


def write_odd_data(folder: Path) -> dict[str, np.ndarray]:
    """Write images, masks and classes; return the masks by id, each (H, W) uint8.

    Each mask has a hole, a class within another one, two blobs of one class, two that touch by a corner, a single pixel, and pixels of 255.
    """
    rng, found = np.random.default_rng(0), {}
    for number, name in enumerate(NAMES):
        mask = np.zeros((67 + number, 83 - number), np.uint8)
        mask[4:30, 5:45] = 1
        mask[8:14, 9:24], mask[20:27, 9:14] = 0, 2
        mask[45:50, 5:9] = mask[50:53, 9:12] = mask[-1, -1] = 1
        mask[3:19, 50:60], mask[40:56, 40:43], mask[0, :3] = 2, 255, 2
        image = Image.fromarray(rng.integers(0, 255, (*mask.shape, 3), dtype=np.uint8))
        path, exif = folder / "images" / name, Image.Exif()
        if name == "turned.jpg":
            exif[0x0112] = 6
            image = image.transpose(Image.Transpose.ROTATE_90)
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, **({"exif": exif} if len(exif) else {}))
        truth = (folder / "masks" / name).with_suffix(".png")
        truth.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(truth)
        found[name.rpartition(".")[0]] = mask
    (folder / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    return found
