"""Answers to the questions of a round, put to those of the rounds before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelseg.class_ids import IGNORE
from labelseg.errors import DataError
from labelseg.ops.active.points import no_labels, with_answers
from labelseg.pipeline.engines.inputs import Item
from labelseg.suggestions import suggestion

NOT_ANSWERED = -1


def class_ids(item: Item, points: NDArray, classes: Sequence[str], where: str) -> NDArray[np.int64]:
    """Find what people said of the pixels that were asked; what they said of others counts for nothing.

    Args:
        item: Holds the answers to its pixels.
        points: (n, 2) rows and columns that were asked.
        classes: Names by id.
        where: Instance, to begin the error with.

    Returns:
        (n,) class ids, 255 where the person could not tell, -1 where nobody has answered.

    Raises:
        DataError: an answer names no class of the data.
    """
    said = {(row, column): name for row, column, name in item.answers}
    found = []
    for row, column in points.tolist():
        name = said.get((row, column), "")
        if name and name not in classes:
            raise DataError(
                f"{where}: the answer at row {row}, column {column} of '{item.id}' is '{name}', which is no class of the data."
                f"{suggestion(name, classes)} Answer it again: labelseg annotate"
            )
        found.append(IGNORE if name is None else classes.index(name) if name else NOT_ANSWERED)
    return np.array(found, np.int64)


def collect(
    questions: Mapping[str, NDArray[Any]], before: Mapping[str, NDArray[Any]] | None, said: NDArray[np.int64], round_: int
) -> dict[str, NDArray[Any]]:
    """Put the answers of a round to those before.

    Args:
        questions: ``points`` (n, 2) and ``image_size`` (2,) of an image.
        before: What was collected in the round before; None in the first.
        said: (n,) class ids, 255 where nobody could tell, -1 where nobody has answered.
        round_: Number of the round.

    Returns:
        ``points``, ``point_labels``, ``rounds`` of all rounds, and the sparse ``mask``; what nobody has answered is left out.
    """
    size = int(questions["image_size"][0]), int(questions["image_size"][1])
    none = np.zeros(0, np.uint8)
    earlier = before or {"points": np.zeros((0, 2), np.int32), "point_labels": none, "rounds": none, "mask": no_labels(size)}
    answered = said != NOT_ANSWERED
    points, labels = questions["points"][answered].astype(np.int32), said[answered].astype(np.uint8)
    return {
        "points": np.concatenate([earlier["points"], points]),
        "point_labels": np.concatenate([earlier["point_labels"], labels]),
        "rounds": np.concatenate([earlier["rounds"], np.full(len(points), round_, np.uint8)]),
        "mask": with_answers(earlier["mask"], points, labels),
    }
