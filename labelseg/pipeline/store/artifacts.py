"""Finished artifacts, read as arrays."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from labelseg.errors import MissingArtifactError
from labelseg.pipeline.store.manifests import Manifest
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
        self._items = {item.id: item for item in manifest.items}

    @property
    def ids(self) -> list[str]:
        """Image ids, in the order of the split; failed ones are not among them."""
        return list(self._items)

    def __getitem__(self, image_id: str) -> dict[str, NDArray]:
        if image_id not in self._items:
            raise MissingArtifactError(self._lacking(image_id))
        return self._store.read_item(self.manifest.stage, self._items[image_id])

    def __contains__(self, image_id: object) -> bool:
        return image_id in self._items

    def get(self, image_id: str, default: Any = None) -> Any:
        """Read an item, or give the default where there is none."""
        return self[image_id] if image_id in self._items else default

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def only(self, ids: Collection[str]) -> Artifact:
        """Return the artifact with some of its items alone, in its order."""
        found = Artifact(self._store, self.manifest, self._name)
        found._items = {image_id: item for image_id, item in self._items.items() if image_id in ids}
        return found

    def _lacking(self, image_id: object) -> str:
        """Say why an image is not there: it failed, or nothing is called so."""
        errors = [failure["error"] for failure in self.manifest.failed if failure["id"] == image_id]
        if errors:
            return f"{self._name} failed on {image_id}: {errors[0]}"
        return f"{self._name} holds no image '{image_id}'.{suggestion(str(image_id), self._items, listed='It holds')}"


def read_model(store: Store, manifest: Manifest) -> Model:
    """Read all tensors of a finished training."""
    tensors = {item.id: store.read_item(manifest.stage, item)[TENSOR] for item in manifest.items}
    return Model(tensors, manifest.meta["model"], manifest.meta["metrics"], manifest.meta["curves"])
