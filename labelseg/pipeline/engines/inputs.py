"""What the work function of a stage is given: its items, its models, and where to leave checkpoints and log lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from labelseg.answers.given_answers import Said
from labelseg.answers.given_corrections import MaskFile
from labelseg.errors import ArtifactError, DataError, UsageError
from labelseg.pipeline.instances import run_command
from labelseg.pipeline.plan.decisions import Entry
from labelseg.pipeline.plan.graph import SPLIT_PARAM
from labelseg.pipeline.plan.runlog import RunLog
from labelseg.pipeline.store.artifacts import Model, read_model
from labelseg.pipeline.store.records import repair
from labelseg.pipeline.store.store import Store

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from labelseg.pipeline.store.manifests import ManifestItem
    from labelseg.protocols import Bar, Images, Kind
    from labelseg.working_size import Scaling

__all__ = ["Inputs", "Item", "Items", "Model"]


@dataclass(frozen=True)
class Item:
    """One image with what is known of it; everything is read on access. Picklable.

    Attributes:
        id: Id of the image.
        dataset, store: Where to read.
        reads: Role -> stage that is read, and where the item lies in its artifact.
        truth: Roles that the ground truth of the data plays.
        answers: What people said of its pixels, where the stage reads that: row and column at the size it is worked on, name of the
            class, None for cannot tell.
        correction: The mask that was imported for it, where the stage reads that; None where there is none.
        attached: The file that another program wrote for it, where the stage reads that; None where there is none.
    """

    id: str
    dataset: Images = field(repr=False)
    store: Store = field(repr=False)
    reads: Mapping[str, tuple[str, ManifestItem]] = field(default_factory=dict, repr=False)
    truth: frozenset[str] = field(default=frozenset(), repr=False)
    answers: tuple[Said, ...] = ()
    correction: MaskFile | None = None
    attached: Path | None = None

    def image(self) -> NDArray:
        """Read the image: (H, W, 3) uint8 RGB."""
        return self.dataset.image(self.id)

    def file_image(self) -> NDArray:
        """Read the image at the size of its file: (H, W, 3) uint8 RGB."""
        return self.dataset.at_file_size().image(self.id)

    def scaling(self) -> Scaling | None:
        """The size of the file of the image and the size it is worked on at; None where they are the same."""
        return self.dataset.scaling(self.id)

    @property
    def tags(self) -> tuple[int, ...] | None:
        """Ids of the classes in the image, sorted, the background left out; None where nobody knows."""
        return self.dataset.tags(self.id) if self.dataset.has(self.id, "tags") else None

    def mask(self) -> NDArray:
        """Read the ground truth: (H, W) uint8 class ids, 255 = ignore."""
        return self.dataset.mask(self.id)

    def has(self, kind: Kind) -> bool:
        """Whether the data knows the ``image``, ``tags`` or ``mask`` of this item."""
        return self.dataset.has(self.id, kind)

    def read(self, role: str) -> dict[str, NDArray]:
        """Read what another instance made of this image.

        Args:
            role: Name of the source parameter.

        Returns:
            Name -> array; for ground truth as a label source ``{"mask": (H, W) uint8}``.
        """
        if role in self.truth:
            return {"mask": self.mask()}
        if role not in self.reads:
            raise UsageError(f"{self.id}: nothing is read as '{role}'. Name an instance with --{role.replace('_', '-')}.")
        return self.store.read_item(*self.reads[role])


def _item(entry: Entry, dataset: Images, store: Store, truth: frozenset[str]) -> Item:
    """Make the item of an entry."""
    return Item(entry.id, dataset, store, entry.reads, truth, entry.answers, entry.correction, entry.attached)


class Items(Sequence[Item]):
    """The items of a split, made on access; picklable, so a torch dataset can be built on it."""

    def __init__(self, entries: Sequence[Entry], dataset: Images, store: Store, truth: frozenset[str] = frozenset()) -> None:
        self._entries = list(entries)
        self._dataset = dataset
        self._store = store
        self._truth = truth

    @property
    def ids(self) -> list[str]:
        """Ids in order."""
        return [entry.id for entry in self._entries]

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> Items: ...
    def __getitem__(self, index: int | slice) -> Item | Items:
        if isinstance(index, slice):
            return Items(self._entries[index], self._dataset, self._store, self._truth)
        entry = self._entries[index]
        return _item(entry, self._dataset, self._store, self._truth)

    def __len__(self) -> int:
        return len(self._entries)


@dataclass(frozen=True)
class Inputs:
    """What the work function of a stage is given. Picklable: every worker of a map has its own.

    Attributes:
        dataset, store: Where to read.
        models: Role -> (stage, key) of a finished training.
        truth: Roles that the ground truth of the data plays.
        devices: ``cpu``, ``cuda``, ``cuda:1``; or several, as in ``cuda:0,1``, of which each process of a training is given one.
        ranks: Processes that train together.
        workers: Processes that share a map, or that may load data for a training; 0 where this one does it all.
        entries: For a training, name of a split parameter -> its items; a map is given its items one by one.
        checkpoints: Folder for the checkpoints of this very training: a resumed run finds it again, success removes it.
        instance: Instance that is worked on.
        run_log: Where ``log`` writes.
    """

    dataset: Images = field(repr=False)
    store: Store = field(repr=False)
    models: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    truth: frozenset[str] = frozenset()
    devices: str = "cpu"
    ranks: int = 1
    workers: int = 0
    entries: Mapping[str, Sequence[Entry]] = field(default_factory=dict, repr=False)
    checkpoints: Path = Path()
    instance: str = ""
    run_log: RunLog | None = field(default=None, repr=False)

    @property
    def device(self) -> str:
        """The first device, on which everything runs that uses one."""
        return self.devices.split(",")[0]

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; id k is the k-th."""
        return tuple(self.dataset.classes)

    @property
    def has_background(self) -> bool:
        """Whether class 0 is the background."""
        return self.dataset.has_background

    def demand_background(self) -> None:
        """Refuse data without a background, for stages that weigh classes against it.

        Raises:
            UsageError: class 0 is another one.
        """
        if not self.has_background:
            raise UsageError(
                f"{self.instance}: the data has no background, which classes are weighed against; its first class is '{self.classes[0]}'. "
                "Make 'background' the first line of the class list, or learn from masks: labelseg train-segmenter --labels masks"
            )

    def demand_folder(self, folder: str) -> None:
        """Refuse a folder of files, one for each image, that is not there.

        Raises:
            UsageError: none is named, or there is none.
        """
        if not folder or not Path(folder).is_dir():
            found = f"{folder} is none" if folder else "none is named"
            again = f"{run_command(self.instance)} --files DIR"
            raise UsageError(f"{self.instance}: expected a folder with a file for each image, but {found}. Name one: {again}")

    def attached(self, item: Item, folder: str) -> Path:
        """Return the file that another program wrote for an item.

        Raises:
            DataError: there is none in the folder.
        """
        if item.attached is None:
            raise DataError(
                f"{self.instance} for {item.id}: expected {item.id}.npy, .npz or .zarr in {folder}, found none. "
                f"Write it there and run again: {run_command(self.instance)}"
            )
        return item.attached

    def has(self, image_id: str, kind: Kind) -> bool:
        """Whether the data knows the ``image``, ``tags`` or ``mask`` of an image."""
        return self.dataset.has(image_id, kind)

    def model(self, role: str) -> Model:
        """Read the model that plays a role: its tensors, and the meta values that rebuild the network.

        Args:
            role: Name of the source parameter.

        Raises:
            UsageError: the parameter names no instance.
        """
        if role not in self.models:
            raise UsageError(f"nothing is read as '{role}'. Name an instance with --{role.replace('_', '-')}.")
        stage, key = self.models[role]
        manifest = self.store.catalog.load(stage, key)
        if manifest is None:
            raise ArtifactError(f"{self.store.catalog.manifest_path(stage, key)} is gone. {repair(stage)}")
        return read_model(self.store, manifest)

    def is_truth(self, role: str) -> bool:
        """Whether a label source is the ground truth of the data rather than something computed."""
        return role in self.truth

    def item(self, entry: Entry) -> Item:
        """Make the item of an entry."""
        return _item(entry, self.dataset, self.store, self.truth)

    def items(self, split_param: str = SPLIT_PARAM) -> Items:
        """List the items of one split, those left out that failed in a map the stage reads.

        Args:
            split_param: Name of the split parameter; ``split`` is the one that comes with the sources.

        Returns:
            Empty where the parameter names no split.
        """
        truth = self.truth if split_param == SPLIT_PARAM else frozenset()
        return Items(self.entries.get(split_param, ()), self.dataset, self.store, truth)

    def log(self, values: Mapping[str, Any]) -> None:
        """Append a record, such as the losses of a step, to the log of the run."""
        if self.run_log is not None:
            self.run_log.event({"instance": self.instance, **values})

    def progress(self, total: int, desc: str, done: int = 0) -> AbstractContextManager[Bar]:
        """Show how far a piece of work is: ``with inputs.progress(len(items), "epoch 1") as bar: bar.update(1)``."""
        from labelseg.pipeline.engines.progress import show_progress

        return show_progress(total, desc, done)
