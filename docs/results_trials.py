"""The part of the results page about what was tried for better masks, also where it failed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from results_tables import (
    Result,
    average,
    bar_table,
    difference,
    group_part,
    heads,
    mean,
    mean_head,
    miou,
    miou_table,
    missing,
    names,
    number,
    numbers,
    plain,
    seeds,
    share,
    source,
    stage_parts,
    table,
)

MAPS, AGAIN, FEWER = "trials_maps", "trials_again", "voc_animals_competing_485"
BASE = ("the classifier", "mean")  # what the chain has
LEAST = {"ReCAM": 1.5, "ReCAM, both": 1.5, "LPCAM": 1.5, "two views": 1.0}  # points of refined masks on the tuning images, fixed beforehand
SEGMENTER_LEAST = 1.5
CHAINS_COMMAND = "python -m benchmarks.trials.chains --finished WORKSPACE"
FEWER_COMMAND = "python -m benchmarks.voc_animals --data DIR --weights FILE --chain competing --scored-only --seed 1"
SEGMENTER, CEILING = "segmenter on val", "segmenter on true masks on val"


def trial_parts(folder: Path) -> list[str]:
    """Write the part.

    Args:
        folder: Where the JSON files lie.
    """
    chains = folder / "trials_chains.json"
    maps, again, fewer = seeds(folder, MAPS), seeds(folder, AGAIN), seeds(folder, FEWER)
    return [
        "### Trials: the chain on 485 images",
        *(fewer_parts(fewer) if fewer else [missing(FEWER_COMMAND)]),
        "### Trials: seconds of both chains",
        *(chain_parts(json.loads(chains.read_text())) if chains.exists() else [missing(CHAINS_COMMAND)]),
        "### Trials: maps",
        *(map_parts(maps) if maps else [missing("python -m benchmarks.trials.maps --finished WORKSPACE")]),
        "### Trials: a round of self-training",
        *(again_parts(again) if again else [missing("python -m benchmarks.trials.again --finished WORKSPACE")]),
    ]


def fewer_parts(found: Sequence[Result]) -> list[str]:
    """Write what the chain gives that trials go on from."""
    return [
        "The chain above, learned from the 485 images whose masks are scored and no others, the classifier for twice as many epochs: "
        "less to compute where what matters is the difference to a trial. *segmenter on true masks* is scored alike: classes weighed, CRF.",
        bar_table([("segmenter, % of the one trained on true masks", share(miou(SEGMENTER), miou(CEILING)), 95.0)], found),
        miou_table(found),
        *stage_parts(found),
        source(found),
    ]


def chain_parts(found: Result) -> list[str]:
    """Write what the chain takes beside the one before it."""
    steps = [name for name, row in found.items() if isinstance(row, dict)]
    rows = [[step, *(plain(found[step].get(key, found[step].get("both"))) for key in ("before", "competing"))] for step in steps]
    return [
        "Both chains on 1,126 images: maps of the 50 tuning images by one process of one thread, trainings by their updates (420 of the "
        "classifier, 700 of AffinityNet, 700 and 280 in its second round, 1,680 of the segmenter) at the seconds of one, beside other "
        "work. `refine` and the masks of the segmenter are alike in both and left out.",
        table(["step", "two rounds", "competing background"], rows),
        source([found]),
    ]


def value(result: Result, way: str, kind: str, split: str, step: str) -> float | None:
    """Read the mIoU of a way in percent."""
    row = result.get("maps", {}).get(f"{way} on {split}", {}).get(kind)
    return None if row is None else 100 * row[step]


def map_parts(found: Sequence[Result]) -> list[str]:
    """Write what each way to better maps gave."""
    ways = [name.removesuffix(" on tune") for name in names(found, "maps") if name.endswith(" on tune")]
    pairs = [(way, kind) for way in ways for kind in kinds_of(found, way)]
    columns = [("tune", "CAM"), ("tune", "refined"), ("train_fine", "CAM"), ("train_fine", "refined")]
    rows = []
    for way, kind in pairs:
        cells = [number(average([v for r in found if (v := value(r, way, kind, split, step)) is not None])) for split, step in columns]
        gains = [gain(result, way, kind) for result in found]
        known = [g for g in gains if g is not None]
        least = LEAST.get(way)
        pays = "-" if least is None or not known else "yes" if min(known) >= least else "no"
        rows.append([f"{way}, {kind}", *cells, *numbers(gains), *mean(gains), number(least), pays])
    header = ["maps", *(f"{step}, {split}" for split, step in columns), *(f"gain, {head}" for head in heads(found))]
    header += [*(f"gain, {head}" for head in mean_head(found)), "asked", "pays"]
    return [
        "Maps alone, and in the mean with prototype maps of the image as `cam --kind mean` makes them; threshold of maps and background "
        "exponent of the CRF are those with the best mIoU on the 50 tuning masks, for each way alike. The columns of mIoU are means over "
        "the seeds; *gain*: points of refined masks on the tuning images above what the chain has (*the classifier, mean*). A way pays "
        "where every seed gains what was asked for beforehand. *as before* is the control: as many more updates of the classifier.",
        table(header, rows),
        *group_part(found, "seconds", "Seconds, on one core.", 1.0),
        source(found),
    ]


def kinds_of(found: Sequence[Result], way: str) -> list[str]:
    """The kinds of maps that a way was scored with."""
    return list(dict.fromkeys(kind for result in found for kind in result.get("maps", {}).get(f"{way} on tune", {})))


def gain(result: Result, way: str, kind: str) -> float | None:
    """Points of refined masks on the tuning images above the maps of the chain."""
    one, base = value(result, way, kind, "tune", "refined"), value(result, *BASE, "tune", "refined")
    return None if one is None or base is None else one - base


def again_parts(found: Sequence[Result]) -> list[str]:
    """Write what a segmenter gains by learning its own masks."""
    control, own = "as before on val", ("own masks on val", "own masks, where the walk agrees on val")
    bars = [
        (
            f"{name.removesuffix(' on val')}, points on val above as many updates on the walk's masks",
            difference(miou(name), miou(control)),
            SEGMENTER_LEAST,
        )
        for name in own
    ]
    return [
        "All go on from the segmenter of the chain for four epochs at half its rate; *training images*: `segment --tags given` over the "
        "images that were learned from.",
        bar_table(bars, found),
        miou_table(found),
        source(found),
    ]
