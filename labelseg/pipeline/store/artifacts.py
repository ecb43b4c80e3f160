"""Finished artifacts, read as arrays."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from labelseg.errors import MissingArtifactError
from labelseg.pipeline.store.manifests import Manifest, ManifestItem
from labelseg.pipeline.store.store import Store
from labelseg.suggestions import suggestion

TENSOR = "tensor"


@dataclass(frozen=True)
class Model:
    """What a training stage returns.

    Attributes:
        tensors: Name -> array.
        meta: JSON values that rebuild the network: architecture, classes.
        metrics: Name -> number, as shown beside the model.
        curves: One dict for each step or epoch recorded.
    """

    tensors: Mapping[str, NDArray]
    meta: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    curves: list[dict[str, Any]] = field(default_factory=list)


class Artifact(Mapping[str, dict[str, NDArray]]):
    """The items of a finished map: image id -> name of an array -> array, read from disk on access.

    Args:
        store: Where the arrays lie.
        manifest: What the artifact is made of.
        name: What it is called in messages; empty is the name of its stage.
    """

    def __init__(self, store: Store, manifest: Manifest, name: str = "") -> None:
        self.manifest = manifest
        self._name = name or manifest.stage
        self._store = store
        self._chosen: dict[str, ManifestItem] | None = None  # None is all

    @property
    def ids(self) -> list[str]:
        """Image ids, in the order of the split; failed ones are not among them."""
        return list(self)

    def __getitem__(self, image_id: str) -> dict[str, NDArray]:
        item = self._find(image_id)
        if item is None:
            raise MissingArtifactError(self._lacking(image_id))
        return self._store.read_item(self.manifest.stage, item)

    def __contains__(self, image_id: object) -> bool:
        return isinstance(image_id, str) and self._find(image_id) is not None

    def get(self, image_id: str, default: Any = None) -> Any:
        """Read an item, or give the default where there is none."""
        item = self._find(image_id)
        return default if item is None else self._store.read_item(self.manifest.stage, item)

    def __iter__(self) -> Iterator[str]:
        return iter(self._chosen) if self._chosen is not None else (item.id for item in self.manifest.items)

    def __len__(self) -> int:
        return len(self.manifest.items if self._chosen is None else self._chosen)

    def only(self, ids: Collection[str]) -> Artifact:
        """Return the artifact with some of its items alone, in its order."""
        found = Artifact(self._store, self.manifest, self._name)
        there = self.manifest.items if self._chosen is None else self._chosen.values()
        found._chosen = {item.id: item for item in there if item.id in ids}
        return found

    def _find(self, image_id: str) -> ManifestItem | None:
        """Look up where an image lies."""
        return self.manifest.find(image_id) if self._chosen is None else self._chosen.get(image_id)

    def _lacking(self, image_id: object) -> str:
        """Say why an image is not there: it failed, or nothing is called so."""
        errors = [failure["error"] for failure in self.manifest.failed if failure["id"] == image_id]
        if errors:
            return f"{self._name} failed on {image_id}: {errors[0]}"
        return f"{self._name} holds no image '{image_id}'.{suggestion(str(image_id), self.ids, listed='It holds')}"


def read_model(store: Store, manifest: Manifest) -> Model:
    """Read all tensors of a finished training."""
    tensors = {item.id: store.read_item(manifest.stage, item)[TENSOR] for item in manifest.items}
    return Model(tensors, manifest.meta["model"], manifest.meta["metrics"], manifest.meta["curves"])
