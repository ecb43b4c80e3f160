"""Stage ``import-features``: features of the places of an image that another program computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labelseg.pipeline.declare.stage import Stage, folder_option, option

if TYPE_CHECKING:
    from labelseg.pipeline.engines.inputs import Inputs, Item


@dataclass(frozen=True, kw_only=True)
class Params:
    """Parameters of ``import-features``."""

    files: str = folder_option(
        help="Folder with a file for each image, ID.npy, ID.npz or ID.zarr, or a zarr group with an array for each: features (h, w, D)."
    )
    stride: int = option(0, help="Pixels between features; 0 takes the number `stride` of each file.", minimum=0)
    centre: bool = option(False, help="Take the mean of the image off its features, so that what all places share does not count.")


def run(inputs: Inputs, params: Params) -> Callable[[Item], dict[str, Any]]:
    """Take in features that another program computed, such as those of a vision transformer: `propagate --affinity-kind features`.

    Returns:
        The function that computes an item: ``features`` float16 (h, w, D), a feature for every block of ``stride`` pixels that the image
        begins; ``stride`` int32 (), pixels between them. Where float16 would not hold them all are divided by the largest magnitude.

    Source: ours.
    """
    import numpy as np

    from labelseg.errors import DataError
    from labelseg.exchange.readers.array_files import read_arrays, take_array
    from labelseg.inference.affinities import Features
    from labelseg.pipeline.instances import run_command

    inputs.demand_folder(params.files)
    again = run_command(inputs.instance)

    def stride_of(arrays: dict[str, Any], path: object) -> int:
        if params.stride:
            return params.stride
        found = np.asarray(arrays.get("stride", 0))
        if found.size != 1 or found.dtype.kind not in "fiu" or found.item() < 1 or found.item() != int(found.item()):
            told = "none" if "stride" not in arrays else str(arrays["stride"])
            raise DataError(
                f"{path}: expected a whole number 'stride' beside the features, the pixels between them, found {told}. "
                f"Name it: {again} --stride 14"
            )
        return int(found.item())

    def compute(item: Item) -> dict[str, np.ndarray]:
        path = inputs.attached(item, params.files)
        arrays = read_arrays(path)
        values = take_array(arrays, "features", path)
        if values.ndim != 3 or values.shape[2] == 0:
            raise DataError(f"{path}: expected features (h, w, D), got the shape {values.shape}. Write them so, and run again: {again}")
        features = Features(values, stride_of(arrays, path))
        try:
            features.demand_grid(item.image().shape[:2])
        except DataError as error:
            raise DataError(f"{path}: {error} Write rows, columns, channels; or name the stride: {again} --stride 14") from error
        kept = values.astype(np.float32)
        if params.centre:
            kept = kept - kept.mean(axis=(0, 1))
        return {"features": as_half(kept), "stride": np.array(features.stride, np.int32)}

    def as_half(values: np.ndarray) -> np.ndarray:
        largest = float(np.abs(values).max())
        return (values if 2**-6 <= largest <= 65504 or not largest else values / largest).astype(np.float16)

    return compute


STAGE = Stage(
    name="import-features",
    version=1,
    kind="map",
    params=Params,
    run=run,
    uses=lambda params: ("image",),
    has_features=True,
    attached="files",
)
