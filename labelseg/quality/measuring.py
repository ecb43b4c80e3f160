"""Measures how far the masks of an artifact can be trusted, image by image, and keeps what it found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from labelseg.errors import DamageError, DataError
from labelseg.ops.metrics import ConfusionMatrix
from labelseg.ops.quality import Voice, class_qualities, image_quality
from labelseg.pipeline.files.digests import digest
from labelseg.pipeline.plan.data_digests import DataDigests
from labelseg.quality.chain import other_refs
from labelseg.quality.kept import ImageQuality, Measured, keep_measured, kept_measured
from labelseg.results.scores import counted_truth, number_or_none
from labelseg.results.standing import classes_of, open_ref

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from labelseg.pipeline.store.artifacts import Artifact
    from labelseg.pipeline.store.manifests import Ref
    from labelseg.protocols import Dataset
    from labelseg.workspace import Workspace

VERSION = "1"  # raised when what is measured changes


def measure(workspace: Workspace, ref: Ref, *, step: Callable[[int], object] = lambda n: None) -> tuple[Measured, dict[str, str]]:
    """Measure the masks of an artifact, and keep what was found: an image of which nothing has changed the next time is not read then.

    Args:
        workspace: The workspace.
        ref: What to measure; it has masks.
        step: Called with 1 after each image.

    Returns:
        What was measured; and image -> why it was left out, or whose word was.

    Raises:
        ArtifactError: the record of the artifact is damaged.
    """
    others = other_refs(workspace, ref)
    own, troubles = open_ref(workspace, ref), {}
    voices: list[Artifact] = []
    for other in others:
        try:
            voices.append(open_ref(workspace, other))
        except DamageError as error:
            troubles[other.instance] = str(error)
    before = kept_measured(workspace.folder, ref.instance, ref.split)
    known = {} if before is None else {image.id: image for image in before.images}
    digests, dataset = DataDigests(workspace.dataset, workspace.index), workspace.dataset
    classes = classes_of(ref, own.manifest)
    items = [{item.id: item.digest for item in artifact.manifest.items} for artifact in (own, *voices)]
    images = []
    for image_id in own:
        told = [table.get(image_id, "") for table in items]
        is_there = dataset.has(image_id, "image")
        data = [digests.item(image_id, kind) for kind in ("tags", "mask")] if is_there else []
        key = digest(VERSION, *classes, *data, *(text for v, t in zip((own, *voices), told, strict=True) for text in (v.manifest.stage, t)))
        found = known.get(image_id)
        if found is None or found.key != key:
            try:
                found = _measure_image(dataset, own, voices, classes, image_id, key, troubles, known_to_data=is_there)
            except DamageError as error:
                troubles[image_id] = str(error)
        if found is not None and found.key == key:
            images.append(found)
        step(1)
    measured = Measured(ref.instance, ref.split, {entry.instance: entry.digest for entry in (ref, *others)}, tuple(images))
    if not troubles and measured != before:
        with suppress(OSError):  # what cannot be kept is measured again
            keep_measured(workspace.folder, measured)
    return measured, troubles


def voice_of(arrays: Mapping[str, NDArray[Any]]) -> Voice:
    """Read what an item says: its mask, and its maps where they are kept.

    Args:
        arrays: ``mask`` (H, W), ``scores`` (C, h, w), or two readings ``low`` and ``high`` (C, h, w), with ``class_ids`` (C,).
    """
    scores = arrays.get("scores")
    if scores is None and "low" in arrays and "high" in arrays:
        scores = (arrays["low"].astype(np.float32) + arrays["high"].astype(np.float32)) / 2
    ids = [int(k) for k in arrays["class_ids"]] if "class_ids" in arrays else []
    fits = scores is not None and scores.ndim == 3 and len(scores) == len(ids)
    return Voice(arrays.get("mask"), scores if fits else None, ids)


def _measure_image(
    dataset: Dataset,
    own: Artifact,
    voices: Sequence[Artifact],
    classes: Sequence[str],
    image_id: str,
    key: str,
    troubles: dict[str, str],
    *,
    known_to_data: bool,
) -> ImageQuality:
    """Measure one mask; a voice that is damaged is told and does not count."""
    arrays = own[image_id]
    mask = arrays["mask"]
    others = []
    for artifact in voices:
        try:
            voice = voice_of(artifact[image_id]) if image_id in artifact else None
        except DamageError as error:
            troubles[image_id] = str(error)
            continue
        if voice is not None and (voice.mask is None or voice.mask.shape == mask.shape):
            others.append(voice)
    confidence = arrays.get("confidence")
    fits = confidence is not None and confidence.shape == mask.shape
    tags = dataset.tags(image_id) if known_to_data and dataset.has(image_id, "tags") else None
    found = class_qualities(voice_of(arrays), others, tags, confidence if fits else None, dataset.has_background)
    truth = _truth(dataset, image_id, mask.shape) if known_to_data else None
    iou, miou = ({}, None) if truth is None else _against(counted_truth(truth, arrays), mask, classes)

    def mean(name: str) -> float | None:
        values = [value for entry in found.values() if (value := getattr(entry, name)) is not None]
        return sum(values) / len(values) if values else None

    return ImageQuality(
        image_id, key, image_quality(found.values()), mean("agreement"), mean("kept"), mean("confidence"),
        {class_name(classes, k): dict(vars(entry)) for k, entry in found.items()}, iou, miou,
    )  # fmt: skip


def class_name(classes: Sequence[str], class_id: int) -> str:
    """Name a class by its id; the id itself where the list does not reach so far."""
    return classes[class_id] if class_id < len(classes) else str(class_id)


def _truth(dataset: Dataset, image_id: str, size: tuple[int, ...]) -> NDArray[np.uint8] | None:
    """Read the true mask of an image; None where it has none that can be used."""
    try:
        truth = dataset.mask(image_id) if dataset.has(image_id, "mask") else None
    except DataError:
        return None
    return truth if truth is not None and truth.shape == size else None


def _against(truth: NDArray[np.uint8], mask: NDArray[np.uint8], classes: Sequence[str]) -> tuple[dict[str, float], float | None]:
    """Measure the IoU of each class in a true mask or in another one, and the mean over those of the true one."""
    counts = int(max(len(classes), *(int(m[m != 255].max(initial=0)) + 1 for m in (truth, mask))))
    matrix = ConfusionMatrix(counts)
    matrix.update(truth, mask)
    hits, true, guessed = np.diagonal(matrix.counts), matrix.counts.sum(axis=1), matrix.counts[:, :-1].sum(axis=0)
    union = true + guessed - hits
    iou = {class_name(classes, int(k)): float(hits[k] / union[k]) for k in np.flatnonzero(union)}
    return iou, number_or_none(matrix.miou())
