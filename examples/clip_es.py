"""Score maps of CLIP for labelseg, after CLIP-ES (Lin et al. 2023): Grad-CAM of its image transformer, by a softmax over classes and things
that are background. Its attention-based affinity is left out: the walk of labelseg takes that place.

Run: ``python examples/clip_es.py photos labels.csv scores`` (needs CLIP, ``pip install git+https://github.com/openai/CLIP``, which
downloads the weights: MIT; tags separated by ;), then ``labelseg import-scores --files scores`` and ``labelseg propagate --cam
import-scores``.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch.nn import functional as F

MEAN, DEVIATION = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])
BACKGROUND = (
    "ground,land,grass,tree,building,wall,sky,lake,water,river,sea,railway,road,keyboard,helmet,cloud,house,mountain,ocean,street,rock"
)


def score_maps(visual, image, texts, count, patch=16):
    """Compute Grad-CAM of the first ``count`` of some texts (K, D) of unit length for an image (H, W, 3): (count, h, w) in [0, 1]."""
    size = [max(round(side / patch), 1) for side in image.shape[:2]]
    scaled = np.asarray(Image.fromarray(image).resize((size[1] * patch, size[0] * patch), Image.Resampling.BICUBIC))
    x = (
        visual.conv1(torch.tensor(((scaled / 255 - MEAN) / DEVIATION).transpose(2, 0, 1)[None], dtype=texts.dtype))
        .flatten(2)
        .transpose(1, 2)
    )
    first, places = visual.positional_embedding[:1], visual.positional_embedding[1:]
    side = round(len(places) ** 0.5)
    places = F.interpolate(places.T.reshape(1, -1, side, side), size=size, mode="bilinear", align_corners=False).flatten(2)[0].T
    x = torch.cat([visual.class_embedding[None, None], x], dim=1) + torch.cat([first, places])
    *blocks, last = visual.transformer.resblocks
    x = visual.ln_pre(x).transpose(0, 1)
    for block in blocks:
        x = block(x)
    seen = last.ln_1(x.detach()).detach().requires_grad_()
    x = x.detach() + last.attention(seen)
    x = x + last.mlp(last.ln_2(x))
    logits = 100 * F.normalize(visual.ln_post(x[0]) @ visual.proj, dim=-1) @ texts.T
    maps = []
    for chance in logits.softmax(dim=-1)[0, :count]:
        weights = torch.autograd.grad(chance, seen, retain_graph=True)[0][1:].mean(dim=0)
        found = (seen[1:, 0] @ weights[0]).relu().reshape(size)
        maps.append((found - found.min()) / (found.max() - found.min()).clamp(min=1e-12))
    return torch.stack(maps).detach().numpy()


def write_scores(visual, encode, images, labels, out):
    """Write ``ID.npz`` with ``scores`` and ``classes`` for every image that has tags; ``encode`` turns names into texts (K, D)."""
    with open(labels, encoding="utf-8-sig", newline="") as file:
        tags = {row["image"]: [tag.strip() for tag in row["labels"].split(";") if tag.strip()] for row in csv.DictReader(file)}
    for path in sorted(path for path in Path(images).rglob("*") if path.suffix):
        name = path.relative_to(images).with_suffix("").as_posix()
        if names := tags.get(name) or tags.get(path.relative_to(images).as_posix()):
            image = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))  # upright, as labelseg reads it
            target = Path(out) / f"{name}.npz"
            target.parent.mkdir(parents=True, exist_ok=True)
            scores = score_maps(visual, image, encode([*names, *BACKGROUND.split(",")]), len(names))
            np.savez_compressed(target, scores=scores.astype(np.float16), classes=np.array(names))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for argument in ("images", "labels", "out"):
        parser.add_argument(argument)
    options = parser.parse_args()
    import clip

    net = clip.load("ViT-B/16", device="cpu")[0].float().eval()

    @torch.no_grad()
    def encoded(names):
        """Encode the prompts of CLIP-ES to unit length."""
        return F.normalize(net.encode_text(clip.tokenize([f"a clean origami {name}." for name in names])), dim=-1)

    write_scores(net.visual, encoded, options.images, options.labels, options.out)
