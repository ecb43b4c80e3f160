"""``labelseg init``: looks at the data and writes ``labelseg.toml``."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import click

from labelseg.commands.context import Invocation, pass_invocation, talk, tell
from labelseg.commands.setup.data_options import file_option, folder_option, scenes_option, share_option
from labelseg.commands.tables import format_table
from labelseg.commands.workspace_file import exists_error, workspace_text, write_new, written_path
from labelseg.data.dataset import open_dataset
from labelseg.data.folder.folder_dataset import FolderDataset
from labelseg.data.folder.image_ids import ImageIndex
from labelseg.data.folder.splits import names_images
from labelseg.data.inspection import inspect
from labelseg.errors import DataError, UsageError
from labelseg.pipeline.declare.config import FILE_NAME
from labelseg.pipeline.declare.stage import Stage
from labelseg.training.params import schedule
from labelseg.wording import counted, some_of

if TYPE_CHECKING:
    from labelseg.protocols import Dataset

LABEL_FILES = ("labels.csv", "image_labels.csv")
SPLIT_FIRST = "; before it, to learn from some of the masks only: labelseg split --labelled N"
RECIPES = {"tags": "segment", "few-masks": "segment"}
# The defaults of stages are the published ones; these were found on photos with the default backbone (docs/affinitynet.md).
PHOTOS: dict[str, dict[str, Any]] = {
    "refine": {"alpha_low": 0.75, "alpha": 1.34, "alpha_high": 2.8, "crf_sxy": 50.0, "crf_srgb": 5.0},
    "propagate": {"scales": [1.25, 1.5, 1.75], "flip": True, "threshold": 0.55, "crf": True},
}
RECIPE_TABLES: dict[str, dict[str, dict[str, Any]]] = {"tags": {}, "few-masks": {"segment": {"model": "train-unimatch"}}}
REMARKS = dict.fromkeys(PHOTOS, "Found on photos with a longer side of 320 pixels; docs/affinitynet.md explains how to find yours.")
# Below these a training on few images ends before it has learned: found on 30 and 100 images (benchmarks/small_data.py).
FEWEST_UPDATES = {"train-classifier": 200, "train-affinity": 150, "train-segmenter": 500}
WARMUP_SHARE = 0.1
SHORT = "Few images: unless epochs are set, they are passed until there are as many updates as min_updates."
USUAL_SIDE = 1000  # pixels above which images are larger than the settings are made for
SAMPLED = 100  # images whose size is looked up


@dataclass
class Survey:
    """What was found in the data: images by split, how often tags name each class, and the median longer side of files."""

    classes: tuple[str, ...]
    images: dict[str, int] = field(default_factory=dict)
    tagged: dict[str, int] = field(default_factory=dict)
    masked: dict[str, int] = field(default_factory=dict)
    by_class: Counter[int] = field(default_factory=Counter)
    long_side: int = 0

    def holds(self, split: str, kind: str) -> bool:
        """Whether some image of a split has tags or a mask."""
        return {"tags": self.tagged, "mask": self.masked}.get(kind, self.images).get(split, 0) > 0


@click.command()
@click.option(
    "--from",
    "source",
    **folder_option("Folder with images/ and any of masks/, labels.csv, classes.txt and lists such as train.txt or splits/train.txt."),
)
@click.option("--images", **folder_option("Folder of images: jpg, png, webp, bmp, tiff."))
@click.option(
    "--labels",
    type=click.Path(exists=True, path_type=Path),
    metavar="FILE",
    help="Tags: a CSV file image,labels, or a column for each class; or the folder of images itself, where each class has a folder in it.",
)
@click.option("--masks", **folder_option("True masks: index or palette PNG, 255 = ignore. Needed to evaluate, not to train from tags."))
@click.option("--classes", **file_option("Class names, one a line; line k names class k of the masks; background first if there is one."))
@click.option("--splits", **folder_option("Folder of lists of images, such as train.txt and val.txt."))
@click.option("--val", **share_option("Share of the images to hold out as the split val, unless a list defines it."))
@click.option("--voc", **folder_option("Folder of Pascal VOC 2012."))
@click.option("--scenes", **scenes_option("Built-in synthetic scenes"))
@click.option("--weights", **file_option("Initial weights of the backbone for all trainings: .safetensors or .pth."))
@click.option(
    "--recipe",
    type=click.Choice(list(RECIPES)),
    default="tags",
    show_default=True,
    help="Chain to set up: tags learns from image tags, few-masks from the masks of a few images (see split).",
)
@click.option("--anyway", is_flag=True, help="Write labelseg.toml although errors were found in the data.")
@pass_invocation
def init(
    invocation: Invocation,
    source: Path | None,
    val: float | None,
    scenes: int | None,
    weights: Path | None,
    recipe: str,
    anyway: bool,
    **paths: Path | None,
) -> None:
    """Look at the data and write labelseg.toml.

    Name the parts (`--images`, `--labels`, ...), or a folder that holds them under their usual names (`--from`), or VOC
    2012, or take built-in scenes. Nothing is copied. A labelseg.toml that is there is never overwritten. What is found in the data
    that will make the result wrong is told, and refused; `labelseg doctor` and `labelseg run --dry-run` tell it again.
    """
    target = invocation.root / FILE_NAME
    if target.exists():
        raise exists_error(target)
    data = _data_table(invocation.root, source, paths, val, scenes)
    dataset = open_dataset(invocation.root, data)
    if recipe == "tags" and isinstance(dataset, FolderDataset) and dataset.labels is None and dataset.annotations is None:
        raise _no_tags(dataset)
    survey = survey_data(dataset, data)
    tell(_report(survey))
    _check_recipe(recipe, survey, dataset)
    findings = inspect(dataset, tags=recipe == "tags")
    for finding in findings:
        talk(str(finding))
    if (errors := sum(finding.level == "error" for finding in findings)) and not anyway:
        raise DataError(
            f"{counted(errors, 'error')} in the data, nothing was written. Mend what is told above, or write all the same: --anyway"
        )
    invocation.root.mkdir(parents=True, exist_ok=True)
    tables = training_tables(invocation.stages, survey, written_path(invocation.root, weights) if weights else None)
    tables |= RECIPE_TABLES[recipe]
    if recipe == "tags" and scenes is None:
        tables |= {stage.name: PHOTOS[stage.name] for stage in invocation.stages if stage.name in PHOTOS}
    remarks = {**{name: SHORT for name, values in tables.items() if "min_updates" in values}, **REMARKS}
    write_new(target, workspace_text(data, RECIPES[recipe], "val" if "val" in survey.images else "train", tables, remarks))
    talk(f"Wrote {target}. Next: labelseg run{SPLIT_FIRST if recipe == 'few-masks' else ''}")


def survey_data(dataset: Dataset, table: Mapping[str, Any]) -> Survey:
    """Read everything that is cheap to read, and one image of every split.

    Raises:
        LabelsegError: something is not what it should be.
    """
    survey = Survey(dataset.classes)
    for split in dataset.splits():
        ids = dataset.ids(split)
        tagged = [image_id for image_id in ids if dataset.has(image_id, "tags")]
        masked = [image_id for image_id in ids if dataset.has(image_id, "mask")]
        survey.images[split], survey.tagged[split], survey.masked[split] = len(ids), len(tagged), len(masked)
        dataset.image(ids[0])
    for image_id in dataset.ids("all"):
        survey.by_class.update(dataset.tags(image_id) or ())
    _check_found(dataset, survey, table)
    survey.long_side = _median_side(dataset)
    return survey


def _median_side(dataset: Dataset) -> int:
    """Look up the longer side of some images, pixels; 0 where the data is not files."""
    from labelseg.data.folder.images import image_size

    ids = dataset.ids("all")
    sides = []
    for image_id in ids[:: -(-len(ids) // SAMPLED)]:
        path = dataset.identity(image_id, "image")
        if isinstance(path, Path):
            with suppress(DataError):  # reported when it is computed
                sides.append(max(image_size(path)))
    return int(median(sides)) if sides else 0


def training_tables(stages: Iterable[Stage], survey: Survey, weights: str | None = None) -> dict[str, dict[str, Any]]:
    """Choose the parameters of the trainings: the weights, and the validation split where it has what a training is evaluated on."""
    tables: dict[str, dict[str, Any]] = {}
    for stage in stages:
        if stage.kind != "model":
            continue
        values = tables.setdefault(stage.name, {})
        uses = stage.uses(stage.params())
        kinds = uses.get("validation", ()) if isinstance(uses, Mapping) else ()
        if kinds and not stage.home and all(survey.holds("val", kind) for kind in kinds):
            values["validation"] = "val"
            if any(f.name == "keep" for f in fields(stage.params)):
                values["keep"] = "best"
        values.update(_short_schedule(stage, survey))
        if weights and any(f.name == "weights" for f in fields(stage.params)):
            values["weights"] = weights
    return tables


def _short_schedule(stage: Stage, survey: Survey) -> dict[str, Any]:
    """Choose the schedule of a training on little data: fewest updates, of which the warm-up takes a share; with enough data nothing."""
    fewest = FEWEST_UPDATES.get(stage.name, 0)
    params = stage.params()
    images = survey.images.get(params.split, 0) if fewest else 0
    if not images:
        return {}
    return {"warmup_share": WARMUP_SHARE, "min_updates": fewest} if schedule(params, images).updates < fewest else {}


def _data_table(root: Path, source: Path | None, paths: Mapping[str, Path | None], val: float | None, scenes: int | None) -> dict[str, Any]:
    """Make the table ``[data]`` from what was named on the command line."""
    given = {key: path for key, path in paths.items() if path is not None}
    if scenes is not None:
        if given or source or val:
            raise UsageError("--scenes cannot be combined with other data: leave out --from, --images and the like.")
        return {"scenes": {"train": scenes, "val": max(scenes // 2, 1)}}
    found = _usual_names(source) if source else {}
    table: dict[str, Any] = {key: written_path(root, path) for key, path in {**found, **given}.items()}
    if "images" not in table and "voc" not in table:
        raise UsageError("init: no data named. Give --images DIR --labels FILE, --from DIR, --voc DIR or --scenes.")
    if val is not None:
        table["fractions"] = {"val": val}
    return table


def _usual_names(folder: Path) -> dict[str, Path]:
    """Find the parts of a dataset under their usual names."""
    if not (folder / "images").is_dir():
        raise DataError(f"{folder}: expected a folder images/ in it, found none. Name the parts one by one: --images DIR --labels FILE")
    found = {"images": folder / "images"}
    for key, names in {"labels": LABEL_FILES, "masks": ("masks",), "classes": ("classes.txt",), "splits": ("splits",)}.items():
        there = [folder / name for name in names if (folder / name).exists()]
        if there:
            found[key] = there[0]
    if "splits" not in found:
        images = ImageIndex(found["images"], found.get("masks"))
        if any(path.name != "classes.txt" and names_images(path, images) for path in folder.glob("*.txt")):
            found["splits"] = folder
    return found


def _check_found(dataset: Dataset, survey: Survey, table: Mapping[str, Any]) -> None:
    """Refuse labels and masks that belong to none of the images."""
    if "masks" in table and not survey.masked["all"]:
        raise DataError(f"{table['masks']}: none of its masks has the name of an image, such as {dataset.ids('all')[0]}.png.")
    if "labels" in table and not survey.tagged["all"]:
        raise DataError(f"{table['labels']}: names none of the images.")


def _no_tags(dataset: Dataset) -> DataError:
    """Say that nothing is known of the images, and where it might be taken from."""
    told = "recipe tags: no image of the split train has tags. Name them: --labels FILE"
    folders = sorted({image_id.split("/")[0] for image_id in dataset.ids("train") if "/" in image_id})
    if len(folders) < 2 or not isinstance(dataset, FolderDataset):
        return DataError(told)
    return DataError(
        f"{told}. Images lie in the folders {some_of(folders)}; if these are their classes: --labels {shlex.quote(str(dataset.images))}"
    )


def _check_recipe(recipe: str, survey: Survey, dataset: Dataset) -> None:
    """Refuse a recipe that the data cannot feed."""
    if recipe == "tags" and not survey.tagged["train"]:
        raise _no_tags(dataset)
    if recipe == "few-masks" and not survey.masked["train"]:
        raise DataError("recipe few-masks: no image of the split train has a mask. Name them: --masks DIR --classes FILE")


def _report(survey: Survey) -> str:
    """Write what was found."""
    rows = [(split, f"{count:,}", f"{survey.tagged[split]:,}", f"{survey.masked[split]:,}") for split, count in survey.images.items()]
    splits = format_table(("SPLIT", "IMAGES", "TAGGED", "MASKS"), rows, right=("IMAGES", "TAGGED", "MASKS"))
    named = ", ".join(f"{name} {survey.by_class[k]:,}" if survey.by_class[k] else name for k, name in enumerate(survey.classes))
    lines = [splits, f"{len(survey.classes)} classes, with the number of images tagged: {named}"]
    if survey.long_side:
        lines.append(f"longer side of the images: {survey.long_side:,} pixels (median)")
    if survey.long_side > USUAL_SIDE:
        lines.append(
            "  That is large: images are processed at full size, and the defaults suit 300 to 500 pixels. "
            "Smaller copies of images and masks take a fraction of the time and memory: docs/data.md has the lines."
        )
    return "\n".join(lines)
