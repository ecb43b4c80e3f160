"""The built-in scenes as a dataset without files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelseg.data.folder.splits import ALL, find_lists, read_split
from labelseg.data.scenes.world import CLASSES, FIRST_SCENE, STYLES
from labelseg.errors import DataError, UsageError
from labelseg.suggestions import suggestion, unknown_split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from labelseg.data.scenes.drawing import Scene
    from labelseg.protocols import Kind

KEYS = (*FIRST_SCENE, "seed", "style")
# Bumped when the drawing changes, so that what was computed from scenes is computed again.
VERSION = 1


@dataclass(frozen=True)
class SceneDataset:
    """Scenes drawn when they are asked for.

    Attributes:
        counts: Number of scenes by split.
        seed: Number of the world.
        style: ``day`` or ``dusk``.
        split_lists: Folders of lists of scenes, for further splits.
    """

    counts: Mapping[str, int] = field(default_factory=lambda: {"train": 200, "val": 100})
    seed: int = 0
    style: str = "day"
    split_lists: tuple[Path, ...] = ()

    @classmethod
    def from_table(cls, table: Any, split_lists: tuple[Path, ...] = ()) -> SceneDataset:
        """Make one from a table such as ``{train = 200, val = 100, seed = 0, style = "dusk"}``.

        Raises:
            UsageError: an unknown key or a wrong value.
        """
        if not isinstance(table, Mapping):
            raise UsageError(f"[data] scenes: expected a table such as {{train = 200, val = 100}}, got {table!r}.")
        for key, value in table.items():
            if key not in KEYS:
                raise UsageError(f"[data] scenes has no key '{key}'.{suggestion(key, KEYS)}")
            if key != "style" and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
                raise UsageError(f"[data] scenes {key}: expected a whole number of at least 0, got {value!r}.")
        if (style := table.get("style", "day")) not in STYLES:
            raise UsageError(f"[data] scenes style: expected {' or '.join(STYLES)}, got {style!r}.")
        counts = {name: table[name] for name in FIRST_SCENE if table.get(name)}
        return cls(counts or {"train": 200, "val": 100}, table.get("seed", 0), style, split_lists)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names by id."""
        return CLASSES

    @property
    def has_background(self) -> bool:
        """Whether class 0 is the background: it is."""
        return True

    def splits(self) -> list[str]:
        """Names of the splits."""
        return [*self.counts, *sorted(self._lists), ALL]

    def ids(self, split: str) -> list[str]:
        """Sorted ids of a split.

        Raises:
            UsageError: there is no such split.
        """
        if split not in self.splits():
            raise UsageError(unknown_split(split, self.splits()))
        if split in self._lists:
            found = read_split(self._lists[split], self)
            if not found:
                raise DataError(f"split '{split}' holds no image.")
            return found
        names = sorted(self.counts) if split == ALL else [split]
        return [f"{name}_{number:04}" for name in names for number in range(self.counts[name])]

    def matches(self, name: str, exactly: bool = False) -> list[str]:
        """List the ids that a line of a list may mean: itself, if there is such a scene."""
        return [name] if self.has(name, "image") else []

    def resolve(self, name: str, where: str) -> str:
        """Find the id that a line of a list means: itself.

        Raises:
            DataError: there is no such scene.
        """
        if not self.has(name, "image"):
            raise DataError(f"{where}: no scene '{name}'.{suggestion(name, self.ids(ALL), listed='')}")
        return name

    @cached_property
    def _lists(self) -> dict[str, Path]:
        lists = find_lists(self.split_lists)
        for name in self.counts:
            if name in lists:
                raise DataError(f"{lists[name]}: scenes have a split '{name}' of their own. Rename the list.")
        return lists

    def has(self, image_id: str, kind: Kind) -> bool:
        """Whether there is such a scene; each has an image, tags and a mask."""
        name, _, number = image_id.rpartition("_")
        return number.isdecimal() and int(number) < self.counts.get(name, 0) and image_id == f"{name}_{int(number):04}"

    def identity(self, image_id: str, kind: Kind) -> str:
        """What the scene is drawn from."""
        name, number = self._parts(image_id)
        # Only the image depends on the light.
        return f"scene {VERSION}:{self.seed}:{name}:{number}:{self.style if kind == 'image' else kind}"

    def image_files(self, image_ids: Iterable[str]) -> None:
        """Scenes are drawn and have no files."""

    def image(self, image_id: str) -> NDArray[Any]:
        """Draw the image, (H, W, 3) uint8."""
        return self._scene(image_id).image.copy()

    def tags(self, image_id: str) -> tuple[int, ...]:
        """Sorted ids of the classes in the scene."""
        return self._scene(image_id).tags

    def mask(self, image_id: str) -> NDArray[Any]:
        """Draw the mask, (H, W) uint8, 255 on the rims of objects."""
        return self._scene(image_id).mask.copy()

    def scaling(self, image_id: str) -> None:
        """A scene is worked on as it is drawn."""

    def at_file_size(self) -> SceneDataset:
        """Itself."""
        return self

    def _scene(self, image_id: str) -> Scene:
        return _draw(*self._parts(image_id), self.seed, self.style)

    def _parts(self, image_id: str) -> tuple[str, int]:
        if not self.has(image_id, "image"):
            raise DataError(f"no scene '{image_id}'. Scenes: {', '.join(f'{name}_0000' for name in self.counts)} and so on.")
        name, _, number = image_id.rpartition("_")
        return name, int(number)


@lru_cache(maxsize=512)
def _draw(name: str, number: int, seed: int, style: Any) -> Scene:
    """Draw a scene once: training asks for each again and again."""
    from labelseg.data.scenes.drawing import make_scene

    return make_scene(FIRST_SCENE[name] + number, seed, style)
