"""Stage ``import-scores``: score maps of classes that another program computed, in the place of class activation maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labelseg.pipeline.declare.stage import Stage, file_option, folder_option, option

if TYPE_CHECKING:
    from labelseg.pipeline.engines.inputs import Inputs, Item


@dataclass(frozen=True, kw_only=True)
class Params:
    """Parameters of ``import-scores``."""

    files: str = folder_option(
        help="Folder with a file for each image, ID.npy, ID.npz or ID.zarr, or a zarr group with an array for each: scores (C, h, w)."
    )
    names: str = file_option("", help="Classes of the maps, one a line, for files that do not hold them as `classes`.")
    tags: str = option(
        "given",
        help="Classes to take: those tagged, of which each must have a map, or all that the file has.",
        choices=("given", "file"),
    )


def run(inputs: Inputs, params: Params) -> Callable[[Item], dict[str, Any]]:
    """Take in score maps of classes that another program computed, in the place of cam: `refine --cam import-scores`.

    Returns:
        The function that computes an item: ``scores`` float16 (C, h, w) in [0, 1], each map over its maximum, what is negative 0, of the
        size they came in; ``class_ids`` int16 (C,), sorted; ``size`` int32 (2,), height and width of the image. A map of the background
        is left out.

    Source: ours.
    """
    from pathlib import Path

    import numpy as np

    from labelseg.data.folder.text_files import read_text
    from labelseg.errors import DataError
    from labelseg.exchange.readers.array_files import read_arrays, take_array
    from labelseg.ops.cam import normalize_cam
    from labelseg.pipeline.instances import run_command
    from labelseg.suggestions import suggestion

    inputs.demand_folder(params.files)
    again = run_command(inputs.instance)
    ids = {name: class_id for class_id, name in enumerate(inputs.classes)}
    lines = read_text(Path(params.names)).splitlines() if params.names else []
    listed = [line.strip() for line in lines if line.strip()]

    def names_of(arrays: dict[str, Any], path: Path, count: int) -> list[str]:
        held = np.asarray(arrays.get("classes", [])).ravel().tolist()
        names = listed or [one.decode() if isinstance(one, bytes) else str(one) for one in held]
        listing = f"List them in a file: {again} --names FILE"
        if len(names) != count or len(set(names)) != count:
            told = f"{len(names)} names" if len(set(names)) == len(names) else "a name twice"
            raise DataError(f"{path}: expected the names of its {count} maps as 'classes', found {told}. {listing}")
        if wrong := next((name for name in names if name not in ids), None):
            raise DataError(
                f"{path}: expected classes of the data, found a map of '{wrong}'.{suggestion(wrong, ids)} "
                f"Leave it out of the file; or, where it is one by another name, list all as the data has them: {again} --names FILE"
            )
        return names

    def wanted(item: Item, there: dict[int, int], path: Path) -> list[int]:
        if params.tags == "file":
            return sorted(there)
        every = f"take all maps of the file: {again} --tags file"
        if item.tags is None:
            raise DataError(
                f"{inputs.instance} for {item.id}: expected tags, but the image is not in the label list. Add a line for it, or {every}"
            )
        if missing := [inputs.classes[class_id] for class_id in item.tags if class_id not in there]:
            raise DataError(f"{path}: expected a map of each tag, found none of {', '.join(missing)}. Write them, or {every}")
        return list(item.tags)

    def compute(item: Item) -> dict[str, np.ndarray]:
        path = inputs.attached(item, params.files)
        arrays = read_arrays(path)
        values, size = take_array(arrays, "scores", path), item.image().shape[:2]
        if values.ndim != 3 or 0 in values.shape[1:] or (values.shape[1:] == size[::-1] and size[0] != size[1]):
            raise DataError(
                f"{path}: expected scores (C, h, w) of an image of {size[0]} x {size[1]} pixels, got the shape {values.shape}. "
                f"Write rows before columns, and run again: {again}"
            )
        first_class = 1 if inputs.has_background else 0
        there = {ids[name]: place for place, name in enumerate(names_of(arrays, path, len(values))) if ids[name] >= first_class}
        class_ids = wanted(item, there, path)
        kept = np.maximum(values[[there[class_id] for class_id in class_ids]], 0)
        if (largest := kept.max(initial=0)) > np.finfo(np.float32).max:  # beyond what the division below can hold
            kept = kept / largest
        scores = normalize_cam(kept)
        return {"scores": scores.astype(np.float16), "class_ids": np.array(class_ids, np.int16), "size": np.array(size, np.int32)}

    return compute


STAGE = Stage(
    name="import-scores",
    version=1,
    kind="map",
    params=Params,
    run=run,
    uses=lambda params: ("image", "tags") if params.tags == "given" else ("image",),
    has_scores=True,
    attached="files",
)
