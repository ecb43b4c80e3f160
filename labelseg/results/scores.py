"""How good artifacts are: masks and activation maps against the ground truth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from labelseg.class_ids import BACKGROUND, IGNORE
from labelseg.data.grey_masks import demand_class_ids
from labelseg.errors import DataError, MissingArtifactError, UsageError
from labelseg.ops.cam import cam_mask, resize_maps, score_mask
from labelseg.ops.metrics import ConfusionMatrix, EvenMatrix, ThresholdSweep
from labelseg.pipeline.declare.stage import Stage
from labelseg.pipeline.engines.progress import show_progress
from labelseg.pipeline.instances import stage_of
from labelseg.pipeline.plan.graph import GROUND_TRUTH
from labelseg.pipeline.store.artifacts import Artifact
from labelseg.pipeline.store.manifests import Ref
from labelseg.results.standing import Named, changes_of_data, classes_of, common_classes, find_refs, open_ref
from labelseg.results.truth_cache import TruthCache
from labelseg.working_size import FILE_MASK, enlarged, places, working_size

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from labelseg.workspace import Workspace

BAND = 256  # rows of a large true mask that are compared at once
THRESHOLDS = np.round(np.arange(0.02, 1.0, 0.02), 2)


@dataclass(frozen=True)
class Score:
    """How well the masks of an instance agree with the ground truth.

    Attributes:
        instance, split: What was scored.
        on: The split whose images count.
        images: Number of images scored.
        left_out: Images of the artifact that count but have no true mask.
        unreadable: Image -> why its true mask cannot be used; it does not count.
        baseline: Mean IoU of masks that are background everywhere; None without background.
        learned: Scored images whose true mask was learned from.
        even: Mean IoU with every image weighing alike, whatever its size; None for activation maps.
        heavy: The fewest images that hold more than half of the scored pixels.
        miou: Mean IoU over the classes present in the truth, in [0, 1].
        accuracy: Part of the pixels that is right.
        iou: Class -> IoU; None for a class that the truth does not hold.
        threshold: Background score that activation maps were compared with; None for masks.
        tuned: Whether the threshold is the best one for these very images, so that the score flatters.
        old, new: Mean IoU of the classes that a class-incremental model knew before its last step, and learned in it; None for others.
        unknown: Classes that the model does not know: their pixels count as background.
        tag: The tag that keeps it; empty for what stands.
        data_changes: How the classes of the data differ now from those it was made with; empty where they do not.
    """

    instance: str
    split: str
    on: str
    images: int
    left_out: int
    miou: float | None
    accuracy: float | None
    iou: dict[str, float | None] = field(default_factory=dict)
    threshold: float | None = None
    tuned: bool = False
    old: float | None = None
    new: float | None = None
    unknown: tuple[str, ...] = ()
    tag: str = ""
    data_changes: str = ""
    unreadable: dict[str, str] = field(default_factory=dict)
    baseline: float | None = None
    learned: int = 0
    even: float | None = None
    heavy: int = 0


def scoreable(stage: Stage) -> bool:
    """Whether the items of a stage can be compared with true masks."""
    return stage.kind == "map" and (stage.has_masks or stage.has_scores)


def scored_refs(workspace: Workspace, instances: tuple[str, ...], split: str | None, tag: str | None = None) -> list[Ref]:
    """List the artifacts to score, in the order of the stages.

    Args:
        workspace: The workspace.
        instances: What to score; empty is everything that can be.
        split: Score only what was made for this split.
        tag: Score what was published under this tag.

    Raises:
        UsageError: an unknown instance, or one without masks.
        MissingArtifactError: it never ran, or nothing to score did.
        ArtifactError: what ran cannot be read.
    """
    stages = list(workspace.stages)
    for instance in instances:
        stage = workspace.stages.get(stage_of(instance))
        if stage is not None and not scoreable(stage):
            able = [s.name for s in workspace.stages.values() if scoreable(s)]
            raise UsageError(f"{instance} makes no masks to score. Name one of: {', '.join(able)}.")
    if instances:
        there = [ref for instance in dict.fromkeys(instances) for ref in find_refs(workspace, Named(instance, tag or ""), split)]
    else:
        there = [
            ref
            for ref in workspace.catalog.refs(tagged=True)
            if ref.tag == (tag or "")
            and split in (None, ref.split)
            and stage_of(ref.instance) in stages
            and scoreable(workspace.stages[stage_of(ref.instance)])
        ]
    if not there:
        for damage in workspace.catalog.damaged_refs(tagged=bool(tag)):
            raise damage
        where = (f" on {split}" if split else "") + (f" under the tag '{tag}'" if tag else "")
        remedy = "See: labelseg tag --list" if tag else "Run: labelseg run"
        raise MissingArtifactError(f"nothing to evaluate: no stage that makes masks has run here{where}. {remedy}")
    return sorted(there, key=lambda ref: (stages.index(stage_of(ref.instance)), ref.instance, ref.split))


@dataclass(frozen=True)
class Counted:
    """What a score was computed from.

    Attributes:
        score: The score.
        matrix: True and predicted classes of all counted pixels.
        sweep: The same at many thresholds, of activation maps; None for masks.
    """

    score: Score
    matrix: ConfusionMatrix
    sweep: ThresholdSweep | None


def score(
    workspace: Workspace, ref: Ref, on: str | None = None, threshold: float | None = None, *, truths: TruthCache | None = None
) -> Score:
    """Compare an artifact with the ground truth, at the size of the files of masks, whatever size was worked on.

    Args:
        workspace: The workspace.
        ref: What to score.
        on: Count only the images of this split; None counts all.
        threshold: Background score for activation maps; None takes ``[evaluate] threshold``, or the best on these images.
        truths: True masks that were read before, for one artifact after the other; None reads them anew.

    Raises:
        DataError: none of the images has a true mask that can be used, or the ids of the data now mean other classes than those of the
            artifact.
        ArtifactError: the artifact is damaged.
    """
    return score_counts(workspace, ref, on, threshold, truths=truths).score


def score_counts(
    workspace: Workspace,
    ref: Ref,
    on: str | None = None,
    threshold: float | None = None,
    *,
    curve: bool = False,
    truths: TruthCache | None = None,
) -> Counted:
    """Compare an artifact with the ground truth as ``score`` does, and return what was counted too.

    Args:
        workspace, ref, on, threshold, truths: As of ``score``.
        curve: Whether to count many thresholds even where one is given.
    """
    dataset = workspace.dataset
    truths = truths or TruthCache(dataset)
    artifact = open_ref(workspace, ref)
    counted = set(dataset.ids(on)) if on else set(artifact)
    ids = [image_id for image_id in artifact if image_id in counted]
    with_truth = [image_id for image_id in ids if dataset.has(image_id, "mask")]
    if not with_truth:
        where = f"split '{ref.split}'" if on is None else f"both split '{ref.split}' and split '{on}'"
        name = Named(ref.instance, ref.tag)
        raise DataError(f"{name}: no image of {where} has a true mask. {_masks_advice(workspace, ref)}")
    demand_class_ids(dataset, with_truth)
    made_with = classes_of(ref, artifact.manifest)
    classes = common_classes(workspace, ref, made_with)
    matrix, even = ConfusionMatrix(len(classes)), EvenMatrix(len(classes))
    sizes: list[int] = []
    tuned = False
    sweep: ThresholdSweep | None = None
    known: list[list[int]] = []
    unreadable: dict[str, DataError] = {}
    if workspace.stages[stage_of(ref.instance)].has_scores and made_with[0] == BACKGROUND:
        given = _cam_threshold(workspace, threshold)
        tuned = given is None
        several = [] if given is not None and not curve else [*THRESHOLDS]
        sweep = ThresholdSweep(len(classes), [*several, *([] if given is None else [given])])
        for truth, arrays in _pairs(truths, ref, artifact, with_truth, unreadable, sizes):
            _sweep_pixels(sweep, truth, arrays)
        threshold = sweep.best()[0] if given is None else given
        matrix.counts[:, :-1] = sweep.counts[int(np.flatnonzero(sweep.thresholds == threshold)[0])]
    else:
        threshold = None
        for truth, arrays in _pairs(truths, ref, artifact, with_truth, unreadable, sizes):
            one = ConfusionMatrix(len(classes))
            one.update(counted_truth(truth, arrays), predicted_mask(arrays, truth.shape, threshold))
            matrix.merge(one)
            even.merge(one)
            known = known or _step_classes(arrays)
    if len(unreadable) == len(with_truth):
        raise next(iter(unreadable.values()))
    iou = dict(zip(classes, map(number_or_none, matrix.iou()), strict=True))
    found = Score(
        ref.instance, ref.split, on or ref.split, len(with_truth) - len(unreadable), len(ids) - len(with_truth),
        number_or_none(matrix.miou()), number_or_none(matrix.accuracy()), iou, threshold, tuned,
        *_step_scores(matrix, known, classes), ref.tag, changes_of_data(workspace, made_with),
        {image_id: str(error) for image_id, error in unreadable.items()}, background_baseline(matrix, classes),
        len(({*with_truth} - {*unreadable}) & learned_images(workspace, artifact.manifest.recipe)),
        None if sweep else number_or_none(even.miou()), heaviest(sizes),
    )  # fmt: skip
    return Counted(found, matrix, sweep)


def heaviest(sizes: Sequence[int]) -> int:
    """Count the fewest images that hold more than half of the pixels of all."""
    held = np.cumsum(sorted(sizes, reverse=True))
    return int(np.searchsorted(held, held[-1] / 2, side="right")) + 1 if len(held) and held[-1] else 0


def learned_images(workspace: Workspace, recipe: Mapping[str, Any]) -> set[str]:
    """List the images whose true masks some training behind a recipe learned from, as its splits are now."""
    found: set[str] = set()
    for source in recipe.get("sources", {}).values():
        if source.get("recipe"):
            found |= learned_images(workspace, source["recipe"])
        elif source["instance"] == GROUND_TRUTH and (split := recipe.get("splits", {}).get("split", "")) in workspace.dataset.splits():
            found.update(workspace.dataset.ids(split))
    return found


def background_baseline(matrix: ConfusionMatrix, classes: Sequence[str]) -> float | None:
    """Return the mean IoU of masks that are background everywhere, on the pixels that a matrix counts; None without background."""
    truth = matrix.counts.sum(axis=1)
    if classes[0] != BACKGROUND or not truth.sum():
        return None
    return float(truth[0] / truth.sum() / np.count_nonzero(truth))


def counted_truth(truth: NDArray[np.uint8], arrays: dict[str, NDArray[Any]]) -> NDArray[np.uint8]:
    """Call background in a true mask what the model that made an item does not know; one that knows all leaves it as it is."""
    if "known_ids" not in arrays:
        return truth
    return np.where(np.isin(truth, [*arrays["known_ids"], IGNORE]), truth, 0).astype(np.uint8)


def predicted_mask(arrays: dict[str, NDArray[Any]], size: tuple[int, ...], threshold: float | None) -> NDArray[np.uint8]:
    """Read the mask of an item, or make it from activation maps.

    Args:
        arrays: The item.
        size: (H, W) of the mask.
        threshold: Background score for activation maps; None gives every pixel its strongest class.

    Returns:
        (H, W) uint8 class ids; 255 where no class has a map and there is no background.
    """
    if "mask" in arrays:
        return enlarged(arrays.get(FILE_MASK, arrays["mask"]), (size[0], size[1]))
    scores, class_ids = resize_maps(arrays["scores"], (size[0], size[1])), arrays["class_ids"]
    if threshold is not None:
        return cam_mask(scores, class_ids, threshold)
    return score_mask(scores, class_ids) if len(class_ids) else np.full(size, 255, dtype=np.uint8)


def _sweep_pixels(sweep: ThresholdSweep, truth: NDArray[np.uint8], arrays: dict[str, NDArray[Any]]) -> None:
    """Count the pixels of a true mask (H, W) under activation maps; those of a smaller working size are spread over it band by band."""
    scores, class_ids, size = arrays["scores"], arrays["class_ids"], (truth.shape[0], truth.shape[1])
    work = tuple(arrays["size"].tolist()) if "size" in arrays else size
    if work == size or work != working_size(size, max(work)):
        sweep.update(resize_maps(scores, size), class_ids, truth)
        return
    maps, columns = resize_maps(scores, (work[0], work[1])), places(work[1], size[1])
    rows = places(work[0], size[0])
    for start in range(0, size[0], BAND):
        band = slice(start, start + BAND)
        sweep.update(maps[:, rows[band]][:, :, columns], class_ids, truth[band])


def _pairs(
    truths: TruthCache, ref: Ref, artifact: Artifact, ids: list[str], unreadable: dict[str, DataError], sizes: list[int]
) -> Iterator[tuple[NDArray[np.uint8], dict[str, NDArray[Any]]]]:
    """Read the true mask and the item of each image, and list the pixels that count; one without a usable true mask is unreadable."""
    with show_progress(len(ids), f"evaluate {ref.instance}") as progress:
        for image_id in ids:
            try:
                truth = truths.read(image_id)
            except DataError as error:
                unreadable[image_id] = error
            else:
                sizes.append(int(np.count_nonzero(truth != IGNORE)))
                yield truth, artifact[image_id]
            progress.update(1)


def _masks_advice(workspace: Workspace, ref: Ref) -> str:
    """Say where true masks are: in other splits, or nowhere yet."""
    dataset, config = workspace.dataset, workspace.config
    able = [name for name in dataset.splits() if any(dataset.has(image_id, "mask") for image_id in dataset.ids(name))]
    if able:
        chosen = "val" if "val" in able else able[0]
        return f"Images of {', '.join(able)} have one. Run: {config.command(ref.instance, chosen)}"
    folder = config.data.get("masks")
    if folder:
        return f"None of the data has one: look whether the masks in {folder} are named as the images are."
    return "Name the masks: labelseg config data.masks DIR. How far masks can be trusted without any: labelseg quality"


def _cam_threshold(workspace: Workspace, given: float | None) -> float | None:
    """Take the threshold of the command line, or that of the configuration."""
    value = workspace.config.evaluate.get("threshold") if given is None else given
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise UsageError(f"[evaluate] threshold: expected a number from 0 to 1, got {value!r}.")
    return float(value)


def _step_classes(arrays: dict[str, NDArray[Any]]) -> list[list[int]]:
    """List the old and the new classes of a class-incremental model, background left out; nothing for another one."""
    if "known_ids" not in arrays:
        return []
    known, new = arrays["known_ids"].tolist(), arrays["new_ids"].tolist()
    return [[k for k in known if k and k not in new], new]


def _step_scores(
    matrix: ConfusionMatrix, known: list[list[int]], classes: tuple[str, ...]
) -> tuple[float | None, float | None, tuple[str, ...]]:
    """Average old and new classes apart, and list those that count as background."""
    if not known:
        return None, None, ()
    old, new = known
    unknown = tuple(name for k, name in enumerate(classes) if k and k not in (*old, *new))
    return _mean(matrix.iou()[old]), _mean(matrix.iou()[new]), unknown


def _mean(values: NDArray[np.float64]) -> float | None:
    """Average what is not NaN; None when nothing is left."""
    there = values[~np.isnan(values)]
    return float(there.mean()) if there.size else None


def number_or_none(value: float) -> float | None:
    """Turn NaN into None, which JSON can hold."""
    return None if np.isnan(value) else float(value)
