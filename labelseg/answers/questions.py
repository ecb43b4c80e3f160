"""Questions to people: which class a pixel has, or a whole region."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

Place = tuple[int, int]  # row, column


@dataclass(frozen=True)
class Question:
    """A pixel, or a region, whose class is asked.

    Attributes:
        id: Its number among the questions; ``7.0`` and ``7.1`` are the parts of region 7.
        image: Id of the image.
        points: The pixel, or all of the region.
        guess: Name of the class that is guessed; None where none is.
    """

    id: str
    image: str
    points: tuple[Place, ...]
    guess: str | None = None

    @cached_property
    def place(self) -> Place:
        """The pixel to look at: of a region the one next to its middle."""
        y, x = (sum(axis) / len(self.points) for axis in zip(*self.points, strict=True))
        return min(self.points, key=lambda point: ((point[0] - y) ** 2 + (point[1] - x) ** 2, point))

    def halves(self) -> tuple[Question, ...]:
        """Cut a region across its longer side into two, as equal as its pixels allow; a single pixel stays what it is."""
        if len(self.points) == 1:
            return (self,)
        heights, widths = zip(*self.points, strict=True)
        axis = 0 if max(heights) - min(heights) >= max(widths) - min(widths) else 1
        along = sorted(self.points, key=lambda point: (point[axis], point[1 - axis]))
        cut = len(along) // 2
        parts = enumerate((along[:cut], along[cut:]))
        return tuple(Question(f"{self.id}.{part}", self.image, tuple(sorted(points)), self.guess) for part, points in parts)


def list_questions(asked: Sequence[tuple[str, Sequence[Place], Sequence[str | None], Sequence[int] | None]]) -> list[Question]:
    """Number what is asked.

    Args:
        asked: For each image its id, the points, what is guessed at each, and the number of the region of each, or None where single
            pixels are asked. What is guessed of a region is what is guessed at most of its points.
    """
    found: list[tuple[str, tuple[Place, ...], str | None]] = []
    for image, points, guesses, regions in asked:
        if regions is None:
            found += [(image, (point,), guess) for point, guess in zip(points, guesses, strict=True)]
            continue
        members: dict[int, list[int]] = {}
        for position, region in enumerate(regions):
            members.setdefault(region, []).append(position)
        for positions in members.values():
            own = [guesses[position] for position in positions]
            found.append((image, tuple(sorted(points[position] for position in positions)), max(own, key=own.count)))
    return [Question(str(number), *question) for number, question in enumerate(found)]
