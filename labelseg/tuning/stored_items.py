"""What an instance stands for in several splits, as one map."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from labelseg.results.standing import Named, find_refs, open_ref

if TYPE_CHECKING:
    from labelseg.pipeline.store.artifacts import Artifact
    from labelseg.workspace import Workspace


class StoredItems(Mapping[str, Mapping[str, Any]]):
    """Image -> item of an instance, read from disk on access.

    Args:
        workspace: The workspace.
        instance: The instance.
        split: Where; None takes every split in which it stands.

    Raises:
        MissingArtifactError: it never ran there.
    """

    def __init__(self, workspace: Workspace, instance: str, split: str | None) -> None:
        opened = [open_ref(workspace, ref) for ref in find_refs(workspace, Named(instance), split)]
        self._holders: dict[str, Artifact] = {image_id: artifact for artifact in reversed(opened) for image_id in artifact}

    def __getitem__(self, image_id: str) -> Mapping[str, Any]:
        return self._holders[image_id][image_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._holders)

    def __len__(self) -> int:
        return len(self._holders)
