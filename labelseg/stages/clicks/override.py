"""Stage ``override``: masks of a stage, replaced image by image by masks that were imported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labelseg.pipeline.declare.stage import Stage, source

if TYPE_CHECKING:
    from labelseg.pipeline.engines.inputs import Inputs, Item


@dataclass(frozen=True, kw_only=True)
class Params:
    """Parameters of ``override``."""

    of: str = source(
        "propagate",
        help="Instance whose masks stand where none was imported; empty leaves such images unknown (255), masks takes the ground truth.",
        kind="labels",
    )


def run(inputs: Inputs, params: Params) -> Callable[[Item], dict[str, Any]]:
    """Replace masks, image by image, by those brought in with `labelseg import-masks`: corrected ones, or those of another program.

    Returns:
        The function that computes an item: ``mask`` uint8 (H, W), class ids, 255 where nothing is known; of an image that is worked on
        smaller than its file also ``file_mask`` (H, W), the imported mask as it came.

    Source: ours.
    """
    import numpy as np

    from labelseg.answers.correction_files import demand_mask
    from labelseg.class_ids import IGNORE
    from labelseg.data.folder.images import read_mask
    from labelseg.errors import DataError
    from labelseg.suggestions import suggestion
    from labelseg.working_size import FILE_MASK

    ids = {name: class_id for class_id, name in enumerate(inputs.classes)}

    def todays_ids(item: Item, classes: tuple[str, ...], mask: np.ndarray) -> np.ndarray:
        table = np.full(256, IGNORE, np.uint8)
        for class_id in set(np.unique(mask).tolist()) - {IGNORE}:
            name = classes[class_id]
            if name not in ids:
                raise DataError(f"{inputs.instance} for {item.id}: '{name}' of its imported mask is no class now.{suggestion(name, ids)}")
            table[class_id] = ids[name]
        return table[mask]

    def compute(item: Item) -> dict[str, np.ndarray]:
        size = item.image().shape[:2]
        if item.correction is None:
            own = item.read("of") if params.of else {"mask": np.full(size, IGNORE, np.uint8)}
            return {name: own[name] for name in ("mask", FILE_MASK) if name in own}
        path, classes = item.correction.path, item.correction.classes
        demand_mask(path)
        scaling = item.scaling()
        mask = todays_ids(item, classes, read_mask(path, len(classes), scaling.file if scaling else size))
        return {"mask": scaling.shrink(mask), FILE_MASK: mask} if scaling else {"mask": mask}

    return compute


STAGE = Stage(
    name="override", version=1, kind="map", params=Params, run=run, uses=lambda params: ("image",), has_masks=True, overridden=True
)
