"""Dense conditional random field: sharpen class scores with the colours of the image."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from labelseg.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from labelseg.ops.crf.mean_field import Kernel

BACKENDS = ("native", "pydensecrf")
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


class Inference(NamedTuple):
    """How marginals are found."""

    iterations: int
    gaussian: Gaussian
    bilateral: Bilateral
    tolerance: float


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
    backend: str = "native",
    tolerance: float = 0.0,
    device: str = "cpu",
) -> NDArray[np.float32]:
    """Refine class scores by mean-field inference with unary ``-ln(clip(score, 1e-5, 1))`` and Potts penalties.

    Args:
        image: (H, W, 3) uint8 RGB.
        scores: (C, H, W) in [0, 1]; they need not sum to 1.
        iterations: Mean-field updates; 0 gives the normalised scores.
        gaussian: Smoothness kernel.
        bilateral: Appearance kernel.
        backend: One of ``BACKENDS``.
        tolerance: Stop once the largest change of an iteration, times the iterations left, is at most this; 0 does all of them.
        device: Torch device; unless it is the CPU, the native backend runs as torch operations.

    Returns:
        (C, H, W) float32 marginals; they sum to 1 at every pixel.

    Raises:
        MissingExtraError: The backend is an optional package that is not installed.

    Source: Krähenbühl & Koltun 2011; settings of the published PSA code (spec psa 1.6).
    """
    inference = Inference(iterations, gaussian, bilateral, tolerance)
    return _marginals(image, [scores], inference, backend, device)[0]


def dense_crf_pair(
    image: NDArray[np.uint8],
    stacks: Sequence[NDArray[np.floating]],
    *,
    iterations: int = 10,
    gaussian: Gaussian = SMOOTHNESS,
    bilateral: Bilateral = APPEARANCE,
    backend: str = "native",
    tolerance: float = 0.0,
    device: str = "cpu",
) -> list[NDArray[np.float32]]:
    """Refine several score stacks of one image, as ``dense_crf`` does each; what depends on the image alone is shared.

    Args:
        image: (H, W, 3) uint8 RGB.
        stacks: Each (C, H, W); C may differ.

    Returns:
        Marginals of each stack, in order. With a tolerance, all stop together.
    """
    return _marginals(image, stacks, Inference(iterations, gaussian, bilateral, tolerance), backend, device)


def label_crf(
    image: NDArray[np.uint8],
    labels: NDArray[np.integer],
    n_labels: int,
    *,
    confidence: float = 0.7,
    iterations: int = 10,
    gaussian: Gaussian = SMOOTHNESS,
    bilateral: Bilateral = LABEL_APPEARANCE,
    backend: str = "native",
    tolerance: float = 0.0,
    device: str = "cpu",
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
    inference = Inference(iterations, gaussian, bilateral, tolerance)
    return _marginals(image, [belief], inference, backend, device)[0].argmax(axis=0).astype(np.uint8)


def _marginals(
    image: NDArray[np.uint8], stacks: Sequence[NDArray[np.floating]], inference: Inference, backend: str, device: str
) -> list[NDArray[np.float32]]:
    """Run mean-field inference on stacks of (C, H, W) scores."""
    if backend not in BACKENDS:
        raise UsageError(f"CRF backend: expected one of {', '.join(BACKENDS)}, got {backend!r}.")
    for scores in stacks:
        if image.shape != (*scores.shape[1:], 3):
            raise UsageError(f"dense CRF: expected an image of shape {(*scores.shape[1:], 3)}, got {image.shape}.")
    if not stacks:
        return []
    sizes, bounds = [len(scores) for scores in stacks], np.cumsum([len(scores) for scores in stacks])[:-1]
    priors = np.empty((sum(sizes), image.shape[0] * image.shape[1]), np.float32)
    for rows, scores in zip(np.split(priors, bounds), stacks, strict=True):
        np.clip(scores.reshape(rows.shape), MIN_SCORE, 1.0, out=rows, casting="same_kind")
    np.log(priors, out=priors)
    if backend == "pydensecrf":
        found = np.concatenate([_pydensecrf(image, -rows, inference) for rows in np.split(priors, bounds)])
    else:
        found = _native(image, priors, sizes, inference, device)
    return [rows.reshape(scores.shape) for rows, scores in zip(np.split(found, bounds), stacks, strict=True)]


def _native(
    image: NDArray[np.uint8], priors: NDArray[np.float32], sizes: Sequence[int], inference: Inference, device: str
) -> NDArray[np.float32]:
    """Run our own implementation: compiled on the CPU, as torch operations elsewhere."""
    gaussian, bilateral = inference.gaussian, inference.bilateral
    colours, weights = appearance_features(image, bilateral), (bilateral.weight, gaussian.weight)
    if not device.startswith("cpu"):
        from labelseg.ops.crf.lattice_torch import torch_mean_field

        features = colours, smoothness_features(image.shape[:2], gaussian.sxy)
        return torch_mean_field(priors, sizes, features, weights, inference.iterations, inference.tolerance, device)

    from labelseg.ops.crf.lattice import build_lattice
    from labelseg.ops.crf.mean_field import mean_field, normalized_kernel

    kernels = normalized_kernel(build_lattice(colours)), _smoothness_kernel(image.shape[:2], gaussian.sxy)
    return mean_field(priors, sizes, *kernels, weights, inference.iterations, inference.tolerance)


def smoothness_features(size: tuple[int, int], sxy: float) -> NDArray[np.float32]:
    """Place pixels in the plane: x and y in deviations; (2, H * W)."""
    height, width = size
    features = np.empty((2, height, width), np.float32)
    features[0] = np.arange(width) / sxy
    features[1] = (np.arange(height) / sxy)[:, None]
    return features.reshape(2, -1)


def appearance_features(image: NDArray[np.uint8], kernel: Bilateral) -> NDArray[np.float32]:
    """Place pixels by place and colour: x, y, red, green and blue in deviations; (5, H * W)."""
    colours = image.transpose(2, 0, 1).reshape(3, -1) / np.float32(kernel.srgb)
    return np.concatenate([smoothness_features(image.shape[:2], kernel.sxy), colours])


# Images come in few sizes, and mostly in two: upright and not.
@lru_cache(maxsize=2)
def _smoothness_kernel(size: tuple[int, int], sxy: float) -> Kernel:
    """Build the smoothness kernel of all images of a size."""
    from labelseg.ops.crf.lattice import build_lattice
    from labelseg.ops.crf.mean_field import normalized_kernel

    return normalized_kernel(build_lattice(smoothness_features(size, sxy)))


def _pydensecrf(image: NDArray[np.uint8], energy: NDArray[np.float32], inference: Inference) -> NDArray[np.float32]:
    """Run pydensecrf, which knows no tolerance, on (C, H * W) energies."""
    try:
        from pydensecrf.densecrf import DenseCRF2D
    except ImportError as error:
        raise MissingExtraError("CRF backend pydensecrf needs pydensecrf. Run: pip install 'labelseg[pydensecrf]'") from error

    crf = DenseCRF2D(image.shape[1], image.shape[0], len(energy))
    crf.setUnaryEnergy(energy)
    gaussian, bilateral = inference.gaussian, inference.bilateral
    crf.addPairwiseGaussian(sxy=gaussian.sxy, compat=gaussian.weight)
    crf.addPairwiseBilateral(sxy=bilateral.sxy, srgb=bilateral.srgb, rgbim=_writable(image), compat=bilateral.weight)
    return np.array(crf.inference(inference.iterations), dtype=np.float32)


def _writable(array: NDArray) -> NDArray:
    """Give a contiguous array that pydensecrf takes: it refuses read-only ones though it never writes to them."""
    return np.require(array, requirements=("C", "W"))
