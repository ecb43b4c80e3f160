"""Where parts lie and what they hold, read from their plain JSON without zarr."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from labelseg.errors import ArtifactError
from labelseg.pipeline.files.digests import digest
from labelseg.pipeline.store.manifests import Catalog

FORMAT = 1


class ArraySlice(NamedTuple):
    """Where an array of an item lies in the flat array ``data/<name>.<dtype>``."""

    dtype: str
    shape: tuple[int, ...]
    offset: int


class HeaderItem(NamedTuple):
    """One item of a part; ``arrays`` maps the name of an array to where it lies."""

    id: str
    key: str
    index: int  # type: ignore[assignment]
    digest: str
    arrays: dict[str, ArraySlice]


@dataclass(frozen=True)
class PartHeader:
    """What a part says of itself: its id, its stage, its items, and the header that its writer gave it."""

    part_id: str
    stage: str
    items: tuple[HeaderItem, ...]
    header: dict[str, Any]

    def to_json(self) -> bytes:
        """Write the header as the metadata of a zarr group."""
        items = [{"id": i.id, "key": i.key, "digest": i.digest, "arrays": i.arrays} for i in self.items]
        attributes = {"format": FORMAT, "stage": self.stage, "header": self.header, "items": items}
        group = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
        return json.dumps(group, separators=(",", ":"), allow_nan=False).encode("ascii")

    @classmethod
    def read(cls, path: Path) -> PartHeader:
        """Read the header of the part at ``path``.

        Raises:
            ArtifactError: the part is missing, damaged or of another format.
        """
        try:
            attributes = json.loads((path / "zarr.json").read_bytes())["attributes"]
            if attributes["format"] != FORMAT:
                raise ArtifactError(f"{path} is format {attributes['format']}, expected {FORMAT}. {remedy(path)}")
            items = tuple(
                HeaderItem(item["id"], item["key"], index, item["digest"], {n: ArraySlice(*a) for n, a in item["arrays"].items()})
                for index, item in enumerate(attributes["items"])
            )
            return cls(path.stem, attributes["stage"], items, attributes["header"])
        except FileNotFoundError as error:
            raise ArtifactError(f"{path} is missing. {remedy(path)}") from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ArtifactError(f"{path}: the header is damaged ({type(error).__name__}: {error}). {remedy(path)}") from error


def part_id(stage: str, items: list[tuple[str, str, str]]) -> str:
    """Digest the (id, key, content digest) of a part's items into its id.

    What else the header says, such as the device, stays out: equal items are the same part, and the first one published stands.
    """
    return digest("part", stage, *(text for item in items for text in item))


def part_path(root: Path, stage: str, part: str) -> Path:
    """Where a part lies below the ``.labelseg`` folder."""
    return root / "objects" / stage / part[:2] / f"{part}.zarr"


def part_paths(root: Path, stage: str = "*") -> Iterator[Path]:
    """List the parts of a stage, or of all stages, in a fixed order."""
    yield from sorted((root / "objects").glob(f"{stage}/*/*.zarr"))


def remedy(path: Path) -> str:
    """Say how to get a damaged part back."""
    return Catalog(path.parents[3]).remedy(path.parents[1].name, part=path.stem)
