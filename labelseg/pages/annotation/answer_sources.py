"""Answers that come from elsewhere than the page: from true masks, with errors if need be, and from tables of other programs."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labelseg.answers.answer_files import Answer, Point
from labelseg.answers.questions import Question
from labelseg.class_ids import IGNORE
from labelseg.data.domains.joint_dataset import MARK
from labelseg.errors import DataError
from labelseg.exchange.readers.label_studio import image_name, person
from labelseg.file_kinds import demand_file, read_file
from labelseg.ops.active.strategies import seeded
from labelseg.suggestions import suggestion

if TYPE_CHECKING:
    from labelseg.protocols import Dataset

TRUTH = "truth"
CANNOT_TELL = ("", "?")
NEAR = 3  # pixels between a keypoint of another program and the pixel that was asked


def true_answers(dataset: Dataset, questions: Sequence[Question], noise: float = 0.0, seed: int = 0) -> list[Answer]:
    """Answer questions by the true masks.

    Args:
        dataset: Where the masks are.
        questions: What is asked.
        noise: Share of the answers that name another class, by chance.
        seed: Of chance; an answer depends on it and on its image alone.

    Returns:
        An answer for each point; where the truth is 255, or outside of its mask, it is that one cannot tell.

    Raises:
        DataError: an image has no mask.
    """
    found = []
    by_image: dict[str, list[Question]] = {}
    for question in questions:
        by_image.setdefault(question.image, []).append(question)
    for image, own in by_image.items():
        if not dataset.has(image, "mask"):
            raise DataError(f"{image}: it has no true mask that could answer. Add one to the data, or answer: labelseg annotate")
        mask, rng = dataset.mask(image), seeded(seed, image, 0)
        for question in own:
            for y, x in question.points:
                truth = int(mask[y, x]) if y < mask.shape[0] and x < mask.shape[1] else IGNORE
                slip, other = rng.random(), int(rng.integers(max(len(dataset.classes) - 1, 1)))
                if truth != IGNORE and slip < noise and len(dataset.classes) > 1:
                    truth = other + (other >= truth)
                label = None if truth == IGNORE else dataset.classes[truth]
                found.append(Answer(image=image, y=y, x=x, label=label, who=TRUTH, guess=question.guess))
    return found


def table_answers(path: Path, dataset: Dataset, questions: Sequence[Question], who: str) -> list[Answer]:
    """Read answers from a table with the columns image, y, x and class, or from an export of Label Studio with keypoints.

    Args:
        path: ``*.csv`` or ``*.json``.
        dataset: Knows images and classes by name.
        questions: What is asked: an answer to anything else is refused.
        who: Name of the person where the table names none.

    Raises:
        DataError: the file is something else, or a row names an unknown image, pixel or class. Nothing of it is to be used then.
    """
    asked = {(question.image, *point): question for question in questions for point in question.points}
    read: Callable[..., Iterator[tuple[str, Answer]]] = _studio_rows if path.suffix.lower() == ".json" else _table_rows
    own_set = _set_of(dataset, {question.image for question in questions})

    def image_of(name: str, where: str) -> str:
        return dataset.resolve(name if name.startswith(own_set) else own_set + name, where)

    found = []
    for where, answer in read(path, image_of, asked):
        if answer.point not in asked:
            raise DataError(f"{where}: nobody asked about row {answer.y}, column {answer.x} of {answer.image}. Remove it.")
        if answer.label is not None and answer.label not in dataset.classes:
            raise DataError(f"{where}: '{answer.label}' is no class of the data.{suggestion(answer.label, dataset.classes)}")
        guess = asked[answer.point].guess
        found.append(Answer(**{**vars(answer), "who": answer.who or who, "guess": guess}))
    if not found:
        raise DataError(f"{path}: expected answers, found none.")
    return found


def _set_of(dataset: Dataset, images: Collection[str]) -> str:
    """What the ids of a further data set begin with where all images are of it: there a name means one of them, and none of the first."""
    begins = {image.partition(MARK)[0] + MARK for image in images}
    return next((begin for begin in begins if len(begins) == 1 and f"{begin}all" in dataset.splits()), "")


def _table_rows(path: Path, image_of: Callable[[str, str], str], asked: dict[Point, Question]) -> Iterator[tuple[str, Answer]]:
    """Read the rows of a table, each with where it stands."""
    demand_file(path)
    with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        rows = csv.DictReader(file)
        try:
            missing, table = {"image", "y", "x", "class"} - set(rows.fieldnames or ()), [(rows.line_num, row) for row in rows]
        except csv.Error as error:
            raise DataError(f"{path} line {rows.line_num + 1}: expected a CSV table: {error}.") from error
        if missing:
            raise DataError(f"{path}: expected the columns image, y, x and class; missing: {', '.join(sorted(missing))}.")
        for number, row in table:
            where = f"{path} line {number}"
            y, x = (_count(row[name], f"{where}: {name}") for name in ("y", "x"))
            ms = _count(row["ms"], f"{where}: ms") if row.get("ms") else None
            label = None if (row["class"] or "").strip() in CANNOT_TELL else row["class"].strip()
            image = image_of(row["image"] or "", where)
            yield where, Answer(image=image, y=y, x=x, label=label, who=row.get("who") or "", ms=ms)


def _count(text: str | None, where: str) -> int:
    """Read a whole number."""
    if text is None or not text.strip().isascii() or not text.strip().isdigit() or len(text) > 12:
        raise DataError(f"{where}: expected a whole number of at least 0, got {text if text is None else text[:40]!r}.")
    return int(text)


def _studio_rows(path: Path, image_of: Callable[[str, str], str], asked: dict[Point, Question]) -> Iterator[tuple[str, Answer]]:
    """Read the keypoints of an export of Label Studio; each answers the nearest pixel that was asked, at most 3 pixels away.

    Annotations that were cancelled count as none. Images have the names that masks of such an export have.
    """
    try:
        tasks = json.loads(read_file(path))
        for number, task in enumerate(tasks):
            where = f"{path} task {number}"
            image, given = _studio_image(task["data"], image_of, where), task["annotations"]
            for annotation in (annotation for annotation in given if not annotation.get("was_cancelled")):
                for result in annotation["result"]:
                    if result["type"] == "keypointlabels":
                        yield where, replace(_keypoint(result, image, asked, where), who=person(annotation.get("completed_by")))
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: expected an export of Label Studio as JSON, with keypoint labels, got something else.") from error


def _studio_image(data: dict[str, Any], image_of: Callable[[str, str], str], where: str) -> str:
    """Find the image of a task, whose address may begin with folders of a server."""
    name = image_name(data)
    try:
        return image_of(name, where)
    except DataError:
        return image_of(Path(name).name, where)


def _keypoint(result: dict[str, Any], image: str, asked: dict[Point, Question], where: str) -> Answer:
    """Read a keypoint, whose place is told in percent of the sides."""
    value = result["value"]
    spot = np.array([value["y"] / 100 * result["original_height"], value["x"] / 100 * result["original_width"]]) - 0.5
    own = [point[1:] for point in asked if point[0] == image]
    near = [(float(np.hypot(*(spot - place))), place) for place in own]
    distance, place = min(near, default=(np.inf, (0, 0)))
    if not distance <= NEAR:
        raise DataError(
            f"{where}: no pixel of {image} within {NEAR} of row {spot[0]:.0f}, column {spot[1]:.0f} was asked. Remove the point."
        )
    return Answer(image=image, y=place[0], x=place[1], label=str(value["keypointlabels"][0]))
