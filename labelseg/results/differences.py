"""What differs between two artifacts: pixels of masks, class by class, or the recipes and scores of models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from labelseg.class_ids import IGNORE
from labelseg.errors import DataError
from labelseg.ops.metrics import ConfusionMatrix
from labelseg.pipeline.engines.progress import show_progress
from labelseg.pipeline.plan.class_lists import mix_text, mixed_ids
from labelseg.pipeline.plan.normal_form import normal_form
from labelseg.pipeline.plan.reasons import stale_reasons
from labelseg.pipeline.store.manifests import Manifest, Ref
from labelseg.results.scores import counted_truth, number_or_none
from labelseg.results.standing import classes_of, load_manifest, open_ref, ref_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from labelseg.workspace import Workspace


@dataclass(frozen=True)
class MaskDifference:
    """How the masks of two artifacts differ, over the images that both hold.

    Attributes:
        first, second: Names of the artifacts.
        images: Number of images compared.
        only_first, only_second: Images that one alone holds, among those that count.
        sizes_differ: Images whose two masks differ in size; they are not compared.
        pixels: Number of pixels compared.
        changed: Share of them that differ, in [0, 1].
        classes: Class names by id, of the records of both.
        matrix: (K + 1, K + 1) int64: pixels of a class (row) in the first that are of one (column) in the second; the last stands for 255.
        iou: Class -> IoU of one against the other; None for a class that neither holds.
        miou: Its mean over the classes that one of them holds; None without any.
        truth_images: Images compared that have a true mask.
        first_miou, second_miou: mIoU of each against the truth on those; None where there is none.
        no_truth: Why there is no such score although there are true masks; empty otherwise.
        image_changed: Image -> share of its pixels that differ, the most changed first.
        why: How the recipes differ.
    """

    first: str
    second: str
    images: int
    only_first: int
    only_second: int
    sizes_differ: tuple[str, ...]
    pixels: int
    changed: float
    classes: tuple[str, ...]
    matrix: NDArray[np.int64]
    iou: dict[str, float | None]
    miou: float | None
    truth_images: int
    first_miou: float | None
    second_miou: float | None
    no_truth: str
    image_changed: dict[str, float] = field(default_factory=dict)
    why: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelDifference:
    """How two models differ.

    Attributes:
        first, second: Names of the models.
        equal: Whether all tensors are equal, byte for byte.
        why: How the recipes differ: parameters, versions, classes, and what they read.
        inputs: What both read -> whether its content was the same.
        metrics: Metric -> (that of the first, that of the second); None where one has none.
    """

    first: str
    second: str
    equal: bool
    why: tuple[str, ...]
    inputs: dict[str, bool]
    metrics: dict[str, tuple[float | None, float | None]]


def compare_masks(workspace: Workspace, first: Ref, second: Ref, on: str | None = None) -> MaskDifference:
    """Compare the masks of two artifacts pixel by pixel.

    Args:
        workspace: The workspace.
        first, second: What to compare.
        on: Count only the images of this split; None counts all.

    Raises:
        DataError: an id means another class to one than to the other, or they have no image in common.
        ArtifactError: an artifact is damaged.
    """
    one, other = open_ref(workspace, first), open_ref(workspace, second)
    classes = _joined(first, one.manifest, second, other.manifest)
    counted = set(workspace.dataset.ids(on)) if on else None
    ids, others = ([i for i in artifact if counted is None or i in counted] for artifact in (one, other))
    both = [image_id for image_id in ids if image_id in other]
    if not both:
        raise DataError(
            f"{ref_name(first)} and {ref_name(second)} have no image in common{f' on {on}' if on else ''}. Name a --split of both."
        )
    no_truth = _no_truth(workspace, classes)
    matrix = np.zeros((len(classes) + 1, len(classes) + 1), np.int64)
    against_truth = ConfusionMatrix(len(classes)), ConfusionMatrix(len(classes))
    shares: dict[str, float] = {}
    sizes_differ: list[str] = []
    truth_images = 0
    with show_progress(len(both), f"diff {first.instance}") as progress:
        for image_id in both:
            progress.update(1)
            items = one[image_id], other[image_id]
            masks = items[0]["mask"], items[1]["mask"]
            if masks[0].shape != masks[1].shape:
                sizes_differ.append(image_id)
                continue
            matrix += _pixel_counts(*masks, len(classes), image_id)
            shares[image_id] = float((masks[0] != masks[1]).mean())
            if no_truth or not workspace.dataset.has(image_id, "mask"):
                continue
            truth = workspace.dataset.mask(image_id)
            truth_images += 1
            for scores, item in zip(against_truth, items, strict=True):
                scores.update(counted_truth(truth, item), item["mask"])
    pixels, iou = int(matrix.sum()), _symmetric_iou(matrix)
    there = iou[~np.isnan(iou)]
    return MaskDifference(
        first=ref_name(first),
        second=ref_name(second),
        images=len(shares),
        only_first=len(ids) - len(both),
        only_second=len(others) - len(both),
        sizes_differ=tuple(sizes_differ),
        pixels=pixels,
        changed=(pixels - int(np.trace(matrix))) / pixels if pixels else 0.0,
        classes=classes,
        matrix=matrix,
        iou={name: number_or_none(value) for name, value in zip(classes, iou, strict=True)},
        miou=float(there.mean()) if there.size else None,
        truth_images=truth_images,
        first_miou=number_or_none(against_truth[0].miou()) if truth_images else None,
        second_miou=number_or_none(against_truth[1].miou()) if truth_images else None,
        no_truth=no_truth,
        image_changed=dict(sorted(shares.items(), key=lambda row: (-row[1], row[0]))),
        why=_why(workspace, one.manifest, other.manifest),
    )


def compare_models(workspace: Workspace, first: Ref, second: Ref) -> ModelDifference:
    """Compare what two models were made from, and their scores.

    Raises:
        MissingArtifactError: the manifest of one is gone.
    """
    one, other = load_manifest(workspace, first), load_manifest(workspace, second)
    then, now = one.recipe.get("inputs") or {}, other.recipe.get("inputs") or {}
    scores = [{name: value for name, value in _last(manifest).items() if _is_number(value)} for manifest in (one, other)]
    return ModelDifference(
        first=ref_name(first),
        second=ref_name(second),
        equal=one.digest == other.digest,
        why=_why(workspace, one, other),
        inputs={name: then[name] == now[name] for name in then if name in now},
        metrics={name: (scores[0].get(name), scores[1].get(name)) for name in dict.fromkeys((*scores[0], *scores[1]))},
    )


def changed_panels(workspace: Workspace, first: Ref, second: Ref, image_ids: list[str]) -> list[list[tuple[str, NDArray[np.uint8]]]]:
    """Draw images beside both masks of them and, in white, the pixels that differ: a row of titled panels (H, W, 3) for each image."""
    from labelseg.data.formats.palette import clear_ids, paint_over

    one, other = open_ref(workspace, first), open_ref(workspace, second)
    classes = _joined(first, one.manifest, second, other.manifest)
    clear = clear_ids(classes)
    rows = []
    for image_id in image_ids:
        masks = one[image_id]["mask"], other[image_id]["mask"]
        image = _image(workspace, image_id, masks[0].shape)
        differ = masks[0] != masks[1]
        panels = [
            (image_id, image),
            *((ref_name(ref), paint_over(mask, image, clear=clear)) for ref, mask in zip((first, second), masks, strict=True)),
        ]
        panels.append((f"changed: {100 * float(differ.mean()):.1f} %", np.where(differ[..., None], 255, image // 4).astype(np.uint8)))
        if not _no_truth(workspace, classes) and workspace.dataset.has(image_id, "mask"):
            panels.append(("truth", paint_over(workspace.dataset.mask(image_id), image, clear=clear)))
        rows.append(panels)
    return rows


def _joined(first: Ref, one: Manifest, second: Ref, other: Manifest) -> tuple[str, ...]:
    """Join the classes of two artifacts, where each id means the same in both."""
    there, here = classes_of(first, one), classes_of(second, other)
    if mixed_ids(there, here):
        raise DataError(
            f"{ref_name(first)} and {ref_name(second)} were made with different classes, which would mix: "
            f"of the two, {mix_text(there, here)}. Make the older one again: labelseg run"
        )
    return max(there, here, key=len)


def _no_truth(workspace: Workspace, classes: tuple[str, ...]) -> str:
    """Say why the true masks of the data cannot be compared with these classes; empty where they can."""
    now = workspace.dataset.classes
    return f"the data has other classes now: {mix_text(classes, now)}" if mixed_ids(classes, now) else ""


def _pixel_counts(one: NDArray[np.uint8], other: NDArray[np.uint8], n_classes: int, image_id: str) -> NDArray[np.int64]:
    """Count the pixels of each pair of classes, (K + 1, K + 1); 255 is the last."""
    rows, columns = (np.where(mask == IGNORE, n_classes, mask).astype(np.int64).ravel() for mask in (one, other))
    highest = int(max(rows.max(initial=0), columns.max(initial=0)))
    if highest > n_classes:
        raise DataError(f"{image_id}: a mask holds class {highest}, but its record names {n_classes} classes. Check: labelseg verify")
    width = n_classes + 1
    return np.bincount(rows * width + columns, minlength=width * width).reshape(width, width)


def _symmetric_iou(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """Intersection over union of each class of the first with that of the second: (K,), NaN for classes that neither holds."""
    both = np.diagonal(matrix)[:-1]
    either = (matrix.sum(axis=1) + matrix.sum(axis=0))[:-1] - both
    return np.where(either > 0, both / np.maximum(either, 1), np.nan)


def _why(workspace: Workspace, one: Manifest, other: Manifest) -> tuple[str, ...]:
    """List how the recipes of two artifacts differ; of two stages only that they are two."""
    if one.stage != other.stage:
        return (f"stage {one.stage} -> {other.stage}",)
    now, then = (normal_form(manifest.recipe, workspace.stages) for manifest in (other, one))
    return tuple(map(str, stale_reasons(now, then)))


def _last(manifest: Manifest) -> Mapping[str, Any]:
    """Read the scores of a model after its last epoch, or all there are."""
    metrics = manifest.meta.get("metrics", {})
    last = metrics.get("last", metrics)
    return last if isinstance(last, Mapping) else {}


def _is_number(value: object) -> bool:
    """Whether a metric is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _image(workspace: Workspace, image_id: str, size: tuple[int, ...]) -> NDArray[np.uint8]:
    """Read an image to draw on; grey where it is gone or has another size than its masks."""
    grey = np.full((*size, 3), 128, np.uint8)
    if not workspace.dataset.has(image_id, "image"):
        return grey
    try:
        image = workspace.dataset.image(image_id)
    except DataError:
        return grey
    return image if image.shape[:2] == tuple(size) else grey
