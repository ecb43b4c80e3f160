"""What the rooms ask of things that come from elsewhere: a dataset, a progress bar. For type checking only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from labelseg.working_size import Scaling

Kind = Literal["image", "tags", "mask"]


class Images(Protocol):
    """Images and what is known of them: all that the work on one item reads."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names by id."""

    @property
    def has_background(self) -> bool:
        """Whether class 0 is the background, which no tag names."""

    def has(self, image_id: str, kind: Kind) -> bool:
        """Whether this is known of the image."""

    def image(self, image_id: str) -> NDArray[Any]:
        """The image, (H, W, 3) uint8 RGB."""

    def tags(self, image_id: str) -> tuple[int, ...] | None:
        """Sorted ids of the classes in the image, background left out; None when unknown."""

    def mask(self, image_id: str) -> NDArray[Any]:
        """The true mask, (H, W) uint8 class ids, 255 = ignore."""

    def scaling(self, image_id: str) -> Scaling | None:
        """The size of the file of an image and the size it is worked on at; None where they are the same."""

    def at_file_size(self) -> Images:
        """The same images and masks at the size of their files."""


class ImageNames(Protocol):
    """Something that knows which image a name means."""

    def matches(self, name: str, exactly: bool = False) -> list[str]:
        """The ids that a name may mean; ``exactly`` takes it as it is written."""

    def resolve(self, name: str, where: str) -> str:
        """The one id that a name in a list means; an error begins with ``where``."""


class Dataset(Images, ImageNames, Protocol):
    """A dataset: images with splits, names and digests. One is cheap to make and can be pickled."""

    def splits(self) -> list[str]:
        """Names of the splits; the last is ``all``."""

    def ids(self, split: str) -> list[str]:
        """Sorted ids of a split."""

    def identity(self, image_id: str, kind: Kind) -> Path | str | tuple[Path, str]:
        """What identifies the content: a file, by its bytes, or a string, as it is, or both."""

    def image_files(self, image_ids: Iterable[str]) -> Iterator[str] | None:
        """Paths of the files of many images, in the same order; None where not their bytes alone identify images."""

    def at_file_size(self) -> Dataset:
        """The same data, images and masks at the size of their files."""


class Bar(Protocol):
    """A progress display."""

    def update(self, n: int, /) -> Any:
        """Count ``n`` more units as done."""
