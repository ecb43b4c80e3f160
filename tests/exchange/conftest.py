"""Masks with all that a format may trip over, under names that a program may trip over."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from labelseg.exchange.writers.formats import FORMATS
from labelseg.exchange.writers.publication import published
from labelseg.exchange.writers.samples import Picture, Sample, Target

CLASSES = ("background", "cat", "tabby dog")
NAMES = ("plain.png", "with space.jpg", "farm/one.jpg", "barn/one.jpg", "dots.v1.end.png", "Größe π.png", "images/x.png", "turned.jpg")


def mask_of(number):
    """A hole, a class within another one, blobs that touch by a corner, a single pixel, and pixels of 255."""
    mask = np.zeros((18 + number, 24 - number), np.uint8)
    mask[2:9, 2:10] = 1
    mask[4:6, 4:7], mask[7, 5] = 0, 2
    mask[10:12, 2:4] = mask[12:14, 4:6] = mask[-1, -1] = 1
    mask[3:6, 12:15], mask[8:15, 8:10] = 2, 255
    return mask


@pytest.fixture(scope="session")
def samples(tmp_path_factory):
    """Image id -> sample; all are of the split val but the first two."""
    folder, found = tmp_path_factory.mktemp("images"), {}
    for number, name in enumerate(NAMES):
        mask = mask_of(number)
        pixels = np.random.default_rng(number).integers(0, 255, (*mask.shape, 3), dtype=np.uint8)
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        image, exif = Image.fromarray(pixels), Image.Exif()
        if name.startswith("turned"):
            exif[0x0112] = 6
            image = image.transpose(Image.Transpose.ROTATE_90)
        image.save(path, **({"exif": exif} if len(exif) else {}))
        image_id = name.rpartition(".")[0]
        found[image_id] = Sample(image_id, "train" if number < 2 else "val", mask, Picture(path, lambda pixels=pixels: pixels))
    return found


@pytest.fixture(scope="session")
def write(samples, tmp_path_factory):
    """Write all masks in a format; the place, and what was lost."""

    def write(name, classes=CLASSES, **choices):
        form = FORMATS[name]
        output = tmp_path_factory.mktemp(name) / ("out.zip" if form.archive else "out")
        with published(output, archive=form.archive) as folder:
            writer = form.open(Target(folder, classes, ("train", "val"), output.stem, **choices))
            for sample in samples.values():
                writer.add(sample)
            writer.finish()
        return output, writer.losses()

    return write
