"""Write docs/results.md from the files in benchmarks/results.

Run: ``python docs/results_page.py``. A result comes from a file or does not appear: where a file is missing, the page says which
command makes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from results_affinity import affinity_parts
from results_clicks import click_parts
from results_few_masks import few_parts
from results_large import large_parts
from results_pages import page_parts
from results_quality import quality_parts
from results_scale import scale_parts
from results_store import store_parts
from results_tables import (
    Result,
    Value,
    average,
    bar_table,
    difference,
    first,
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
    results,
    seeds,
    share,
    source,
    stage_parts,
    table,
    threshold,
    title,
)
from results_trials import CEILING, SEGMENTER, trial_parts

DOCS = Path(__file__).parent
RESULTS = DOCS.parent / "benchmarks" / "results"

MOST_FAULTS = 40  # open ones that the page lists
PHOTOS = "voc_animals"
COMPETING = "voc_animals_competing"
SCENES = "scenes"
STEPS = "wilson"
PROPAGATED, CRF = "propagated on train_fine", "propagated + dCRF on train_fine"
COLOUR = "control: colour affinity on train_fine"

# Of a trial with other code before the stages were built, one seed; for orientation, never compared with.
TRIAL = {
    "CAM on train_fine": 49.5,
    "refined on train_fine": 56.9,
    PROPAGATED: 61.7,
    COLOUR: 56.3,
    "control: constant affinity on train_fine": 46.6,
    CRF: 64.2,
    SEGMENTER: 55.4,
    CEILING: 67.5,
}


BARS: tuple[tuple[str, Value, float], ...] = (
    ("propagated + dCRF on train_fine, mIoU", miou(CRF), 65.0),
    ("segmenter on val, mIoU", miou(SEGMENTER), 60.0),
    ("segmenter, % of the one trained on true masks", share(miou(SEGMENTER), miou(CEILING)), 85.0),
    ("walk over learned affinity, points above colour affinity", difference(miou(PROPAGATED), miou(COLOUR)), 4.0),
)

SCENE_BARS: tuple[tuple[str, Value, float], ...] = (
    ("refined, points above CAM", difference(miou("refined on val"), miou("CAM on val")), 0.0),
    ("propagated, points above refined", difference(miou("propagated on val"), miou("refined on val")), 5.0),
    ("segmenter, points above propagated", difference(miou("segmenter on val"), miou("propagated on val")), -3.0),
)


def page(folder: Path = RESULTS) -> str:
    """Write the whole page.

    Args:
        folder: Where the JSON files lie.
    """
    photos, scenes = seeds(folder, PHOTOS), seeds(folder, SCENES)
    rows = {path.stem: result for path, result in results(folder) if isinstance(result.get("rows"), list)}
    parts = [
        "# Results",
        "Written by `python docs/results_page.py` from the files in `benchmarks/results/`. mIoU and IoU are percent, "
        "over the classes present in the truth, background included, pixels of 255 left out. `DIR` in the commands is a folder with "
        "`images/`, `masks/` of class ids, `image_labels.csv`, `classes.txt` and lists of images; `FILE` holds ImageNet weights of "
        "MobileNetV2. The photos are cut from Pascal VOC 2012, the street scenes are CamVid. Published scores have not been reproduced; "
        "single steps are compared with inputs and outputs recorded from the published code.",
        "## Photos: VOC animals",
        "Six animal classes and background, long side 320, tags for 1,126 training images. Settings are "
        "[benchmarks/settings/voc_animals.toml](../benchmarks/settings/voc_animals.toml), found on "
        "[50 tuning masks](../benchmarks/settings/voc_animals_tune.txt) and frozen before `train_fine` and `val` were scored. "
        "The tuning masks are training images outside of `train_fine`. One setting is younger than that: a first segmenter (8 epochs from "
        "ImageNet weights, no CRF) had 58.5 on `val`; the present one (12 epochs from the classifier's backbone, CRF) was then chosen "
        "without another look at `val`, the CRF on the tuning masks.",
        *photo_parts(photos),
        "### Prototypes, a guarded second round, a competing background",
        *competing_parts(seeds(folder, COMPETING)),
        "### Kinds of affinity",
        *affinity_parts(folder),
        *trial_parts(folder),
        "### Clicks on weak masks",
        *click_parts(folder),
        "## Few images",
        *small_parts(folder),
        "## Built-in scenes",
        *scene_parts(scenes),
        "## Few masks, many images",
        *few_parts(folder),
        "## New classes from tags",
        *step_parts(seeds(folder, STEPS)),
        "## Quality without truth",
        *quality_parts(folder),
        "## Report and view",
        *page_parts(folder),
        "## Faults",
        *fault_parts(folder / "faults.json"),
        *further_campaigns(sorted(folder.glob("faults_seed*.json"))),
        "## Formats of other tools",
        *interop_parts(folder / "interop.json"),
        "## Large photos",
        *large_parts(folder / "large_photos.json"),
        "## An object store",
        *store_parts(folder / "object_store.json"),
        "## Many images",
        *scale_parts(folder / "scale_outlook.json"),
        "## Speed and size",
        *speed_parts(rows),
    ]
    return "\n\n".join(parts) + "\n"


def competing_parts(found: Sequence[Result]) -> list[str]:
    """Write the part about the chain whose walk lets the background compete."""
    if not found:
        return [missing("python -m benchmarks.voc_animals --data DIR --weights FILE --chain competing --seed 0")]
    return [
        "The same classifier, then `cam --kind mean`, a second AffinityNet that goes on from the first, "
        "with flooded classes left out of its labels, and `propagate --start background` ([affinitynet.md](affinitynet.md)). Settings: "
        "[benchmarks/settings/voc_animals_competing.toml](../benchmarks/settings/voc_animals_competing.toml). "
        "They were chosen on the tuning masks; half of `train_fine` was looked at beside these, so its figures flatter a little. "
        "`labelseg init` sets this chain up for photos; the last rows are `labelseg segment --as own --split train`, "
        "which a run names at its end.",
        miou_table(found),
        source(found),
    ]


def photo_parts(found: Sequence[Result]) -> list[str]:
    """Write the part about photos."""
    if not found:
        return [missing("python -m benchmarks.voc_animals --data DIR --weights FILE --seed 0")]
    parts = [
        "### Bars",
        bar_table(BARS, found),
        "### mIoU",
        "*trial*: other code, one seed, before the stages were built; on 435 images for CAM and refined, on 362 of them for the walks "
        "(the two controls: on 73). For orientation only.",
        table(
            ["step", "images", *heads(found), *mean_head(found), "threshold", "trial"],
            [
                [
                    name,
                    first(found, name, "images"),
                    *numbers([miou(name)(r) for r in found]),
                    *mean([miou(name)(r) for r in found]),
                    threshold(found, name),
                    number(TRIAL.get(name)),
                ]
                for name in names(found, "miou")
            ],
        ),
        *class_parts(found),
        *group_part(found, "classifier", "### Classifier", 100),
        *stage_parts(found),
        *group_part(found, "bytes an image", "### Bytes an image on disk", 1),
        *group_part(found, "chain", "### Whole chain", 1),
        source(found),
    ]
    return [part for part in parts if part]


def small_parts(folder: Path) -> list[str]:
    """Write the part about chains from tags on few images: one line a size and seed."""
    found = [(path, result) for path, result in results(folder) if path.stem.startswith("small_data-")]
    if not found:
        return [missing("python -m benchmarks.small_data --data DIR --weights FILE --seed 0")]
    steps = ("cam", "refine", "propagate", "segment")
    rows = []
    for path, result in found:
        chain = path.stem.removeprefix("small_data-").rpartition("-seed")[0]
        for size, scores in result.items():
            if size.endswith(" images"):
                values = [100 * scores[step]["miou"] if step in scores else None for step in steps]
                least = min(100 * score["baseline"] for score in scores.values())
                rows.append([chain, size, str(result["seed"]), number(least), *(number(value) for value in values)])
    return [
        "The chain as `labelseg init` sets it up, with fewest updates where images are few. Maps and masks are scored on the very images "
        "whose tags were learned from, the segmenter on `val`; `background` is what calling everything background scores, the lower of "
        "the two. The threshold of CAM is the best one.",
        table(["data, recipe", "images", "seed", "background", *steps], rows),
        *(source([result]) for _, result in found),
    ]


def scene_parts(found: Sequence[Result]) -> list[str]:
    """Write the part about scenes."""
    if not found:
        return [missing("python -m benchmarks.scenes --seed 0")]
    rows = [
        [name, first(found, name, "images"), *numbers([miou(name)(r) for r in found]), *mean([miou(name)(r) for r in found])]
        for name in names(found, "miou")
    ]
    return [
        "Every step is scored on scenes that no training saw.",
        bar_table(SCENE_BARS, found),
        table(["step", "images", *heads(found), *mean_head(found)], rows),
        *stage_parts(found),
        *group_part(found, "chain", "### Whole demonstration", 1),
        source(found),
    ]


def step_parts(found: Sequence[Result]) -> list[str]:
    """Write the part about class-incremental steps."""
    if not found:
        return [missing("python -m benchmarks.wilson --data DIR --weights FILE --seed 0")]

    def value(name: str, key: str, factor: float) -> str:
        cells = [r.get("wilson", {}).get(name, {}).get(key) for r in found]
        return number(average([factor * cell for cell in cells if cell is not None]))

    columns = (("old", 100), ("new", 100), ("all", 100), ("seconds after step 0", 1))
    over = f" Mean over {len(found)} seeds." if len(found) > 1 else ""
    return [
        "Photos of VOC animals: cat, dog and person from masks, then cow, horse and sheep from tags. mIoU on whole images of `val` at one "
        "scale; *old* and *new* without background, *all* with it and over the classes known at that step. "
        f"Settings: [benchmarks/settings/wilson.toml](../benchmarks/settings/wilson.toml).{over}",
        table(["row", *(key for key, _ in columns)], [[n, *(value(n, key, by) for key, by in columns)] for n in names(found, "wilson")]),
        *class_iou_part(found),
        *group_part(found, "bars", "### Bars of WILSON, overlap", 1),
        *stage_parts(found),
        source(found),
    ]


def class_iou_part(found: Sequence[Result]) -> list[str]:
    """Write the IoU of every class after each step, in percent, of the first seed."""
    rows = {name: row["iou"] for name, row in found[0].get("wilson", {}).items()}
    classes = list(dict.fromkeys(name for row in rows.values() for name in row))
    cells = [[name, *numbers([None if name not in row else 100 * row[name] for name in classes])] for name, row in rows.items()]
    return ["### IoU of each class", table(["row", *classes], cells)] if rows else []


def speed_parts(found: Mapping[str, Result]) -> list[str]:
    """Write a table for every file of timings, with the columns it has."""
    if not found:
        return [missing("python -m benchmarks.run")]
    parts = []
    for name, result in found.items():
        columns = list(dict.fromkeys(key for row in result["rows"] for key in row))
        cells = [[plain(row.get(column)) for column in columns] for row in result["rows"]]
        parts += [f"### {name.replace('_', ' ').capitalize()}", table([title(column) for column in columns], cells), source([result])]
    return parts


def fault_parts(path: Path) -> list[str]:
    """Write the part about the campaign of faults."""
    if not path.exists():
        return [missing("python -m benchmarks.faults")]
    found = json.loads(path.read_text())
    columns = list(dict.fromkeys(key for row in found["kinds"] for key in row))
    bad = [[trial["kind"], trial["outcome"], trial["what"], trial["told"]] for trial in found["found"]]
    shown = [["".join(c if c.isprintable() else " " for c in cell)[:160] for cell in row] for row in bad[:MOST_FAULTS]]
    return [
        "Processes are killed at any file operation, in the middle of a write and at any moment, run side by side, and meet full disks, "
        "damaged files and folders that someone prepared. Afterwards every reader is asked, the commands are run again, and what messages "
        "advise is followed. *recovered*: all is bit-equal to what there is without the fault; *noticed*: a message told of it, and its "
        "advice mends it; *harmless*: nothing that is read has changed; *silent*: wrong data or a wrong statement without a word; *lost*: "
        "something finished is gone; *outside*: something beyond the workspace was changed or read; *rough*: an error that is none of "
        "labelseg's, a hang, an alarm about what is sound, or advice that does not mend. Kills are those of processes, not of machines.",
        table(columns, [[plain(row.get(column)) for column in columns] for row in found["kinds"]]),
        *(["### Faults that stand open", table(["kind", "outcome", "what was done", "what was seen"], shown)] if shown else []),
        source([found]),
    ]


def further_campaigns(paths: list[Path]) -> list[str]:
    """Write a line for each kind of the campaigns with other seeds, which ran as far as their time went."""
    parts = []
    for path in paths:
        found = json.loads(path.read_text())
        columns = list(dict.fromkeys(key for row in found["kinds"] for key in row))
        told = [
            f"{trial['kind']} {trial['number']}: {trial['outcome']} ({trial['told']}), {trial['repeated']}." for trial in found["found"]
        ]
        parts += [
            f"### The campaign with seed {found['seed']}",
            table(columns, [[plain(row.get(c)) for c in columns] for row in found["kinds"]]),
        ]
        parts += [*told, source([found])]
    return parts


def interop_parts(path: Path) -> list[str]:
    """Write the part about exports that other programs read."""
    if not path.exists():
        return [missing("make interop")]
    found = json.loads(path.read_text())
    rows = [
        [
            f"`{row['format']}`",
            f"{row['reader']} {row.get('version', '')}".rstrip(),
            row["call"],
            row.get("problem") or f"{row['identical']} of {row['masks']}",
            "yes" if row["keeps_255"] else "as background",
        ]
        for row in found["read"]
    ]
    back = [
        [f"`{row['format']}`", "not written" if row["identical"] is None else f"{row['identical']} of {row['masks']}"]
        for row in found["back"]
    ]
    names = ", ".join(f"`{name}`" for name in found["names"])
    return [
        f"`labelseg export` writes {len(found['names'])} masks, and the program that owns the format reads them, in an environment "
        "of its own. Each mask has a hole, a class within another one, two blobs of one class, two that touch by a corner, a single pixel, "
        f"and pixels of 255. The images are called {names}; the last is turned by EXIF. *identical*: every pixel is.",
        table(["format", "program", "read by", "identical", "255 is kept"], rows),
        "What these programs write themselves, brought back by `labelseg import-masks`:",
        table(["format", "identical"], back),
        source([found]),
    ]


def class_parts(found: Sequence[Result]) -> list[str]:
    """Write the IoU of every class, the mean over the seeds."""
    steps = [name for name in names(found, "miou") if any(isinstance(r.get("miou", {}).get(name), Mapping) for r in found)]
    classes = list(dict.fromkeys(c for r in found for row in r.get("miou", {}).values() if isinstance(row, Mapping) for c in row["iou"]))
    if not steps or not classes:
        return []
    rows = []
    for name in steps:
        ious = [r["miou"][name]["iou"] for r in found if name in r.get("miou", {})]
        rows.append([name, *(number(average([100 * iou[c] for iou in ious if iou.get(c) is not None])) for c in classes)])
    over = f", mean over {len(found)} seeds" if len(found) > 1 else ""
    return [f"### IoU by class{over}", table(["step", *classes], rows)]


def main() -> None:
    """Write docs/results.md."""
    (DOCS / "results.md").write_text(page())


if __name__ == "__main__":
    main()
