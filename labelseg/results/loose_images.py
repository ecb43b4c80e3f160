"""Masks of any image files, by a trained segmenter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelseg.class_ids import BACKGROUND
from labelseg.data.folder.image_ids import IMAGE_SUFFIXES, scan_files
from labelseg.data.folder.images import read_image
from labelseg.errors import DataError, MissingArtifactError, UsageError
from labelseg.pipeline.engines.inputs import Inputs, Item
from labelseg.pipeline.instances import stage_of
from labelseg.pipeline.plan.class_lists import mix_text, mixed_ids
from labelseg.results.standing import classes_of, load_manifest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from labelseg.workspace import Workspace


@dataclass(frozen=True)
class LooseImages:
    """Image files as a dataset of which nothing but the images is known.

    Attributes:
        files: Name of the result -> file.
        classes: Class names by id: those that the model was trained with.
    """

    files: Mapping[str, Path]
    classes: tuple[str, ...]

    @property
    def has_background(self) -> bool:
        """Whether class 0 is the background."""
        return self.classes[0] == BACKGROUND

    def has(self, image_id: str, kind: str) -> bool:
        """Whether there is an image; nothing else is known."""
        return kind == "image" and image_id in self.files

    def image(self, image_id: str) -> NDArray[Any]:
        """Read an image, (H, W, 3) uint8."""
        return read_image(self.files[image_id])

    def tags(self, image_id: str) -> None:
        """Nobody knows."""

    def mask(self, image_id: str) -> NDArray[Any]:
        """Refuse: the true mask (H, W) of a loose image is not known."""
        raise DataError(f"{self.files[image_id]}: expected a true mask, but loose images have none.")


def find_images(paths: Iterable[Path]) -> dict[str, Path]:
    """List image files and those in folders by the name of their result: the path below the folder, without extension.

    Raises:
        DataError: a folder holds no image.
        UsageError: two images would have results of one name.
    """
    found: list[tuple[str, Path]] = []
    for path in paths:
        files = [path / name for name in scan_files(path, IMAGE_SUFFIXES)] if path.is_dir() else [path]
        if not files:
            raise DataError(f"{path}: expected images ({', '.join(sorted(IMAGE_SUFFIXES))}), found none.")
        found += [((file.relative_to(path) if path.is_dir() else Path(file.name)).with_suffix("").as_posix(), file) for file in files]
    by_name: dict[str, Path] = {}
    for name, file in found:
        if name in by_name and by_name[name].absolute() != file.absolute():
            raise UsageError(
                f"{by_name[name]} and {file} would both become {name}.png. Give them in two calls with different output folders."
            )
        by_name[name] = file
    return by_name


def segmenter(workspace: Workspace, instance: str, files: Mapping[str, Path], device: str) -> Callable[[str], dict[str, NDArray[Any]]]:
    """Start an instance of a stage that makes masks from images and models alone.

    Args:
        workspace: Where the models are.
        instance: Such as ``segment``; its parameters hold.
        files: Name -> image file.
        device: As for a run.

    Returns:
        A function from a name to the item: ``mask`` (H, W) uint8, and with most stages ``confidence`` (H, W) float16.

    Raises:
        UsageError: the stage needs more than images and models.
        DataError: the models were trained with different classes.
        MissingArtifactError: a model was never trained.
    """
    stage = workspace.config.stage(instance)
    params = workspace.config.params(instance)
    sources = stage.sources(params)
    if not stage.has_masks or stage.uses(params) != ("image",) or any(source.kind != "model" for source in sources):
        raise UsageError(f"{instance} cannot segment loose images. Name an instance of segment.")
    models, made_with = {}, {}
    for source in sources:
        ref = workspace.ref(source.instance)
        if ref is None:
            raise MissingArtifactError(
                f"predict needs {source.instance}, which has never run here. Run: {workspace.config.command(source.instance)}"
            )
        models[source.role] = (stage_of(source.instance), ref.key)
        made_with[source.instance] = classes_of(ref, load_manifest(workspace, ref))
    images = LooseImages(files, _classes(instance, made_with) if made_with else tuple(workspace.dataset.classes))
    inputs = Inputs(dataset=images, store=workspace.store, models=models, devices=workspace.pick_device(device))
    compute = stage.run(inputs, params)
    return lambda name: compute(Item(name, images, workspace.store))


def _classes(instance: str, made_with: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Name the classes of the models that an instance reads; they must mean the same by each id."""
    (first, classes), *others = made_with.items()
    for name, theirs in others:
        if mixed_ids(theirs, classes):
            mix = mix_text(theirs, classes)
            raise DataError(f"{instance} reads {name} and {first}, which were trained with other classes: {mix}. Run: labelseg run")
    return classes
