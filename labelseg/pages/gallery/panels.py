"""What the stages made of an image, as layers of pictures: one panel a stage, and one for the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from labelseg.class_ids import IGNORE
from labelseg.data.formats.palette import clear_ids
from labelseg.errors import DataError, LabelsegError
from labelseg.pages.parts.layers import mask_layers, score_layers
from labelseg.pipeline.plan.class_lists import mixed_ids
from labelseg.quality.chain import chain_refs
from labelseg.results.standing import classes_of, open_ref

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from labelseg.pipeline.store.artifacts import Artifact
    from labelseg.workspace import Workspace

TRUTH = "truth"
DRAWN = ("mask", "labels", "scores", "inconsistent")  # arrays of which an item needs one to be seen
Layers = list[tuple[int, bytes]]


@dataclass(frozen=True)
class Panel:
    """What one stage made of an image.

    Attributes:
        stage: The instance, or ``truth``.
        layers: Class id and PNG of each class; empty where it found nothing.
        missing: Why there is nothing to show; empty where there is.
    """

    stage: str
    layers: tuple[tuple[int, bytes], ...] = ()
    missing: str = ""


class Panels:
    """Reads what the stages made of the images of a split. What is damaged is told and left out.

    Args:
        workspace: The workspace.
        split: Whose images.
        instance: The one that is looked at, with what it reads. Its classes count: what means other classes by its ids is left out.
            Empty takes the classes of the data.

    Attributes:
        stages: The panels of an image, in order, ``truth`` the last where the data has true masks.
        classes: Class names by id.
        troubles: What was left out, and why.
    """

    def __init__(self, workspace: Workspace, split: str, instance: str = "") -> None:
        self._dataset = workspace.dataset
        self._artifacts: dict[str, Artifact] = {}
        self.troubles: list[str] = []
        opened: dict[str, tuple[Artifact, tuple[str, ...]]] = {}
        for ref in chain_refs(workspace, split, instance):
            try:
                artifact = open_ref(workspace, ref)
                if _is_seen(artifact):
                    opened[ref.instance] = artifact, classes_of(ref, artifact.manifest)
            except LabelsegError as error:
                self.troubles.append(f"{ref.instance} ({split}) is left out: {error}")
        self.classes = opened[instance][1] if instance in opened else tuple(self._dataset.classes)
        for name, (artifact, classes) in opened.items():
            if mixed_ids(classes, self.classes):
                self.troubles.append(f"{name} ({split}) is left out: it was made with other classes, and colours would mix.")
            else:
                self._artifacts[name] = artifact
                self.classes = max(self.classes, classes, key=len)
        self.ids = list(
            dict.fromkeys(
                image_id for artifact in self._artifacts.values() for image_id in artifact if self._dataset.has(image_id, "image")
            )
        )
        self._clear = clear_ids(self.classes)
        self.has_truth = not mixed_ids(self._dataset.classes, self.classes) and any(self._dataset.has(i, "mask") for i in self.ids)
        self.stages = [*self._artifacts, *([TRUTH] if self.has_truth else [])]

    def photo(self, image_id: str) -> NDArray[Any]:
        """Read a photo, (H, W, 3) uint8.

        Raises:
            DataError: it cannot be read.
        """
        return self._dataset.image(image_id)

    def tags(self, image_id: str) -> list[int] | None:
        """Ids of the classes that an image is said to hold; None where that is unknown."""
        found = self._dataset.tags(image_id) if self._dataset.has(image_id, "tags") else None
        return None if found is None else list(found)

    def panel(self, stage: str, image_id: str, size: tuple[int, int]) -> Panel:
        """Draw what a stage made of an image.

        Args:
            stage: One of ``stages``.
            image_id: The image.
            size: (height, width) that no picture exceeds.
        """
        try:
            layers = self._truth_layers(image_id, size) if stage == TRUTH else self._stage_layers(stage, image_id, size)
        except LabelsegError as error:
            return Panel(stage, missing=str(error))
        except (KeyError, ValueError, IndexError) as error:
            return Panel(stage, missing=f"what is stored is not what {stage} writes: {error}")
        return Panel(stage, missing="this stage has not seen the image") if layers is None else Panel(stage, tuple(layers))

    def _truth_layers(self, image_id: str, size: tuple[int, int]) -> Layers | None:
        if not self._dataset.has(image_id, "mask"):
            raise DataError("the image has no true mask")
        return mask_layers(self._dataset.mask(image_id), size, self._clear)

    def _stage_layers(self, stage: str, image_id: str, size: tuple[int, int]) -> Layers | None:
        if image_id not in self._artifacts[stage]:
            failed = {failure["id"]: failure["error"] for failure in self._artifacts[stage].manifest.failed}
            if image_id in failed:
                raise DataError(failed[image_id])
            return None
        return item_layers(self._artifacts[stage][image_id], size, self._clear)


def _is_seen(artifact: Artifact) -> bool:
    """Whether the items of an artifact can be drawn, by the first of them; one that is damaged is to be told of where it is looked at."""
    try:
        return not artifact or any(name in artifact[next(iter(artifact))] for name in DRAWN)
    except LabelsegError:
        return True


def item_layers(arrays: Mapping[str, NDArray[Any]], size: tuple[int, int], clear: Sequence[int]) -> Layers:
    """Draw an item: its mask; else its labels on a grid, the background among them; else its maps; else where two heads differ, in grey.

    Args:
        arrays: ``mask`` (H, W), ``labels`` (h, w), ``scores`` (C, h, w) with ``class_ids`` (C,), or ``inconsistent`` (h, w).
        size: (height, width) that no picture exceeds.
        clear: Ids of a mask that are not drawn.

    Raises:
        DataError: it has none of these.
    """
    if "mask" in arrays:
        return mask_layers(arrays["mask"], size, tuple(clear))
    if "labels" in arrays:
        return mask_layers(arrays["labels"], size, (IGNORE,))
    if "scores" in arrays and "class_ids" in arrays:
        return score_layers(arrays["scores"], arrays["class_ids"], size)
    if "inconsistent" in arrays:
        return mask_layers(np.where(arrays["inconsistent"] > 0, IGNORE, 0).astype(np.uint8), size)
    raise DataError("what is stored is no picture")
