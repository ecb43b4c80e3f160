"""What planning and running ask of a workspace. For type checking only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from labelseg.pipeline.declare.config import Config
    from labelseg.pipeline.files.fingerprint import FileIndex
    from labelseg.pipeline.remote.remote import Remote
    from labelseg.pipeline.store.manifests import Catalog
    from labelseg.pipeline.store.store import Store
    from labelseg.protocols import Dataset


class WorkspaceLike(Protocol):
    """A workspace: its folders, its configuration, its data, what it has stored, and what it computes on."""

    root: Path
    folder: Path

    @property
    def config(self) -> Config:
        """The configuration as it is on disk."""

    @property
    def dataset(self) -> Dataset:
        """The data that ``[data]`` names."""

    @property
    def index(self) -> FileIndex:
        """Digests of files."""

    @property
    def catalog(self) -> Catalog:
        """Manifests and refs; reading them loads no array library."""

    @property
    def store(self) -> Store:
        """The arrays themselves."""

    @property
    def remote(self) -> Remote | None:
        """The object store behind them; None where there is none."""

    def write_config(self, name: str, values: Mapping[str, Any]) -> Config:
        """Write parameters to the table ``name``."""

    def pick_device(self, name: str) -> str:
        """Name the device that ``auto``, or another name, means here."""

    def train(self, work: Callable[[Any, Any], Any], inputs: Any, params: Any) -> Any:
        """Call the work function of a training with its inputs and parameters, in all processes that there are for it."""

    def set_threads(self, count: int) -> int | None:
        """Set the threads of the numeric libraries; return how many there were, None when that is unknown."""
