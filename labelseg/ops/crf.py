"""Dense conditional random field: sharpen class scores with the colours of the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydensecrf.densecrf import DenseCRF2D

from labelseg.errors import UsageError

BACKENDS = ("pydensecrf",)
MIN_SCORE = 1e-5


class Gaussian(NamedTuple):
    """The smoothness kernel: pixels near each other share a label."""

    sxy: float = 3.0
    weight: float = 3.0


class Bilateral(NamedTuple):
    """The appearance kernel: pixels near each other and of similar colour share a label."""

    sxy: float = 80.0
    srgb: float = 13.0
    weight: float = 10.0


SMOOTHNESS = Gaussian()
APPEARANCE = Bilateral()
LABEL_APPEARANCE = Bilateral(sxy=50.0, srgb=5.0)


def dense_crf(
    image: NDArray[np.uint8],
    scores: NDArray[np.floating],
    *,
    iterations: int = 10,
    gaussian: Gaussian = SMOOTHNESS,
    bilateral: Bilateral = APPEARANCE,
    backend: str = "pydensecrf",
) -> NDArray[np.float32]:
    """Refine class scores by mean-field inference with unary ``-ln(clip(score, 1e-5, 1))`` and Potts penalties.

    Args:
        image: (H, W, 3) uint8 RGB.
        scores: (C, H, W) in [0, 1]; they need not sum to 1.
        iterations: Mean-field updates; 0 gives the normalised scores.
        gaussian: Smoothness kernel.
        bilateral: Appearance kernel.
        backend: One of ``BACKENDS``.

    Returns:
        (C, H, W) float32 marginals; they sum to 1 at every pixel.

    Source: Krähenbühl & Koltun 2011; settings of the published PSA code (spec psa 1.6).
    """
    unary = -np.log(np.clip(scores, MIN_SCORE, 1.0, dtype=np.float32))
    return _mean_field(image, unary, iterations, gaussian, bilateral, backend)


def dense_crf_pair(
    image: NDArray[np.uint8],
    stacks: Sequence[NDArray[np.floating]],
    *,
    iterations: int = 10,
    gaussian: Gaussian = SMOOTHNESS,
    bilateral: Bilateral = APPEARANCE,
    backend: str = "pydensecrf",
) -> list[NDArray[np.float32]]:
    """Refine several score stacks of one image, as ``dense_crf`` does each; what depends on the image alone may be shared.

    Args:
        image: (H, W, 3) uint8 RGB.
        stacks: Each (C, H, W); C may differ.

    Returns:
        Marginals of each stack, in order.
    """
    return [dense_crf(image, scores, iterations=iterations, gaussian=gaussian, bilateral=bilateral, backend=backend) for scores in stacks]


def label_crf(
    image: NDArray[np.uint8],
    labels: NDArray[np.integer],
    n_labels: int,
    *,
    confidence: float = 0.7,
    iterations: int = 10,
    gaussian: Gaussian = SMOOTHNESS,
    bilateral: Bilateral = LABEL_APPEARANCE,
    backend: str = "pydensecrf",
) -> NDArray[np.uint8]:
    """Refine a label map: each pixel believes its label with ``confidence``, and the others share the rest.

    Args:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) in 0 .. n_labels - 1.
        n_labels: At least 1; with a single label the map comes back as it is.

    Returns:
        (H, W) uint8: the most probable label.

    Source: Ahn, Cho & Kwak 2019 (spec psa 3.2).
    """
    if n_labels < 2:
        return labels.astype(np.uint8)
    is_label = labels[None] == np.arange(n_labels).reshape(-1, 1, 1)
    belief = np.where(is_label, confidence, (1.0 - confidence) / (n_labels - 1))
    unary = -np.log(belief).astype(np.float32)
    return _mean_field(image, unary, iterations, gaussian, bilateral, backend).argmax(axis=0).astype(np.uint8)


def _mean_field(
    image: NDArray[np.uint8],
    unary: NDArray[np.float32],
    iterations: int,
    gaussian: Gaussian,
    bilateral: Bilateral,
    backend: str,
) -> NDArray[np.float32]:
    """Run mean-field inference on (C, H, W) energies."""
    if backend not in BACKENDS:
        raise UsageError(f"CRF backend: expected one of {', '.join(BACKENDS)}, got {backend!r}.")
    if image.shape != (*unary.shape[1:], 3):
        raise UsageError(f"dense CRF: expected an image of shape {(*unary.shape[1:], 3)}, got {image.shape}.")

    n_labels, height, width = unary.shape
    crf = DenseCRF2D(width, height, n_labels)
    crf.setUnaryEnergy(_writable(unary.reshape(n_labels, -1)))
    crf.addPairwiseGaussian(sxy=gaussian.sxy, compat=gaussian.weight)
    crf.addPairwiseBilateral(sxy=bilateral.sxy, srgb=bilateral.srgb, rgbim=_writable(image), compat=bilateral.weight)
    return np.array(crf.inference(iterations), dtype=np.float32).reshape(unary.shape)


def _writable(array: NDArray) -> NDArray:
    """Give a contiguous array that pydensecrf takes: it refuses read-only ones though it never writes to them."""
    return np.require(array, requirements=("C", "W"))
