"""Masks of Segment Anything (Kirillov et al. 2023) as features for labelseg: of a place, how much of it each of the masks covers.

Places of one mask then point one way, so that a walk over their cosines stays within it; one that no mask covers is linked to none.
Run: ``python examples/sam.py photos features --checkpoint sam_vit_h_4b8939.pth`` (needs segment-anything and its weights:
Apache-2.0), then ``labelseg import-features --files features`` and ``labelseg propagate --affinity-kind features --features
import-features``.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


def mask_features(masks, size, stride):
    """Average masks (n of (H, W) bool) over blocks of ``stride`` pixels: (h, w, n) float16; without any mask one feature of zeros."""
    rows, columns = (-(-side // stride) for side in size)
    stack = np.zeros((rows * stride, columns * stride, max(len(masks), 1)), np.float32)
    for k, mask in enumerate(masks):
        stack[: size[0], : size[1], k] = mask
    return stack.reshape(rows, stride, columns, stride, -1).mean(axis=(1, 3)).astype(np.float16)


def write_features(generator, images, out, stride):
    """Write ``ID.npz`` with ``features`` and ``stride`` for every image of a folder."""
    for path in sorted(path for path in Path(images).rglob("*") if path.suffix.lower() in IMAGES):
        image = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))  # upright, as labelseg reads it
        masks = [found["segmentation"] for found in generator.generate(image)]
        target = Path(out) / path.relative_to(images).with_suffix(".npz")
        target.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(target, features=mask_features(masks, image.shape[:2], stride), stride=stride)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images")
    parser.add_argument("out")
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--model", default="vit_h")
    parser.add_argument("--stride", type=int, default=8)
    options = parser.parse_args()
    from segment_anything import SamAutomaticMaskGenerator, sam_model_registry

    sam = sam_model_registry[options.model](checkpoint=options.checkpoint)
    write_features(SamAutomaticMaskGenerator(sam), options.images, options.out, options.stride)
