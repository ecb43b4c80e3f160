"""What map stages should give, composed of the functions they are made of, on one small image and networks of random weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from labelseg.class_ids import IGNORE
from labelseg.data.augment.transforms import normalize
from labelseg.data.scenes.drawing import make_scene
from labelseg.models.affinity_net import AffinityNet, BoundaryNet
from labelseg.models.classifier import Classifier
from labelseg.models.encoders.registry import build_backbone
from labelseg.models.fast.inference_form import for_inference
from labelseg.models.networks import load_network, to_model
from labelseg.models.pseudoseg_net import Parts, PseudoSegNet
from labelseg.models.segmenter import Segmenter
from labelseg.ops.active.strategies import seeded
from labelseg.ops.affinity.grid import block_mean, from_grid, to_grid
from labelseg.ops.affinity.pairs import pair_offsets, pair_validity, psa_origins
from labelseg.ops.affinity.psa import affinity_labels as trusted_cells
from labelseg.ops.affinity.psa import pair_affinities
from labelseg.ops.affinity.random_walk import random_walk
from labelseg.ops.cam import normalize_cam, resize_maps, with_background
from labelseg.ops.crf.dense_crf import Bilateral, Gaussian, dense_crf, dense_crf_pair, label_crf
from labelseg.ops.few_masks.sgc import fuse, resize_bilinear
from labelseg.ops.prototypes import prototype_maps

ANSWERS = ((5, 8, "cat"), (20, 31, "horse"), (16, 36, "dog"), (40, 2, None))
CLASSES = ("background", "cat", "dog", "cow", "horse")
SIZE = (44, 60)


@dataclass(frozen=True)
class HandItem:
    """An item that holds what a stage may read of it."""

    id: str
    picture: np.ndarray
    tags: tuple[int, ...] | None
    sources: dict = field(default_factory=dict)
    answers: tuple = ()

    def image(self):
        return self.picture

    def file_image(self):
        return self.picture

    def scaling(self):
        return None

    def read(self, role):
        return self.sources[role]


@cache
def picture():
    """A part of a scene, (44, 60, 3) uint8."""
    image = make_scene(0, 0, "day").image
    return np.ascontiguousarray(image[: 2 * SIZE[0] : 2, : 2 * SIZE[1] : 2])


@cache
def model(name):
    """A network of random weights, as a finished training gives it; ``name`` is that of its kind."""
    torch.manual_seed(3)
    backbone = build_backbone("tiny", 16)
    net = {
        "classifier": lambda: Classifier(backbone, len(CLASSES) - 1),
        "affinity-net": lambda: AffinityNet(backbone, (8, 8, 8), "group"),
        "boundary-net": lambda: BoundaryNet(backbone),
        "segmenter": lambda: Segmenter(backbone, len(CLASSES), "atrous"),
        "pseudoseg": lambda: PseudoSegNet(backbone, len(CLASSES), "atrous", key_width=8),
    }[name]()
    for tensor in net.parameters():  # outputs of one image would hardly differ by place and class
        tensor.data *= 1.25
    tensors, meta = to_model(net.eval(), {"classes": list(CLASSES)})
    return SimpleNamespace(tensors=tensors, meta=meta)


@cache
def network(name):
    """The same network in the form that computes fast."""
    return for_inference(load_network(model(name), name))


def inputs(**models):
    """What a stage is given: role -> name of a network."""
    return SimpleNamespace(
        device="cpu",
        devices="cpu",
        ranks=1,
        classes=CLASSES,
        has_background=True,
        instance="",
        demand_background=lambda: None,
        log=lambda values: None,
        model=lambda role: model(models[role]),
    )


@cache
def maps():
    """Class activation maps of two classes, a rough square each, at a quarter of the image's sides."""
    rng = np.random.default_rng(5)
    scores = rng.random((2, -(-SIZE[0] // 4), -(-SIZE[1] // 4))) * 0.5
    scores[0, 2:7, 1:6] += 0.5
    scores[1, 4:9, 7:13] += 0.5
    return {"scores": (scores / scores.max(axis=(1, 2), keepdims=True)).astype(np.float16), "class_ids": np.array([2, 4], np.int16)}


@cache
def refined():
    """Scores of background and two classes in two readings that disagree in places, at a block of 8."""
    rng = np.random.default_rng(6)
    low, high = rng.random((2, 3, 6, 8)).astype(np.float16)
    mask = np.zeros(SIZE, np.uint8)
    mask[4:20, 8:30], mask[30:34, 40:46] = 2, 4
    return {"low": low, "high": high, "class_ids": np.array([0, 2, 4], np.int16), "mask": mask}


@cache
def quiet():
    """A mask in which neither class has much of the image."""
    mask = np.zeros(SIZE, np.uint8)
    mask[2:18, 6:26], mask[26:40, 36:50] = 2, 4
    return mask


def predict(name, image, precision, call=lambda net, x: net(x)):
    """Call a network on one image alone; what it gives, without the axis of images."""
    net = network(name)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
        return call(net, torch.from_numpy(normalize(image))[None])[0].float().numpy()


def scaled(image, scale):
    """The image at a factor of its sides."""
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    return image if scale == 1 else np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def views(name, image, params, call=lambda net, x: net(x)):
    """Maps of the image at every scale, and of its mirror where that is asked for, mirrored back: a list for each scale."""
    found = []
    for scale in getattr(params, "scales", (1.0,)):
        one = scaled(image, scale)
        found.append([predict(name, one, params.precision, call)])
        if params.flip:
            found[-1].append(predict(name, np.ascontiguousarray(one[:, ::-1]), params.precision, call)[..., ::-1])
    return found


def image_probabilities(image, precision):
    """The classifier's probability of each class but the background, for the image and its mirror."""
    both = [predict("classifier", one, precision) for one in (image, np.ascontiguousarray(image[:, ::-1]))]
    return np.mean([1 / (1 + np.exp(-logits)) for logits in both], axis=0)


def cam(item, params):
    """Maps of the classes present, summed over scales and mirrors, over their maximum."""
    ids = item.tags
    if params.tags == "predicted" or ids is None:
        ids = 1 + np.flatnonzero(image_probabilities(item.picture, params.precision) >= params.tag_threshold)
    size = {"full": SIZE, "stride4": (-(-SIZE[0] // 4), -(-SIZE[1] // 4))}[params.store]
    found = views("classifier", item.picture, params, lambda net, x: net.cam(x))
    total = sum(resize_maps(np.ascontiguousarray(view), size) for of_scale in found for view in of_scale)[np.asarray(ids, int) - 1]
    scores = total / (total.max(axis=(1, 2), keepdims=True, initial=0) + 1e-5)
    if params.kind != "plain":
        once = SimpleNamespace(scales=(params.prototype_scale,), flip=params.flip, precision=params.precision)
        features = np.mean(views("classifier", item.picture, once, features_of)[0], axis=0)
        shares = {"top": params.prototype_top, "bottom": params.prototype_bottom, "temperature": params.prototype_temperature}
        alike = resize_maps(prototype_maps(features, resize_maps(scores, features.shape[1:]), **shares), size)
        alike = alike / (alike.max(axis=(1, 2), keepdims=True, initial=0) + 1e-5)
        scores = {"prototype": alike, "mean": (scores + alike) / 2}[params.kind]
    return {"scores": scores, "class_ids": np.asarray(ids), "size": np.array(SIZE)}


def features_of(net, images):
    """The last two levels of the backbone, each divided by its length, on the finer grid."""
    fine, coarse = net.backbone(images)[-2:]
    coarse = F.interpolate(coarse, size=fine.shape[2:], mode="bilinear", align_corners=False)
    return torch.cat([level / level.norm(dim=1, keepdim=True).clamp(min=1e-12) for level in (fine, coarse)], dim=1)


def refine(item, params):
    """The two readings on blocks of 8, and the mask of a third."""
    scores = resize_maps(maps()["scores"], SIZE)
    low, high, middle = dense_crf_pair(
        item.picture,
        [with_background(scores, alpha) for alpha in (params.alpha_low, params.alpha_high, params.alpha)],
        iterations=params.crf_iters,
        gaussian=Gaussian(sxy=params.crf_smooth_sxy, weight=params.crf_smooth_weight),
        bilateral=Bilateral(sxy=params.crf_sxy, srgb=params.crf_srgb, weight=params.crf_weight),
        backend=params.crf_backend,
        tolerance=params.crf_tolerance,
    )
    ids = np.array([0, 2, 4])
    grid = {name: block_mean(maps, 8, count_padding=params.psa_compat) for name, maps in (("low", low), ("high", high))}
    return {**grid, "class_ids": ids, "mask": ids[middle.argmax(axis=0)]}


def floods(mask, others, params):
    """The classes that cover too much of a mask, beside the largest part that they have of the others."""
    return [k for k in (2, 4) if (mask == k).mean() > params.guard_factor * max((one == k).mean() for one in others) + params.guard_margin]


def affinity_labels(item, params):
    """Class ids of the cells that both readings agree on, but for classes that flooded."""
    positions = trusted_cells(refined()["low"], refined()["high"], rule=params.rule)
    labels = np.where(positions == IGNORE, IGNORE, np.array([0, 2, 4, *[IGNORE] * 253])[positions])
    for k in floods(refined()["mask"], [quiet()], params) if params.guard_masks else []:
        labels[labels == k] = IGNORE
    return {"labels": labels}


@cache
def place_features():
    """Features of places 12 pixels apart, some of them silent, some pointing away from others."""
    values = np.random.default_rng(8).standard_normal((4, 5, 3)) + 0.6
    values[1, 2] = 0
    return {"features": values.astype(np.float16), "stride": np.array(12, np.int32)}


def cosines(values, offsets):
    """Cosine of each pair of features (h, w, D), 0 where it is negative or one of them is silent."""
    found = np.zeros((len(offsets), *values.shape[:2]), np.float32)
    for k, y, x in np.ndindex(found.shape):
        to_y, to_x = y + offsets[k][0], x + offsets[k][1]
        if 0 <= to_y < found.shape[1] and 0 <= to_x < found.shape[2]:
            one, other = values[y, x].astype(float), values[to_y, to_x].astype(float)
            lengths = np.sqrt((one**2).sum()) * np.sqrt((other**2).sum())
            found[k, y, x] = max(0.0, (one * other).sum() / lengths) if lengths else 0.0
    return found


def affinities(image, params, name):
    """Affinities of the pairs of an image, and the stride of their grid."""
    offsets = pair_offsets(params.radius)
    grid = [-(-side // 8) for side in image.shape[:2]]
    if params.affinity_kind == "features":
        return cosines(place_features()["features"], offsets), 12
    if params.affinity_kind == "constant":
        return pair_validity(grid, offsets).astype(np.float32), 8
    if params.affinity_kind == "colour":
        cells = torch.from_numpy(block_mean(image.transpose(2, 0, 1).astype(np.float32), 8))
        return pair_affinities(cells[None] / params.colour_range, offsets)[0].numpy(), 8
    net = network(name)
    once = SimpleNamespace(flip=params.flip, precision=params.precision)
    outputs = torch.from_numpy(np.stack(views(name, image, once)[0]))
    return net.view_affinities(outputs, offsets).numpy(), net.stride


def boundary(image, params):
    """The probability of a boundary in each cell, from the mean logits of an image and its mirror."""
    once = SimpleNamespace(flip=params.flip, precision=params.precision)
    logits = np.mean([view[0] for view in views("boundary-net", image, once)[0]], axis=0)
    return 1 / (1 + np.exp(-logits))


def propagate(item, params, name="affinity-net"):
    """Walked scores, and the mask that they make or a CRF after them; over boundaries unless named otherwise as IRN walks."""
    ids = np.array([0, 2, 4])
    walks = []
    damped = name == "boundary-net" and params.start in ("auto", "irn")
    start = maps()["scores"]
    if params.start == "psa":
        start = with_background(resize_maps(start, SIZE), params.alpha)
    elif params.start == "background" or params.guard == "competitor":
        start = np.stack([1 - start.max(axis=0), *start])
    for scale in (1.0,) if params.affinity_kind == "features" else params.scales:
        image = scaled(item.picture, scale)
        pairs, stride = affinities(image, params, name)
        if params.psa_compat:
            pairs = pairs * psa_origins(pairs.shape[1:], params.radius)
        cells = to_grid(start, image.shape[:2], stride, count_padding=params.psa_compat)
        if damped:
            cells = start if start.shape == cells.shape else cells
            cells = cells - cells * boundary(image, params)
        walked = random_walk(
            cells, pairs, pair_offsets(params.radius), beta=params.beta, steps=params.iters, tolerance=params.tolerance
        )  # fmt: skip
        walks.append(from_grid(walked if damped or params.start == "psa" else normalize_cam(walked), stride, image.shape[:2], SIZE))
    scores = np.mean(walks, axis=0)
    whole = scores / scores[-2:].max()
    if params.start != "psa":
        scores = normalize_cam(scores)
    competing = np.stack([scores[0] * params.background_weight, *scores[1:]])
    if params.start == "background":
        scores = competing
    elif params.start != "psa":
        scores = np.stack([np.full(SIZE, params.threshold, np.float32), *(whole if damped else scores)[-2:]])
    places = scores.argmax(axis=0)
    others = {"off": [], "refined": [quiet()], "competitor": [ids[competing.argmax(axis=0)], quiet()]}[params.guard]
    for k in floods(ids[places], others, params) if others else []:
        place = list(ids).index(k)
        places[places == place] = 0
        places[(others[0] == k) & (places == 0)] = place
    if params.crf:
        options = {
            "iterations": params.crf_iters,
            "bilateral": Bilateral(sxy=params.crf_sxy, srgb=params.crf_srgb, weight=params.crf_weight),
            "backend": params.crf_backend,
        }
        by_labels = params.crf_unary == "labels"
        places = label_crf(item.picture, places, 3, **options) if by_labels else dense_crf(item.picture, scores, **options).argmax(axis=0)
    quarter = (-(-SIZE[0] // 4), -(-SIZE[1] // 4))
    return {"scores": resize_maps(scores[1:], quarter), "class_ids": ids[1:], "size": np.array(SIZE), "mask": ids[places]}


def features(item, params):
    """Levels of a backbone over the image, which is filled up to whole blocks and enlarged, each of unit length, on one grid."""
    torch.manual_seed(0)
    backbone = network("segmenter").backbone if params.model else for_inference(build_backbone(params.backbone, params.output_stride))
    stride = min((4, 8, 16, 16)[level - 1] if params.output_stride == 16 else (4, 8, 8, 8)[level - 1] for level in params.levels)
    rows, columns = (-(-side // params.stride) for side in SIZE)
    below, right = (np.minimum(np.arange(n * params.stride), side - 1) for n, side in zip((rows, columns), SIZE, strict=True))
    filled = item.picture[below][:, right]
    enlarged = filled
    if stride != params.stride:
        enlarged = np.asarray(Image.fromarray(filled).resize((columns * stride, rows * stride), Image.Resampling.BICUBIC))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=params.precision == "bf16-mixed"):
        taps = backbone(torch.from_numpy(normalize(np.ascontiguousarray(enlarged)))[None])
    levels = [resize_maps(taps[level - 1][0].float().numpy(), (rows, columns)) for level in params.levels]
    joint = np.concatenate([level / np.maximum(np.linalg.norm(level, axis=0), 1e-12) for level in levels]).transpose(1, 2, 0)
    return {"features": joint - joint.mean(axis=(0, 1)) if params.centre else joint, "stride": np.array(params.stride)}


def segment(item, params):
    """The most probable class and its probability, averaged over scales and mirrors."""
    probabilities = []
    for of_scale in views("segmenter", item.picture, params):
        exponents = [np.exp(logits - logits.max(axis=0)) for logits in of_scale]
        probabilities.append(resize_maps(np.mean([e / e.sum(axis=0) for e in exponents], axis=0), SIZE))
    mean = np.mean(probabilities, axis=0)
    weights = None
    if params.classes:
        weights = image_probabilities(item.picture, params.precision)
    if params.tags == "given":
        weights = np.array([float(k in item.tags) for k in range(1, len(CLASSES))])
    if weights is not None:
        joint = mean[1:] * weights[:, None, None]
        mean = np.stack([mean[0], *(joint / joint.sum(axis=0) * (1 - mean[0]))])
    if params.crf:
        appearance = Bilateral(sxy=params.crf_sxy, srgb=params.crf_srgb, weight=params.crf_weight)
        mean = dense_crf(item.picture, mean, iterations=params.crf_iters, bilateral=appearance, backend=params.crf_backend)
    return {"mask": mean.argmax(axis=0), "confidence": mean.max(axis=0)}


def sgc(item, params):
    """The fused label with its parts: scores, spread maps, confidence and mask."""
    net = network("pseudoseg")
    with torch.inference_mode():
        with torch.autocast("cpu", torch.bfloat16, enabled=params.precision == "bf16-mixed"):
            parts = Parts(*(part.float() for part in net(torch.from_numpy(normalize(item.picture))[None], "parts")))
        tags = (net.tag_logits(parts.high).sigmoid() >= params.tag_threshold).float()
        if params.tags == "given":
            tags = torch.tensor([[float(k in item.tags) for k in range(1, len(CLASSES))]])
        grid = tuple(parts.logits.shape[2:])
        spread = net.sgc_logits(parts, tags, torch.ones(1, *grid))
        how = {"gamma": params.gamma, "temperature": params.temperature, "normalize": params.normalize, "scope": params.norm_scope}
        fused = fuse(parts.logits, resize_bilinear(spread, grid, net.align_corners), **how)
        confidence, mask = resize_bilinear(fused, SIZE, net.align_corners)[0].max(dim=0)
    return {
        "scores": fused[0].numpy(),
        "maps": spread[0].softmax(dim=0).numpy(),
        "class_ids": np.arange(len(CLASSES)),
        "size": np.array(SIZE),
        "confidence": confidence.numpy(),
        "mask": np.where(confidence.numpy() < params.threshold, IGNORE, mask.numpy()),
    }


@cache
def masks():
    """Masks of blocks that disagree in places, with a confidence, as ``of`` and ``beside``; one that trusts each class little."""
    rng = np.random.default_rng(7)
    one, two = (np.kron(rng.integers(0, 3, (4, 6)), np.ones((11, 10))).astype(np.uint8) for _ in range(2))
    one[:3, :3] = IGNORE
    return {
        "of": {"mask": one, "confidence": rng.random(SIZE).astype(np.float16)},
        "beside": {"mask": two},
        "guard_masks": {"mask": quiet()},
    }


def ask(item, params):
    """Pixels by chance; else those farthest from all that is not in doubt alike, each with its disc taken out."""
    mask, count = masks()["of"]["mask"].astype(int), params.budget
    if params.choose == "random":
        places = np.sort(seeded(params.seed, "one", 0).permutation(mask.size)[:count])
        found = [(int(place) // SIZE[1], int(place) % SIZE[1]) for place in places]
    else:
        other, confidence = masks()["beside"]["mask"].astype(int), masks()["of"]["confidence"].astype(float)
        doubt = np.where((mask == other) | (mask == IGNORE), -1, mask * 1000 + other)
        doubt = doubt if params.beside else np.where(confidence < np.quantile(confidence, params.share), mask, -1)
        found = []
        while len(found) < count and (doubt >= 0).any():
            depths = {place: _depth(doubt, place) for place in zip(*np.nonzero(doubt >= 0), strict=True)}
            chosen = max(depths, key=lambda place: (depths[place], -place[0], -place[1]))
            found.append(chosen)
            alike = [place for place in depths if doubt[place] == doubt[chosen] and place != chosen]
            for place in alike:
                if np.hypot(place[0] - chosen[0], place[1] - chosen[1]) < depths[chosen]:
                    doubt[place] = -1
            doubt[chosen] = -1
    guesses = [-1 if mask[place] == IGNORE else mask[place] for place in found]
    return {"points": np.array(found).reshape(-1, 2), "guesses": np.array(guesses)}


def _depth(doubt, place):
    """Distance to the nearest place of another kind; all beyond the border are."""
    padded = np.pad(doubt, 1, constant_values=-2)
    rows, columns = np.nonzero(padded != doubt[place])
    return np.sqrt(((rows - 1 - place[0]) ** 2 + (columns - 1 - place[1]) ** 2).min())


def correct(item, params):
    """The mask with each answer at its pixel, and at all pixels that a path within its class brings there for little."""
    mask = masks()["of"]["mask"] if params.of else np.full(SIZE, IGNORE, np.uint8)
    points = [place[:2] for place in ANSWERS if place[2]]
    labels = [CLASSES.index(place[2]) for place in ANSWERS if place[2]]
    best, found = np.full(SIZE, np.inf), mask.copy()
    for place, label in zip(points, labels, strict=True):
        queue, costs = [place], {place: 0.0}
        while queue:
            y, x = queue.pop()
            for near in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
                if not (0 <= near[0] < SIZE[0] and 0 <= near[1] < SIZE[1]) or mask[near] != mask[place]:
                    continue
                step = 1 + params.colour * np.abs(picture()[near].astype(float) - picture()[y, x]).mean() / 255
                if costs[y, x] + step <= params.reach and costs[y, x] + step < costs.get(near, np.inf):
                    costs[near] = costs[y, x] + step
                    queue.append(near)
        for near, cost in costs.items():
            if cost < best[near]:
                best[near], found[near] = cost, label
    return {"mask": found, "points": np.array(points), "point_labels": np.array(labels)}
