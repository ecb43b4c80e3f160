"""What the project asks of a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from numpy.typing import NDArray


Kind = Literal["image", "tags", "mask"]


class Dataset(Protocol):
    """What the pipeline asks of a dataset; one is cheap to make and can be pickled."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names by id."""

    @property
    def has_background(self) -> bool:
        """Whether class 0 is the background, which no tag names."""

    def splits(self) -> list[str]:
        """Names of the splits; the last is ``all``."""

    def ids(self, split: str) -> list[str]:
        """Sorted ids of a split."""

    def matches(self, name: str) -> list[str]:
        """The ids that a name in a list may mean."""

    def resolve(self, name: str, where: str) -> str:
        """The one id that a name in a list means; an error begins with ``where``."""

    def has(self, image_id: str, kind: Kind) -> bool:
        """Whether the dataset knows this of the image."""

    def identity(self, image_id: str, kind: Kind) -> Path | str:
        """What stands for the content: a file, whose bytes count, or a string, which counts as it is."""

    def image(self, image_id: str) -> NDArray[Any]:
        """The image, (H, W, 3) uint8 RGB."""

    def tags(self, image_id: str) -> tuple[int, ...] | None:
        """Sorted ids of the classes in the image, background left out; None when unknown."""

    def mask(self, image_id: str) -> NDArray[Any]:
        """The true mask, (H, W) uint8 class ids, 255 = ignore."""
