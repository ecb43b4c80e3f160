"""The part of the results page about few masks and many images."""

from __future__ import annotations

from pathlib import Path

from results_tables import (
    Value,
    bar_table,
    difference,
    first,
    group_part,
    heads,
    mean,
    mean_head,
    miou,
    missing,
    names,
    numbers,
    seeds,
    source,
    table,
)

FEW = {"few_masks-voc_animals": "Photos of VOC animals, 60 masks", "few_masks-camvid": "Street scenes of CamVid, 30 masks"}
# Order of the methods for few masks, from less to more.
METHODS = (
    "base",
    "supervised",
    "fixmatch",
    "unimatch",
    "unimatch, shares",
    "unimatch, tags",
    "unimatch-v2",
    "pseudoseg",
    "pseudoseg, tags",
)


def few_bars(dataset: str) -> tuple[tuple[str, Value, float], ...]:
    """Tell what methods for few masks have to reach on a dataset."""
    supervised = miou("supervised on val")
    methods = (
        ("unimatch",) if dataset == "few_masks-camvid" else ("unimatch", "unimatch, tags", "unimatch-v2", "pseudoseg", "pseudoseg, tags")
    )
    bars = [(f"{method}, points above supervised", difference(miou(f"{method} on val"), supervised), 2.0) for method in methods]
    return (
        *bars,
        *(
            (
                f"{method}: fused label of unlabelled images, points above {part}",
                difference(miou(f"{method}: fused on watched"), miou(f"{method}: {part} on watched")),
                0.0,
            )
            for method in methods
            if method.startswith("pseudoseg")
            for part in ("decoder", "attention")
        ),
    )


def few_order(name: str) -> tuple[bool, int]:
    """Put scores of val before those of unlabelled images, and methods in their order."""
    method = name.split(" on ")[0].split(":")[0]
    return " on watched" in name, METHODS.index(method) if method in METHODS else len(METHODS)


def few_parts(folder: Path) -> list[str]:
    """Write the parts about few masks and many images."""
    parts = []
    for dataset, heading in FEW.items():
        parts.append(f"### {heading}")
        found = seeds(folder, dataset)
        if not found:
            parts.append(missing(f"python -m benchmarks.few_masks {dataset.split('-')[1]} --data DIR --weights FILE --seed 0"))
            continue
        rows = [
            [name, first(found, name, "images"), *numbers([miou(name)(r) for r in found]), *mean([miou(name)(r) for r in found])]
            for name in sorted(names(found, "miou"), key=few_order)
        ]
        budgets = ", ".join(dict.fromkeys(f"{result['budget']:g}" for result in found))
        parts += [
            f"Every method goes on from one supervised checkpoint (*base*) and trains for as many updates as fit into {budgets} s by a "
            "measurement beforehand; the time they really took is given below. The last epoch counts. *watched*: "
            f"unlabelled images whose masks no training saw. Settings: [benchmarks/settings/few_masks_{dataset.split('-')[1]}.toml]"
            f"(../benchmarks/settings/few_masks_{dataset.split('-')[1]}.toml).",
            bar_table(few_bars(dataset), found, in_mean=True),
            table(["method", "images", *heads(found), *mean_head(found)], rows),
            *group_part(found, "updates", "#### Updates", 1, few_order),
            *group_part(found, "seconds of training", "#### Seconds of training", 1, few_order),
            source(found),
        ]
    return parts
