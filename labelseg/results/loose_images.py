"""Masks of any image files, by a trained segmenter."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labelseg.asides.making import clear_asides
from labelseg.class_ids import BACKGROUND
from labelseg.data.domains.sized_dataset import KEY as LONG_SIDE
from labelseg.data.domains.sized_dataset import check_long_side
from labelseg.data.folder.image_ids import IMAGE_SUFFIXES, scan_files
from labelseg.data.folder.images import read_image, scaling_of
from labelseg.errors import DataError, MissingArtifactError, UsageError
from labelseg.file_kinds import open_to_append, read_file
from labelseg.ops.tiles import check_tiles
from labelseg.pipeline.engines.engine import compute_items, share_out
from labelseg.pipeline.engines.inputs import Inputs, Item
from labelseg.pipeline.engines.messages import MapJob, Message, Outcome, Task
from labelseg.pipeline.engines.messages import Written as ItemsWritten
from labelseg.pipeline.files.digests import canonical_json, digest
from labelseg.pipeline.files.paths import output_below
from labelseg.pipeline.instances import stage_of
from labelseg.pipeline.plan.class_lists import mix_text, mixed_ids
from labelseg.pipeline.plan.decisions import Entry
from labelseg.pipeline.plan.keys import key_params
from labelseg.results.standing import classes_of, load_manifest
from labelseg.working_size import FILE_MASK, Scaling, enlarged

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from labelseg.workspace import Workspace

JOURNAL = ".predicted.jsonl"  # in the folder of results: what is finished, and what it was made from


@dataclass(frozen=True)
class LooseImages:
    """Image files as a dataset of which nothing but the images is known.

    Attributes:
        files: Name of the result -> file.
        classes: Class names by id: those that the model was trained with.
        long_side: Pixels of the longer side that larger images are worked on at; 0 takes all as they are.
    """

    files: Mapping[str, Path]
    classes: tuple[str, ...]
    long_side: int = 0

    @property
    def has_background(self) -> bool:
        """Whether class 0 is the background."""
        return self.classes[0] == BACKGROUND

    def has(self, image_id: str, kind: str) -> bool:
        """Whether there is an image; nothing else is known."""
        return kind == "image" and image_id in self.files

    def image(self, image_id: str) -> NDArray[Any]:
        """Read an image at its working size, (h, w, 3) uint8."""
        return read_image(self.files[image_id], self.long_side)

    def scaling(self, image_id: str) -> Scaling | None:
        """The size of the file of an image and its working size; None where they are the same."""
        return scaling_of(self.files[image_id], self.long_side)

    def at_file_size(self) -> LooseImages:
        """The same images at the size of their files."""
        return LooseImages(self.files, self.classes)

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


@dataclass(frozen=True)
class Written:
    """What is to be written of each image, and where. Picklable.

    Attributes:
        run, params: The work function of a stage that makes masks from images and models alone, and its parameters.
        folder: The masks go to ``masks/NAME.png`` in it, at the size of the files.
        confidence: Whether ``confidences/NAME.png`` is written: the probability of the chosen class, 255 = certain.
        overlay: Whether ``overlays/NAME.jpg`` is written: the mask over the image.
    """

    run: Callable[[Inputs, Any], Callable[[Item], dict[str, NDArray[Any]]]]
    params: Any
    folder: Path
    confidence: bool = False
    overlay: bool = False

    def paths(self, name: str) -> list[Path]:
        """The files of an image, the mask first.

        Raises:
            UsageError: the name leads out of the folder.
        """
        wanted = [("masks", "png"), *[("confidences", "png")] * self.confidence, *[("overlays", "jpg")] * self.overlay]
        return [output_below(self.folder, kind, f"{name}.{suffix}") for kind, suffix in wanted]


def write_predictions(inputs: Inputs, wanted: Written) -> Callable[[Item], dict[str, NDArray[Any]]]:
    """Segment images and write the files that are wanted: the work function of ``predict``.

    Returns:
        A function that does so for an item and returns no arrays.
    """
    compute = wanted.run(inputs, wanted.params)

    def write(item: Item) -> dict[str, NDArray[Any]]:
        from labelseg.data.formats.palette import clear_ids
        from labelseg.data.formats.png import write_grey_png, write_overlay, write_palette_png

        arrays, scaling = compute(item), item.scaling()
        mask = at_size_of_file(arrays.get(FILE_MASK, arrays["mask"]), scaling)
        for path in wanted.paths(item.id):
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_relative_to(wanted.folder / "masks"):
                write_palette_png(mask, path)
            elif path.is_relative_to(wanted.folder / "overlays"):
                write_overlay(mask, item.file_image(), path, clear_ids(inputs.classes))
            elif "confidence" not in arrays:
                raise UsageError("--confidence: the stage writes no confidence. Leave it out.")
            else:
                grey = np.round(arrays["confidence"].astype(np.float32) * 255).astype(np.uint8)
                write_grey_png(at_size_of_file(grey, scaling), path)
        return {}

    return write


def at_size_of_file(values: NDArray[Any], scaling: Scaling | None) -> NDArray[Any]:
    """Spread values (h, w) over a file (H, W): each pixel has the value of the one that it was worked on in."""
    return values if scaling is None else enlarged(values, scaling.file)


class Predictions:
    """Masks of any image files, made by an instance of a stage that needs images and models alone.

    Args:
        workspace: Where the models are.
        instance: Such as ``segment``; its parameters hold.
        files: Name -> image file.
        folder: Where to write.
        confidence, overlay: What to write beside masks.
        tiles: Parameters ``tile`` and ``overlap`` in place of those of the instance.

    Attributes:
        classes: Class names by id, as the models know them.

    Raises:
        UsageError: the stage needs more than images and models.
        DataError: the models were trained with different classes.
        MissingArtifactError: a model was never trained.
    """

    def __init__(
        self,
        workspace: Workspace,
        instance: str,
        files: Mapping[str, Path],
        folder: Path,
        *,
        confidence: bool = False,
        overlay: bool = False,
        tiles: Mapping[str, int] | None = None,
    ) -> None:
        stage = workspace.config.stage(instance)
        params = workspace.config.params(instance)
        if tiles:
            if not hasattr(params, "tile"):
                raise UsageError(f"predict --tile: {instance} has no tiles. Name an instance of segment.")
            params = replace(params, **tiles)
        if getattr(params, "tile", 0):
            check_tiles(params.tile, params.overlap, instance)
        sources = stage.sources(params)
        if not stage.takes_loose_images(params):
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
        self.classes = _classes(instance, made_with) if made_with else tuple(workspace.dataset.classes)
        self._workspace, self._stage, self._files, self._models = workspace, stage, files, models
        self.wanted = Written(stage.run, params, folder, confidence, overlay)
        made_by = [stage.name, stage.version, key_params(stage, params, workspace.index.digest, workspace.root), sorted(models.items())]
        self._long_side = check_long_side(workspace.config.data.get(LONG_SIDE, 0), "[data]")
        made_by += [f"{LONG_SIDE} {self._long_side}"] * bool(self._long_side)
        self._made_by = digest("prediction", canonical_json(made_by))

    def done(self) -> set[str]:
        """List the images whose files are there already, made by the same models and parameters from the same photos."""
        noted = noted_in(self.wanted.folder / JOURNAL)
        return {
            name
            for name in self._files.keys() & noted.keys()
            if noted[name] == self._note(name) and all(path.is_file() for path in self.wanted.paths(name))
        }

    def compute(self, names: Sequence[str], device: str, workers: int | None, watch: Callable[[Message], None]) -> Outcome:
        """Segment images and write their files; what is written is noted at once, so that the same call goes on after an interruption.

        Args:
            names: Images, of those given.
            device: As of a run.
            workers: Processes; None chooses.
            watch: Told everything that happens.
        """
        device = self._workspace.pick_device(device)
        workers = share_out(len(names), device, workers)
        inputs = Inputs(
            dataset=LooseImages({name: self._files[name] for name in names}, self.classes, self._long_side),
            store=self._workspace.store,
            models=self._models,
            devices=device,
            workers=workers,
            instance=self._stage.name,
        )
        job = MapJob("predict", write_predictions, self.wanted, inputs, {}, keeps=False, set_threads=self._workspace.set_threads)
        self.wanted.folder.mkdir(parents=True, exist_ok=True)
        for folder in {path.parent for name in names for path in self.wanted.paths(name)}:
            clear_asides(folder)
        with open_to_append(self.wanted.folder / JOURNAL) as journal:
            journal.write(b"\n")  # ends a line that was cut

            def note(message: Message) -> None:
                if isinstance(message, ItemsWritten):
                    for name, _ in message.places:
                        journal.write(json.dumps([name, self._note(name)]).encode() + b"\n")
                watch(message)

            return compute_items(job, [Task(Entry(name, {}, {}), "") for name in names], workers, note)

    def _note(self, name: str) -> str:
        """Say what the files of an image are made from: models, parameters and the photo as it stands."""
        status = self._files[name].stat()
        return f"{self._made_by} {status.st_size} {status.st_mtime_ns}"


def noted_in(journal: Path) -> dict[str, Any]:
    """Read which images were finished, and what each was made from; lines that are no such notes count as none."""
    try:
        lines = list(map(_line, read_file(journal).splitlines()))
    except OSError:
        return {}
    return {line[0]: line[1] for line in lines if isinstance(line, list) and len(line) == 2 and isinstance(line[0], str)}


def _line(line: bytes) -> Any:
    """Read a line of the journal; None where it was cut or is damaged."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _classes(instance: str, made_with: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Name the classes of the models that an instance reads; they must mean the same by each id."""
    (first, classes), *others = made_with.items()
    for name, theirs in others:
        if mixed_ids(theirs, classes):
            mix = mix_text(theirs, classes)
            raise DataError(f"{instance} reads {name} and {first}, which were trained with other classes: {mix}. Run: labelseg run")
    return classes
