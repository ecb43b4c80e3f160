"""A workspace: a folder with ``labelseg.toml``, its data and its artifacts, used from Python."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from labelseg.errors import MissingArtifactError, UsageError
from labelseg.pipeline.declare.config import Config
from labelseg.pipeline.declare.stage import Stage
from labelseg.pipeline.declare.store_url import SCHEME, parse_url
from labelseg.pipeline.engines.launched import launched
from labelseg.pipeline.files.fingerprint import FileIndex
from labelseg.pipeline.instances import stage_of
from labelseg.pipeline.store.manifests import Catalog, Manifest, Ref
from labelseg.suggestions import unknown_split

if TYPE_CHECKING:
    from labelseg.pipeline.remote.remote import Remote
    from labelseg.pipeline.run.options import RunOptions
    from labelseg.pipeline.run.report import Report
    from labelseg.pipeline.run.status import StatusRow
    from labelseg.pipeline.store.artifacts import Artifact, Model
    from labelseg.pipeline.store.store import Store
    from labelseg.protocols import Dataset

FOLDER = ".labelseg"


def set_threads(count: int) -> int | None:
    """Set the threads torch computes with, if it is loaded; return how many they were, None if it is not."""
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    return before


class Workspace:
    """The same verbs as the command line, and artifacts as arrays::

        ws = labelseg.Workspace("dir")
        ws.run("propagate", beta=8)
        ws["propagate", "train"]["2007_000032"]["mask"]

    A script that calls ``run`` guards it with ``if __name__ == "__main__":``, since map stages spawn processes; with
    ``options=labelseg.RunOptions(workers=0)`` it need not.

    Args:
        root: The folder.
        stages: Stages to use; None takes those of labelseg.
        environ: Environment to read parameters from; None is that of the process.

    Attributes:
        root: The folder.
        folder: Where artifacts lie, ``.labelseg`` in it.

    Raises:
        UsageError: the folder holds no valid ``labelseg.toml``.
    """

    def __init__(
        self, root: str | os.PathLike[str], *, stages: Iterable[Stage] | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        if stages is None:
            from labelseg.stages import STAGES

            stages = STAGES
        self.root = Path(root)
        self.folder = self.root / FOLDER
        self._config = Config.load(self.root, stages, environ)

    @property
    def config(self) -> Config:
        """The configuration as it was read, or last written."""
        return self._config

    @property
    def stages(self) -> Mapping[str, Stage]:
        """Name -> stage, in the order of the pipeline."""
        return self._config.stages

    @cached_property
    def dataset(self) -> Dataset:
        """The images and what is known of them."""
        return open_data(self.root, self._config.data)

    @cached_property
    def index(self) -> FileIndex:
        """Digests of files."""
        return FileIndex(self.folder / "files.json")

    @cached_property
    def remote(self) -> Remote | None:
        """The object store that ``[store] url`` names; None where it names none."""
        if self._config.store is None:
            return None
        from labelseg.pipeline.remote.remote import Remote

        return Remote(self.folder, self._config.store, self._config.instances())

    @cached_property
    def catalog(self) -> Catalog:
        """Manifests and refs, without their arrays; what changed in the object store is fetched first."""
        if self.remote is not None:
            self.remote.look()
        return Catalog(self.folder)

    @cached_property
    def store(self) -> Store:
        """The artifacts."""
        from labelseg.pipeline.store.store import Store

        return Store(self.folder, None if self.remote is None else self.remote.parts)

    def run(self, instance: str | None = None, split: str | None = None, *, options: RunOptions | None = None, **params: Any) -> Report:
        """Bring an instance and everything it reads up to date.

        Args:
            instance: What to run; None is the target of the configuration.
            split: Split to run it on; for a model the split it learns from. None takes that of the configuration.
            options: How to run.
            **params: Parameters of the instance; they are written to ``labelseg.toml``.

        Returns:
            What was done.

        Raises:
            LabelsegError: as ``labelseg.pipeline.run.runner.run``.
        """
        from labelseg.pipeline.run.runner import run

        if instance is not None and split is not None:
            stage = self.stages.get(stage_of(instance))
            if stage is not None and stage.kind == "model":
                params = {"split": split, **params}
        return run(self, instance, split, params=params, options=options)

    def status(self) -> list[StatusRow]:
        """Tell the state of every instance and why it is not fresh."""
        from labelseg.pipeline.run.status import status

        return status(self)

    def write_config(self, name: str, values: Mapping[str, Any]) -> Config:
        """Write parameters of an instance, or values of tables such as ``data``, to ``labelseg.toml``."""
        from labelseg.pipeline.declare.configfile import write_values

        self._config = write_values(self._config, name, values)
        for made in {"data": ("dataset",), "store": ("remote", "store", "catalog")}.get(name, ()):
            self.__dict__.pop(made, None)
        return self._config

    def __getitem__(self, name: tuple[str, str]) -> Artifact:
        """Open the finished items of an instance in a split: image id -> name -> array.

        Raises:
            UsageError: the name is not that of a map and a split.
            MissingArtifactError: it never ran.
        """
        from labelseg.pipeline.store.artifacts import Artifact

        match name:
            case (str(instance), str(split)):
                self._demand_kind(instance, "map", split)
            case str(instance):
                self._demand_kind(instance, "map")
                raise UsageError(f"ws['{instance}']: expected a split too. Write ws['{instance}', '{self.config.split_of(instance)}'].")
            case _:
                raise UsageError(f"ws[{name!r}]: expected the name of an instance and of a split, such as ws['propagate', 'train'].")
        return Artifact(self.store, self._manifest(instance, split), f"{instance} ({split})")

    def model(self, instance: str) -> Model:
        """Read a finished model: its tensors, what rebuilds the network, its metrics and curves.

        Raises:
            UsageError: the name is not that of a model.
            MissingArtifactError: it was never trained.
        """
        from labelseg.pipeline.store.artifacts import read_model

        self._demand_kind(instance, "model")
        return read_model(self.store, self._manifest(instance, ""))

    def ref(self, instance: str, split: str = "", tag: str | None = None) -> Ref | None:
        """Tell which artifact an instance stands for; None where there is none."""
        return self.catalog.ref(instance, split, tag)

    def pick_device(self, name: str) -> str:
        """Turn ``auto`` into ``cuda`` where there is such a device, else ``cpu``; other names stay as they are.

        Raises:
            UsageError: The device is not there. Of several, each is asked for by the process that is to use it.
        """
        if name != "auto":
            if name != "cpu" and "," not in name:
                from labelseg.models.devices import demand_device

                demand_device(name)
            return name
        # Importing torch takes seconds, and without this file there is nothing it could find.
        if sys.platform == "linux" and not Path("/dev/nvidiactl").exists():
            return "cpu"
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"

    def train(self, work: Callable[[Any, Any], Any], inputs: Any, params: Any) -> Any:
        """Call the work function of a training: here, or in one process a device or those that a launcher started."""
        if "," not in inputs.devices and launched() is None:
            return work(inputs, params)
        from labelseg.training.ranks import train_together

        return train_together(work, inputs, params)

    # A plain function, which travels to spawned workers without the workspace.
    set_threads = staticmethod(set_threads)

    def _demand_kind(self, instance: str, kind: Literal["map", "model"], split: str = "") -> None:
        """Refuse an unknown instance, or one that makes the other kind of thing."""
        made = self.config.stage(instance).kind
        if made != kind:
            named = f"ws['{instance}', '{split or self.config.split_of(instance)}']"
            there = f"a model. Read it with ws.model('{instance}')" if made == "model" else f"items, not a model. Read them with {named}"
            raise UsageError(f"{instance} makes {there}. {_listed(self.config, kind)}")

    def _manifest(self, instance: str, split: str) -> Manifest:
        """Load the manifest that an instance stands for."""
        ref = self.catalog.ref(instance, split)
        if ref is None:
            if split and split not in self.dataset.splits():
                raise UsageError(f"ws['{instance}', '{split}']: {unknown_split(split, self.dataset.splits())}")
            where = f" on {split}" if split else ""
            elsewhere = [f"'{ref.split}'" for ref in self.catalog.refs(instance=instance) if ref.split]
            there = f" There is {', '.join(elsewhere)}." if elsewhere else ""
            raise MissingArtifactError(f"{instance} has never run here{where}.{there} Run: {self.config.command(instance, split)}")
        return self.catalog.named(ref)


def open_data(root: Path, table: Mapping[str, Any]) -> Dataset:
    """Open the dataset that a ``[data]`` table describes; of images that it names by a URL what is new is fetched first.

    Raises:
        UsageError, DataError: as ``open_dataset``.
        UnreachableError: images lie in an object store that does not answer, and none were fetched before.
    """
    from labelseg.data.dataset import open_dataset

    here = {key: _with_images_here(root, value) if isinstance(value, Mapping) else value for key, value in table.items()}
    return open_dataset(root, _with_images_here(root, here))


def fetched_images(root: Path, url: str) -> Path:
    """Bring the images below a URL here, what is new of them, and return their folder.

    Raises:
        UsageError, DataError, UnreachableError: as ``open_data``.
    """
    from labelseg.data.folder.image_ids import IMAGE_SUFFIXES
    from labelseg.pipeline.remote.mirror import mirrored

    return mirrored(root / FOLDER, parse_url(url, "[data] images"), IMAGE_SUFFIXES).absolute()


def _with_images_here(root: Path, table: Mapping[str, Any]) -> dict[str, Any]:
    """Put the folder here in place of a URL of images."""
    images = table.get("images")
    is_url = isinstance(images, str) and images.startswith(SCHEME)
    return {**table, "images": str(fetched_images(root, str(images)))} if is_url else dict(table)


def _listed(config: Config, kind: Literal["map", "model"]) -> str:
    """List the instances that make one kind of thing."""
    names = [name for name in config.instances() if config.stage(name).kind == kind]
    return f"{'Models:' if kind == 'model' else 'Items are made by'} {', '.join(names)}."
