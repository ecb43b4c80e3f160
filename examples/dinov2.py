"""Features of DINOv2 (Oquab et al. 2023) for labelseg: one for every patch, of the last layer, normalised as the model does it.

Run: ``python examples/dinov2.py photos features --stride 7`` (needs timm, which downloads the weights: Apache-2.0), then
``labelseg import-features --files features`` and ``labelseg propagate --affinity-kind features --features import-features``.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


@torch.inference_mode()
def patch_features(model, image, stride, patch=14):
    """Compute a feature for every ``stride`` pixels that an image (H, W, 3) begins: (h, w, D) float16."""
    rows, columns = (-(-side // stride) for side in image.shape[:2])
    whole = np.pad(image, ((0, rows * stride - image.shape[0]), (0, columns * stride - image.shape[1]), (0, 0)), mode="edge")
    scaled = Image.fromarray(whole).resize((columns * patch, rows * patch), Image.Resampling.BICUBIC)  # a patch for every cell
    pixels = (np.asarray(scaled) / 255 - MEAN) / DEVIATION
    tokens = model.forward_features(torch.tensor(pixels.transpose(2, 0, 1)[None], dtype=torch.float32))
    return tokens[0, model.num_prefix_tokens :].reshape(rows, columns, -1).numpy().astype(np.float16)


def write_features(model, images, out, stride):
    """Write ``ID.npz`` with ``features`` and ``stride`` for every image of a folder."""
    for path in sorted(path for path in Path(images).rglob("*") if path.suffix.lower() in IMAGES):
        image = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))  # upright, as labelseg reads it
        target = Path(out) / path.relative_to(images).with_suffix(".npz")
        target.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(target, features=patch_features(model, image, stride), stride=stride)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images")
    parser.add_argument("out")
    parser.add_argument("--stride", type=int, default=7, help="pixels of the image between features; 14 leaves its size, 7 doubles it")
    parser.add_argument("--model", default="vit_base_patch14_dinov2.lvd142m")
    options = parser.parse_args()
    import timm

    net = timm.create_model(options.model, pretrained=True, num_classes=0, dynamic_img_size=True).eval()
    write_features(net, options.images, options.out, options.stride)
