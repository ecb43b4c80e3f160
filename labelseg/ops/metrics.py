"""How good masks, scores and image tags are: confusion matrices, mean IoU, threshold sweeps, average precision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from labelseg.class_ids import IGNORE
from labelseg.errors import DataError


class ConfusionMatrix:
    """Counts of (true class, predicted class) over all pixels whose truth is not 255.

    Attributes:
        counts: (K, K + 1) int64; the last column counts pixels that the prediction leaves out (255). They are misses:
            they enlarge the union of their true class and belong to no predicted one.
    """

    def __init__(self, n_classes: int) -> None:
        self.n_classes = n_classes
        self.counts = np.zeros((n_classes, n_classes + 1), dtype=np.int64)

    def update(self, truth: NDArray[np.integer], prediction: NDArray[np.integer]) -> None:
        """Count the pixels of one image.

        Args:
            truth: Any shape, 0 .. K - 1 or 255.
            prediction: Same shape, 0 .. K - 1 or 255.

        Raises:
            DataError: shapes differ, or a value is no class.
        """
        if truth.shape != prediction.shape:
            raise DataError(f"confusion matrix: expected a prediction of shape {truth.shape}, got {prediction.shape}.")
        counted = truth != IGNORE
        rows, columns = (truth, prediction) if counted.all() else (truth[counted], prediction[counted])
        _check_classes(rows, self.n_classes, "truth")
        _check_classes(columns, self.n_classes, "prediction", ignored=True)
        pairs = rows.astype(np.intp).ravel()
        pairs *= IGNORE + 1
        pairs += columns.ravel()
        found = np.bincount(pairs, minlength=self.n_classes * (IGNORE + 1)).reshape(self.n_classes, IGNORE + 1)
        self.counts[:, :-1] += found[:, : self.n_classes]
        self.counts[:, -1] += found[:, IGNORE]

    def merge(self, other: ConfusionMatrix) -> None:
        """Add the counts of another matrix."""
        self.counts += other.counts

    def iou(self) -> NDArray[np.float64]:
        """Intersection over union of each class: (K,), NaN for classes that the truth does not hold."""
        return _iou(self.counts)

    def miou(self) -> float:
        """Mean IoU over the classes present in the truth; NaN when there is none."""
        return _nan_mean(self.iou())

    def recall(self) -> NDArray[np.float64]:
        """Part of each class's pixels that is found: (K,), NaN for classes that the truth does not hold."""
        return _ratio(np.diagonal(self.counts), self.counts.sum(axis=1))

    def precision(self) -> NDArray[np.float64]:
        """Part of the pixels given to a class that belongs to it: (K,), NaN for classes never predicted."""
        return _ratio(np.diagonal(self.counts), self.counts[:, :-1].sum(axis=0))

    def accuracy(self) -> float:
        """Part of all counted pixels that is right; NaN without pixels."""
        return float(_ratio(np.trace(self.counts), self.counts.sum()))


class EvenMatrix(ConfusionMatrix):
    """Parts of images in place of pixels: every image weighs as much as any other, whatever its size.

    Attributes:
        counts: (K, K + 1) float64; each merged image adds 1 in all.
    """

    def __init__(self, n_classes: int) -> None:
        super().__init__(n_classes)
        self.counts = self.counts.astype(np.float64)

    def merge(self, other: ConfusionMatrix) -> None:
        """Add the counts of one image, divided by their sum."""
        if total := other.counts.sum():
            self.counts += other.counts / total


class ThresholdSweep:
    """Confusion matrices of ``cam.cam_mask`` at many background thresholds, counted in one pass over the pixels.

    Attributes:
        thresholds: (T,) float64, ascending.
        counts: (T, K, K) int64, (threshold, true class, predicted class).
    """

    def __init__(self, n_classes: int, thresholds: Sequence[float] | NDArray[np.floating]) -> None:
        self.n_classes = n_classes
        self.thresholds = np.unique(np.asarray(thresholds, dtype=np.float64))
        self.counts = np.zeros((len(self.thresholds), n_classes, n_classes), dtype=np.int64)

    def update(self, scores: NDArray[np.floating], class_ids: Sequence[int] | NDArray[np.integer], truth: NDArray[np.integer]) -> None:
        """Count the pixels of one image.

        Args:
            scores: (C, H, W) of the foreground classes present; C may be 0.
            class_ids: (C,) their ids, 1 .. K - 1.
            truth: (H, W), 0 .. K - 1 or 255.

        Raises:
            DataError: shapes differ, or a value is no class.
        """
        if scores.shape[1:] != truth.shape:
            raise DataError(f"threshold sweep: expected scores of size {truth.shape}, got {scores.shape[1:]}.")
        ids = np.asarray(class_ids, dtype=np.int64)
        _check_classes(ids, self.n_classes, "class ids")
        counted = truth != IGNORE
        rows = truth[counted]
        _check_classes(rows, self.n_classes, "truth")
        if len(ids) == 0:
            self.counts[:, :, 0] += np.bincount(rows, minlength=self.n_classes)
            return
        one = len(ids) == 1
        winners = ids[0] if one else ids[scores.argmax(axis=0)[counted]]
        strongest = (scores[0] if one else scores.max(axis=0))[counted]
        # A pixel is foreground at the thresholds below its score: the first `level` of them.
        level = np.searchsorted(self.thresholds, strongest.astype(np.float64), side="left")
        k, levels = self.n_classes, len(self.thresholds) + 1
        by_level = np.bincount((level * k + rows) * k + winners, minlength=levels * k * k).reshape(levels, k, k)
        foreground = by_level[::-1].cumsum(axis=0)[::-1][1:]
        self.counts += foreground
        self.counts[:, :, 0] += by_level.sum(axis=(0, 2)) - foreground.sum(axis=2)

    def merge(self, other: ThresholdSweep) -> None:
        """Add the counts of another sweep over the same thresholds."""
        self.counts += other.counts

    def miou(self) -> NDArray[np.float64]:
        """Mean IoU at each threshold, (T,), over the classes present in the truth."""
        return np.array([_nan_mean(_iou(counts)) for counts in self.counts])

    def best(self) -> tuple[float, float]:
        """The threshold with the highest mean IoU, the lowest of a tie, and that mean IoU."""
        values = self.miou()
        index = int(np.argmax(np.nan_to_num(values, nan=-1.0)))
        return float(self.thresholds[index]), float(values[index])


def average_precision(scores: NDArray[np.floating], targets: NDArray) -> float:
    """Average the precision over the positives, ranked by score; equal scores share one rank.

    Args:
        scores: (N,) float.
        targets: (N,) truthy for positives.

    Returns:
        Number in (0, 1]; NaN without positives.
    """
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(np.asarray(targets, dtype=bool)[order])
    if len(hits) == 0 or hits[-1] == 0:
        return float("nan")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(hits) - 1)  # the last of each group of equal scores
    precision, found = hits[ends] / (ends + 1), hits[ends] / hits[-1]
    return float(np.sum(precision * np.diff(found, prepend=0.0)))


def mean_average_precision(scores: NDArray[np.floating], targets: NDArray) -> float:
    """Mean of the average precision over classes that have positives; (N, K) scores and targets. NaN when none has."""
    return _nan_mean(np.array([average_precision(s, t) for s, t in zip(scores.T, targets.T, strict=True)]))


def _check_classes(values: NDArray[np.integer], limit: int, what: str, *, ignored: bool = False) -> None:
    """Refuse values that are no class, nor 255 where that may be: they would land in the counts of another one."""
    outside = (values < 0) | (values >= limit)
    if not outside.any():
        return
    wrong = values[outside & (values != IGNORE)] if ignored else values[outside]
    if wrong.size:
        raise DataError(f"{what}: value {wrong[0]} is no class. Expected 0 to {limit - 1} or {IGNORE}.")


def _iou(counts: NDArray) -> NDArray[np.float64]:
    """IoU of each class from (K, K) or (K, K + 1) counts; NaN where the truth holds none."""
    hits, truth = np.diagonal(counts), counts.sum(axis=1)
    union = truth + counts[:, : len(counts)].sum(axis=0) - hits
    return np.where(truth > 0, _ratio(hits, union), np.nan)


def _ratio(part: NDArray, whole: NDArray) -> NDArray[np.float64]:
    """Divide, with NaN for nothing out of nothing."""
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=np.asarray(whole) > 0)


def _nan_mean(values: NDArray[np.float64]) -> float:
    """Average what is not NaN; NaN when nothing is left."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
