"""The part of the results page about clicks on weak masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from results_tables import (
    Result,
    group_part,
    heads,
    miou_table,
    missing,
    names,
    number,
    numbers,
    plain,
    seeds,
    source,
    table,
)

NAME = "clicks-voc_animals"
COMMAND = "python -m benchmarks.active.clicks --finished runs/voc_animals_competing-seed0"


def click_parts(folder: Path) -> list[str]:
    """Write the part.

    Args:
        folder: Where the JSON files lie.
    """
    found = seeds(folder, NAME)
    if not found:
        return [missing(COMMAND)]
    updates = ", ".join(dict.fromkeys(plain(result["updates"]) for result in found))
    return [
        "Ten pixels in each of 200 images, every second one of `train_fine`, answered by true masks. The masks are those of `propagate` "
        "with a competing background, asked about where those of `refine` differ, and corrected as far as answers spread best on the "
        f"tuning masks. Every segmenter trains for {updates} updates: on 1,000 images whose masks are the same but for the 200, or on the "
        "200 alone. It is scored at one scale, without CRF and without a classifier. *points alone, PixelPick*: half of the points by "
        "chance, half by chance among the 5 % of smallest margin of a segmenter that learned from those.",
        miou_table(found),
        *answer_parts(found),
        *spread_parts(found),
        *group_part(found, "seconds", "#### Seconds", 1),
        source(found),
    ]


def answer_parts(found: Sequence[Result]) -> list[str]:
    """Write what was asked, what got a class, and how many guesses were right."""
    rows = []
    for name in names(found, "answers"):
        for result in found:
            if one := result["answers"].get(name):
                right = number(100 * one["right"] / one["guessed"]) if one["guessed"] else "-"
                rows.append([name, str(result["seed"]), plain(one["asked"]), plain(one["labelled"]), right])
    return [table(["questions of", "seed", "asked", "with a class", "% of guesses that were right"], rows)] if rows else []


def spread_parts(found: Sequence[Result]) -> list[str]:
    """Write the mIoU on the tuning masks by reach and colour."""
    group = "tuning masks by reach, colour"
    listed = names(found, group)
    if not listed:
        return []
    rows = [[name, *numbers([None if (v := r.get(group, {}).get(name)) is None else 100 * v for r in found])] for name in listed]
    chosen = "; ".join(", ".join(plain(part) for part in result["spread"]["reach, colour"]) for result in found if "spread" in result)
    return [f"mIoU on the tuning masks, by `--reach` and `--colour`; taken were {chosen}.", table(["", *heads(found)], rows)]
