"""Stage ``segment``: masks and confidences of a trained segmenter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labelseg.methods.crf_params import CrfParams
from labelseg.pipeline.declare.stage import Stage, option, source

if TYPE_CHECKING:
    from labelseg.pipeline.engines.inputs import Inputs, Item


@dataclass(frozen=True, kw_only=True)
class Views:
    """What segments, and which views of an image it sees."""

    model: str = source("train-segmenter", help="Instance that provides the segmenter.", kind="model")
    scales: tuple[float, ...] = option((0.75, 1.0, 1.25, 1.5), help="Scales of the image whose probabilities are averaged.", minimum=0.01)
    flip: bool = option(True, help="Add the probabilities of the mirrored image.")
    classes: str = source(
        "", help="Classifier by whose probabilities the foreground of an image is shared among classes; empty shares none.", kind="model"
    )
    tags: str = option(
        "ignored",
        help="Tags that say which classes an image may hold: those given with it, which come before the classifier's, or none.",
        choices=("ignored", "given"),
        neutral=True,
    )
    crf: bool = option(False, help="Refine the probabilities by a dense CRF.")


@dataclass(frozen=True, kw_only=True)
class Params(CrfParams, Views):
    """Parameters of ``segment``."""

    precision: str = option("32-true", help="Precision of the forward passes.", choices=("32-true", "bf16-mixed"))
    tile: int = option(
        0,
        help="Segment the photo at the size of its file, in tiles of this side, a multiple of 64 pixels; 0 segments it whole, at the size "
        "that it is worked on at.",
        minimum=0,
        multiple=64,
        neutral=True,
    )
    overlap: int = option(
        128,
        help="Pixels that tiles share; a quarter of them at a tile's border counts nothing.",
        minimum=4,
        multiple=4,
        effective=lambda params: params.tile > 0,
    )


def run(inputs: Inputs, params: Params) -> Callable[[Item], dict[str, Any]]:
    """Segment images with a trained network, at several scales and mirrored.

    Where tags or a classifier say which classes an image holds, its foreground is shared among these before the CRF.

    Returns:
        The function that computes an item: ``mask`` uint8 (H, W), class ids; ``confidence`` float16 (H, W), the probability of that class
        in [0, 1]; with tiles, of an image that is worked on smaller than its file, also ``file_mask`` uint8 at the size of the file, of
        which ``mask`` is a sample; of a class-incremental model also ``known_ids`` and ``new_ids`` int16 (K,).
    """
    import numpy as np

    from labelseg.inference.predictor import Predictor, class_probabilities, resize_image, tag_probabilities
    from labelseg.models.fast.inference_form import for_inference
    from labelseg.models.networks import SEGMENTERS, known_classes, load_network, step_arrays
    from labelseg.ops.class_weights import share_foreground
    from labelseg.ops.crf.dense_crf import Bilateral, dense_crf
    from labelseg.ops.tiles import blend_tiles, check_tiles
    from labelseg.working_size import FILE_MASK

    if params.tile:
        check_tiles(params.tile, params.overlap, inputs.instance)
    model = inputs.model("model")
    predictor = Predictor(for_inference(load_network(model, SEGMENTERS)), inputs.device, params.precision)
    class_ids, step = np.array(known_classes(model.meta), np.uint8), step_arrays(model.meta)
    bilateral = Bilateral(params.crf_sxy, params.crf_srgb, params.crf_weight)
    background = 0 if inputs.has_background else None
    tagger = None
    if params.classes:
        tagger = Predictor(for_inference(load_network(inputs.model("classes"), "classifier")), inputs.device, params.precision)

    def class_weights(item: Item, image: np.ndarray) -> np.ndarray | None:
        """(K,) weights of the segmenter's classes, or None where nothing is known of the image."""
        weights = np.zeros(len(inputs.classes), np.float32)
        if params.tags == "given" and item.tags is not None:
            weights[list(item.tags)] = 1
        elif tagger is not None:
            probabilities = tag_probabilities(tagger, image)
            weights[len(weights) - len(probabilities) :] = probabilities
        else:
            return None
        return weights[class_ids]

    def probabilities_of(image: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        """(K, H, W) probabilities of the segmenter's classes."""
        probabilities = class_probabilities(predictor, image, params.scales, params.flip)
        if weights is not None:
            probabilities = share_foreground(probabilities, weights, background)
        if params.crf:
            probabilities = dense_crf(
                image,
                probabilities,
                iterations=params.crf_iters,
                bilateral=bilateral,
                backend=params.crf_backend,
                device=inputs.device,
            )
        return probabilities

    def compute(item: Item) -> dict[str, np.ndarray]:
        image = item.image()
        probabilities = probabilities_of(image, class_weights(item, image))
        return {
            "mask": class_ids[probabilities.argmax(axis=0)],
            "confidence": probabilities.max(axis=0).astype(np.float16),
            **step,
        }

    def compute_tiles(item: Item) -> dict[str, np.ndarray]:
        image, scaling = item.file_image(), item.scaling()
        seen = item.image() if scaling else resize_image(image, min(params.tile / max(image.shape[:2]), 1))
        weights = class_weights(item, seen)
        mask, confidence = np.empty(image.shape[:2], np.uint8), np.empty(image.shape[:2], np.float16)
        blocks = blend_tiles(
            (image.shape[0], image.shape[1]), params.tile, params.overlap, lambda block: probabilities_of(image[block], weights)
        )
        for block, probabilities in blocks:
            mask[block], confidence[block] = class_ids[probabilities.argmax(axis=0)], probabilities.max(axis=0)
        if scaling is None:
            return {"mask": mask, "confidence": confidence, **step}
        return {"mask": scaling.shrink(mask), "confidence": scaling.shrink(confidence), FILE_MASK: mask, **step}

    return compute_tiles if params.tile else compute


STAGE = Stage(
    name="segment",
    version=2,
    kind="map",
    params=Params,
    run=run,
    uses=lambda params: ("image", "tags") if params.tags == "given" else ("image",),
    has_masks=True,
)
