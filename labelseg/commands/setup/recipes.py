"""Chains that ``labelseg init`` sets up, and the parameters that it writes for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from labelseg.commands.plan_text import is_imported
from labelseg.commands.setup.presets import IRN, PSA, Tables
from labelseg.commands.setup.survey import Survey
from labelseg.pipeline.declare.stage import Stage
from labelseg.training.params import schedule

# The defaults of stages are the published ones; these were found on photos with the default backbone (docs/affinitynet.md).
_CRF = {"crf_sxy": 50.0, "crf_srgb": 5.0}
ONE_ROUND: Tables = {
    "refine": {"alpha_low": 0.75, "alpha": 1.34, "alpha_high": 2.8, **_CRF},
    "propagate": {"scales": [1.25, 1.5, 1.75], "flip": True, "threshold": 0.55, "crf": True},
}
TWO_ROUNDS: Tables = {
    "cam": {"kind": "mean"},
    "refine": {"alpha_low": 0.4, "alpha": 0.7, "alpha_high": 1.5, **_CRF},
    "propagate.one": {
        "affinity": "train-affinity",
        "scales": [1.0, 1.25, 1.5],
        "start": "foreground-only",
        "threshold": 0.55,
        "crf": False,
    },
    "refine.two": {"cam": "propagate@one", "alpha_low": 0.41, "alpha": 0.75, "alpha_high": 1.8},
    "affinity-labels.two": {"refine": "refine@two", "guard_masks": "refine"},
    "train-affinity.two": {
        "affinity_labels": "affinity-labels@two",
        "init": "train-affinity",
        "take": "network",
        "epochs": 2,
        "lr": 0.0001,
    },
    "propagate": {
        "affinity": "train-affinity@two",
        "scales": [0.75, 1.0, 1.25],
        "flip": True,
        "start": "background",
        "crf": True,
        **_CRF,
        "crf_weight": 4.0,
    },
    "segment": {"classes": "train-classifier", "crf": True, **_CRF, "crf_weight": 4.0},
    "segment.own": {"tags": "given"},
}


@dataclass(frozen=True)
class Recipe:
    """A chain that can be set up.

    Attributes:
        target: What ``labelseg run`` brings up to date.
        needs: Kind of the data that the images of the training split must have; empty where it comes later.
        tables: Table -> parameters.
        remark: What to say above these tables.
        photos_only: Whether the parameters are for photos alone: built-in scenes are left at the defaults of stages.
        first: Command that comes before ``labelseg run``, or empty.
        split: Split of the target, where it is one of a data set to come; empty takes the usual one.
        published: Whether schedules are those of a paper, whatever the number of images: the last epoch is kept, and none is added.
    """

    target: str
    needs: str
    tables: Tables
    remark: str = ""
    photos_only: bool = False
    first: str = ""
    split: str = ""
    published: bool = False


FOUND_ON_PHOTOS = "Found on photos with a longer side of 320 pixels; docs/affinitynet.md explains how to find yours."
ROUNDS = "The last round; those before it need no table. docs/labor.md."
OWN = "The images that the segmenter learned from, with their tags: better masks of them than those that it learned."
RECIPES = {
    "tags": Recipe("segment", "tags", TWO_ROUNDS, FOUND_ON_PHOTOS, photos_only=True),
    "tags-one-round": Recipe("segment", "tags", ONE_ROUND, FOUND_ON_PHOTOS, photos_only=True),
    "few-masks": Recipe("segment", "mask", {"segment": {"model": "train-unimatch"}}),
    "imported-masks": Recipe(
        "segment", "", {"override": {"of": ""}, "train-segmenter": {"labels": "override"}}, first="labelseg import-masks PATH"
    ),
    "adapt": Recipe(
        "segment",
        "mask",
        {"train-uda.3": {"round": 3}, "segment": {"model": "train-uda@3"}},
        first="labelseg data add target --images DIR",
        split="target:all",
    ),
}
_AS_PUBLISHED = "As published for Pascal VOC with {}; docs/affinitynet.md says where this differs from the papers' code."
PRESETS = {
    "psa": Recipe("segment", "tags", PSA, _AS_PUBLISHED.format("ResNet-38"), published=True),
    "irn": Recipe("segment", "tags", IRN, _AS_PUBLISHED.format("ResNet-50"), published=True),
}
DEFAULT_BACKBONE = "mobilenet_v2"  # of all chains that name none
CHAINS = {**RECIPES, **PRESETS}
# Below these a training on few images ends before it has learned: found on 30 and 100 images (benchmarks/small_data.py).
# The methods of few masks train the same segmenter, and get the same.
FEWEST_UPDATES = {"train-classifier": 200, "train-affinity": 150, "train-segmenter": 500, "train-unimatch": 500, "train-pseudoseg": 500}
# Of a training that goes on from another: its epochs are set, so they are what grows.
FEWEST_UPDATES_ON = {"train-affinity.two": 120}
WARMUP_SHARE = 0.1
SHORT = "Few images: unless epochs are set, they are passed until there are as many updates as min_updates."


def recipe_tables(name: str, stages: Iterable[Stage], survey: Survey, *, photos: bool, network: Mapping[str, Any] | None = None) -> Tables:
    """Choose the parameters of every stage of a recipe.

    Args:
        name: One of ``CHAINS``.
        stages: All there are.
        survey: What is in the data.
        photos: Whether the images are photos, and not the built-in scenes.
        network: Backbone, initial weights and output stride of all trainings, as far as they are named or have to be set.

    Returns:
        Table of ``labelseg.toml`` -> parameters that differ from the defaults.
    """
    recipe, known = CHAINS[name], list(stages)
    tables = training_tables(known, survey, network, published=recipe.published)
    if recipe.published:  # trainings beside the chain have other backbones, which its weights do not fit
        tables = {table: values for table, values in tables.items() if table in recipe.tables}
    for table, values in recipe.tables.items() if photos or not recipe.photos_only else ():
        stage = next((stage for stage in known if stage.name == table.partition(".")[0]), None)
        if stage is not None:
            tables[table] = {**tables.get(table, {}), **values, **_more_epochs(stage, table, values, survey)}
    return tables


def first_backbone(name: str) -> str:
    """Name the backbone of the first training of a chain."""
    return CHAINS[name].tables.get("train-classifier", {}).get("backbone", DEFAULT_BACKBONE)


def remarks(tables: Tables, recipe: str) -> dict[str, str]:
    """Say of tables where their values come from."""
    short = {name: SHORT for name, values in tables.items() if "min_updates" in values}
    found = CHAINS[recipe]
    return {**short, **(dict.fromkeys(found.tables, found.remark) if found.remark else {}), "segment.own": OWN, "train-uda.3": ROUNDS}


def training_tables(
    stages: Iterable[Stage], survey: Survey, network: Mapping[str, Any] | None = None, *, published: bool = False
) -> dict[str, dict[str, Any]]:
    """Choose the parameters of the trainings: the network, and the validation split where it has what a training is evaluated on.

    Unless schedules are to be the published ones, the best epoch on it is kept, and little data is passed more often.
    """
    tables: dict[str, dict[str, Any]] = {}
    for stage in stages:
        if stage.kind != "model" or is_imported(stage.name):
            continue
        values = tables.setdefault(stage.name, {})
        uses = stage.uses(stage.params())
        kinds = uses.get("validation", ()) if isinstance(uses, Mapping) else ()
        if kinds and not stage.home and all(survey.holds("val", kind) for kind in kinds):
            values["validation"] = "val"
            if any(f.name == "keep" for f in fields(stage.params)) and not published:
                values["keep"] = "best"
        values.update({} if published else _short_schedule(stage, survey))
        known = {f.name for f in fields(stage.params)}
        values.update({name: value for name, value in (network or {}).items() if name in known})
    return tables


def _short_schedule(stage: Stage, survey: Survey) -> dict[str, Any]:
    """Choose the schedule of a training on little data: fewest updates, of which the warm-up takes a share; with enough data nothing."""
    fewest = FEWEST_UPDATES.get(stage.name, 0)
    params = stage.params()
    images = survey.images.get(params.split, 0) if fewest else 0
    if not images:
        return {}
    return {"warmup_share": WARMUP_SHARE, "min_updates": fewest} if schedule(params, images).updates < fewest else {}


def _more_epochs(stage: Stage, table: str, values: Mapping[str, Any], survey: Survey) -> dict[str, int]:
    """Choose more epochs than a recipe has where these are too few updates."""
    fewest = FEWEST_UPDATES_ON.get(table, 0)
    params = stage.params()
    images = survey.images.get(params.split, 0) if fewest else 0
    return {"epochs": max(values["epochs"], -(-fewest // max(images // params.batch_size, 1)))} if images else {}
