"""Scoring masks over many images: by true masks, or by what a classifier sees inside and outside of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from labelseg.ops.metrics import ConfusionMatrix
from labelseg.protocols import Images

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from labelseg.inference.predictor import Predictor

AREA_WEIGHT = 1 / 3  # of what a mask covers, against the evidence it holds; found on scenes (docs/affinitynet.md)


class Judge(Protocol):
    """Counts how good masks are; a tally for each setting that is tried.

    Attributes:
        name: What the score is called.
    """

    name: str

    def tally(self) -> Any:
        """Begin to count."""

    def add(self, tally: Any, image_id: str, mask: NDArray[Any]) -> None:
        """Count the mask (H, W) of an image."""

    def merge(self, tally: Any, other: Any) -> None:
        """Add what another tally counted."""

    def value(self, tally: Any) -> float:
        """The score of what was counted; NaN of nothing."""


class TrueMasks:
    """Scores masks by the mean IoU over the classes in true masks: one confusion matrix over all pixels, 255 left out.

    Args:
        dataset: Where true masks are.
        classes: Class names by id.
    """

    name = "mIoU"

    def __init__(self, dataset: Images, classes: Sequence[str]) -> None:
        self._dataset, self._classes = dataset, classes

    def tally(self) -> ConfusionMatrix:
        """Begin to count."""
        return ConfusionMatrix(len(self._classes))

    def add(self, tally: ConfusionMatrix, image_id: str, mask: NDArray[Any]) -> None:
        """Count the mask (H, W) uint8 of an image."""
        tally.update(self._dataset.mask(image_id), mask)

    def merge(self, tally: ConfusionMatrix, other: ConfusionMatrix) -> None:
        """Add what another tally counted."""
        tally.merge(other)

    def value(self, tally: ConfusionMatrix) -> float:
        """The mean IoU, in [0, 1]."""
        return tally.miou()


class TagEvidence:
    """Scores masks without any true one: a mask of a tagged class should hold all that shows the class, and little more.

    Over all images and their tags, the mean of p(class | only its mask is seen) - p(class | its mask is covered) - a third of the
    share of the image that it covers, where p is the classifier's probability and what is not seen has the mean colour of the image.

    Args:
        dataset: Images and tags.
        predictor: The classifier; logits (1, K) of an image.
        first_class: The class of the first logit: 1 where there is background.
    """

    name = "evidence"

    def __init__(self, dataset: Images, predictor: Predictor, first_class: int = 1) -> None:
        self._dataset, self._predictor, self._first = dataset, predictor, first_class

    def tally(self) -> NDArray[np.float64]:
        """Begin to count: sum and number of what was added."""
        return np.zeros(2)

    def add(self, tally: NDArray[np.float64], image_id: str, mask: NDArray[Any]) -> None:
        """Count the mask (H, W) uint8 of an image."""
        image = self._dataset.image(image_id)
        unseen = image.reshape(-1, image.shape[2]).mean(axis=0).astype(image.dtype)
        for class_id in self._dataset.tags(image_id) or ():
            inside = (mask == class_id)[..., None]
            kept = self._probability(np.where(inside, image, unseen), class_id)
            covered = self._probability(np.where(inside, unseen, image), class_id)
            tally += kept - covered - AREA_WEIGHT * float(inside.mean()), 1

    def merge(self, tally: NDArray[np.float64], other: NDArray[np.float64]) -> None:
        """Add what another tally counted."""
        tally += other

    def value(self, tally: NDArray[np.float64]) -> float:
        """The mean, in [-4/3, 1]; NaN where no image has a tag."""
        return float(tally[0] / tally[1]) if tally[1] else float("nan")

    def _probability(self, image: NDArray[np.uint8], class_id: int) -> float:
        """The classifier's probability of a class for an image (H, W, 3)."""
        return float(1 / (1 + np.exp(-np.float64(self._predictor.views(image)[0][class_id - self._first]))))
