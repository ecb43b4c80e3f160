"""``labelseg init``: looks at the data and writes ``labelseg.toml``."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from labelseg.commands.context import Invocation, pass_invocation, talk, tell
from labelseg.commands.setup.data_options import (
    FileOrNone,
    PathOrUrl,
    ending_option,
    file_option,
    folder_option,
    path_option,
    scenes_option,
    share_option,
)
from labelseg.commands.setup.recipes import CHAINS, PRESETS, RECIPES, first_backbone, recipe_tables, remarks
from labelseg.commands.setup.survey import Survey, proposed_side, survey_data, survey_report
from labelseg.commands.workspace_file import exists_error, workspace_text, write_new, written_path
from labelseg.data.folder.findings import Finding
from labelseg.data.folder.folder_dataset import FolderDataset
from labelseg.data.folder.image_ids import ImageIndex
from labelseg.data.folder.splits import names_images
from labelseg.data.inspection import inspect
from labelseg.errors import DataError, UsageError
from labelseg.pipeline.declare.config import FILE_NAME
from labelseg.pipeline.declare.values import read_value
from labelseg.results.outlook.initial_weights import Ways, network_findings
from labelseg.stages.tags import train_classifier
from labelseg.wording import counted, some_of
from labelseg.workspace import fetched_images, open_data

if TYPE_CHECKING:
    from labelseg.protocols import Dataset

CONVERTED = "converted"
FROM_MASKS = "--recipe few-masks --classes FILE"
ELSEWHERE = "--recipe imported-masks --classes FILE"
LABEL_FILES = ("labels.csv", "image_labels.csv")
BY_OPTION = Ways("--weights FILE", "--weights none", "--backbone NAME")
USUAL_STRIDE = 16  # of all trainings, unless a backbone is made with another alone
SPLIT_FIRST = "; before it, to learn from some of the masks only: labelseg split --labelled N"


@click.command()
@click.option(
    "--from",
    "source",
    **folder_option("Folder with images/ and any of masks/, labels.csv, classes.txt and lists such as train.txt or splits/train.txt."),
)
@click.option(
    "--images",
    type=PathOrUrl(exists=True, path_type=Path),
    metavar="DIR",
    help="Folder of images: jpg, png, webp, bmp, tiff; or a TIFF stack, or a folder of stacks; or s3://BUCKET/PREFIX of images in an "
    "object store.",
)
@click.option(
    "--labels",
    type=click.Path(exists=True, path_type=Path),
    metavar="FILE",
    help="Tags: a CSV file image,labels, or a column for each class; or the folder of images itself, where each class has a folder in "
    "it; or annotations of COCO, Label Studio or CVAT; or an array npy of 0 and 1.",
)
@click.option(
    "--masks",
    **path_option(
        "DIR",
        "True masks: index or palette PNG, 255 = ignore; or annotations of COCO, Label Studio or CVAT, or a TIFF stack. Needed to "
        "evaluate, not to train from tags.",
    ),
)
@click.option("--image-suffix", **ending_option("images, such as _leftImg8bit,"))
@click.option("--mask-suffix", **ending_option("masks, such as _mask or _gtFine_labelIds,"))
@click.option("--classes", **file_option("Class names, one a line; line k names class k of the masks; background first if there is one."))
@click.option("--splits", **folder_option("Folder of lists of images, such as train.txt and val.txt."))
@click.option("--val", **share_option("Share of the images to hold out as the split val, unless a list defines it."))
@click.option("--voc", **folder_option("Folder of Pascal VOC 2012."))
@click.option("--scenes", **scenes_option("Built-in synthetic scenes"))
@click.option(
    "--backbone", metavar="NAME", help="Backbone of all trainings, such as resnet50 or timm:NAME; see: labelseg train-classifier --help"
)
@click.option(
    "--weights",
    type=FileOrNone(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Initial weights of the backbone for all trainings: .safetensors or .pth, or the word none for random ones.",
)
@click.option(
    "--recipe",
    type=click.Choice(list(RECIPES)),
    default="tags",
    show_default=True,
    help="Chain to set up: tags learns from image tags, with a second AffinityNet that learns from the walk of the first; tags-one-round "
    "saves its time for worse masks; few-masks learns from the masks of a few images (see split); imported-masks "
    "learns from masks made elsewhere (see import-masks), and needs images and --classes alone; adapt carries what masks of these "
    "images teach over to images of another kind (see data add), in three rounds of questions to a person.",
)
@click.option(
    "--preset",
    type=click.Choice(list(PRESETS)),
    help="In place of a recipe: the settings of a paper for Pascal VOC, written out. psa is AffinityNet with ResNet-38, which needs "
    "--weights; irn has ResNet-50.",
)
@click.option("--anyway", is_flag=True, help="Write labelseg.toml although errors were found in the data.")
@pass_invocation
def init(
    invocation: Invocation,
    source: Path | None,
    val: float | None,
    scenes: int | None,
    backbone: str | None,
    weights: Path | Literal["none"] | None,
    recipe: str,
    preset: str | None,
    anyway: bool,
    image_suffix: str | None,
    mask_suffix: str | None,
    **paths: Path | None,
) -> None:
    """Look at the data and write labelseg.toml.

    Name the parts (`--images`, `--labels`, ...), or a folder that holds them under their usual names (`--from`), or VOC
    2012, or take built-in scenes. Nothing is copied but what is in a form of other tools: that is written to the folder `converted`, once,
    and what each was taken for is told. A labelseg.toml that is there is never overwritten. What is found in the data
    that will make the result wrong is told, and refused; `labelseg doctor` and `labelseg run --dry-run` tell it again.
    """
    if preset and backbone:
        raise UsageError(f"init --preset {preset} has the backbone of its paper. Leave out --backbone, or --preset.")
    chain = preset or recipe
    target = invocation.root / FILE_NAME
    if target.exists():
        raise exists_error(target)
    url = str(paths["images"]) if isinstance(paths.get("images"), str) else ""
    if url:
        paths["images"] = fetched_images(invocation.root, url)
    parts = _parts(source, paths)
    converted = _convert(invocation.root, parts)
    try:
        endings = {key: ending for key, ending in (("image_suffix", image_suffix), ("mask_suffix", mask_suffix)) if ending}
        data = {**_data_table(invocation.root, source, parts, val, scenes), **endings}
        if url and parts["images"] == paths["images"]:  # unless they were written anew, in another form
            data["images"] = url
        dataset = open_data(invocation.root, data)
        stride, findings = _network_findings(chain, backbone, weights)
        survey = _survey(dataset, data, chain, findings, anyway)
    except BaseException:
        if converted:
            shutil.rmtree(converted)  # after an error nothing is left behind
        raise
    if side := proposed_side(survey, from_tags=CHAINS[chain].needs == "tags"):
        data["long_side"] = side
        talk(
            f"Images of {survey.pixels / 1e6:.1f} megapixels (median) are worked on at a longer side of {side:,} pixels, and masks written "
            "at the size of the files: long_side in labelseg.toml. At full size: labelseg config data.long_side --unset"
        )
    invocation.root.mkdir(parents=True, exist_ok=True)
    network = {
        "backbone": backbone,
        "weights": written_path(invocation.root, weights) if isinstance(weights, Path) else weights,
        "output_stride": stride if stride != USUAL_STRIDE else None,
    }
    tables = recipe_tables(chain, invocation.stages, survey, photos=scenes is None, network={k: v for k, v in network.items() if v})
    split = CHAINS[chain].split or ("val" if "val" in survey.images else "train")
    write_new(target, workspace_text(data, CHAINS[chain].target, split, tables, remarks(tables, chain)))
    first = f"{CHAINS[chain].first}, then " if CHAINS[chain].first else ""
    if scenes is not None:
        first = first.replace("--images DIR", "--scenes")
    talk(f"Wrote {target}. Next: {first}labelseg run{SPLIT_FIRST if chain == 'few-masks' else ''}")


def _parts(source: Path | None, paths: Mapping[str, Path | None]) -> dict[str, Path]:
    """List the parts of the data that were named, and those that lie in a folder under their usual names."""
    return {**(_usual_names(source) if source else {}), **{key: path for key, path in paths.items() if path is not None}}


def _convert(root: Path, parts: dict[str, Path]) -> Path | None:
    """Write what is in a form of other tools to a folder of the workspace, and name that in its place; None where nothing is."""
    from labelseg.exchange.taking import needs_taking, take_in

    if not needs_taking(parts):
        return None
    out = root / CONVERTED
    if out.exists():
        raise UsageError(f"init: expected to write {out}, found it there. It is from an earlier init: remove it, or run in another folder.")
    try:
        taken = take_in(parts, out)
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)
        raise
    for line in taken.told:
        talk(line)
    parts.update(taken.parts)
    return out


def _survey(dataset: Dataset, data: Mapping[str, Any], recipe: str, network: list[Finding], anyway: bool) -> Survey:
    """Look at the data, and tell what is found in it and in the network of the trainings.

    Raises:
        DataError: something in it makes the result wrong, or the recipe cannot be fed.
    """
    from_tags = CHAINS[recipe].needs == "tags"
    if from_tags and isinstance(dataset, FolderDataset) and dataset.labels is None and dataset.annotations is None:
        raise _no_tags(dataset)
    survey = survey_data(dataset, data)
    tell(survey_report(survey))
    _check_recipe(recipe, survey, dataset)
    findings = [*inspect(dataset, tags=from_tags), *network]
    for finding in findings:
        talk(str(finding))
    if (errors := sum(finding.level == "error" for finding in findings)) and not anyway:
        raise DataError(
            f"{counted(errors, 'error')} in the data, nothing was written. Mend what is told above, or write all the same: --anyway"
        )
    return survey


def _network_findings(chain: str, backbone: str | None, weights: Path | Literal["none"] | None) -> tuple[int, list[Finding]]:
    """Look at the backbone and the weights that all trainings are to have, where one of them or a paper is named.

    Returns:
        The output stride that the backbone is made with, and what was found.
    """
    if not backbone and not weights and chain not in PRESETS:
        return USUAL_STRIDE, []
    from labelseg.models.weights.backbone_weights import usual_stride

    first = backbone or first_backbone(chain)
    read_value(train_classifier.STAGE, "backbone", first, "init --backbone")
    stride = usual_stride(first)
    return stride, list(network_findings(first, str(weights or "imagenet"), "the trainings", BY_OPTION, stride))


def _data_table(root: Path, source: Path | None, parts: Mapping[str, Path], val: float | None, scenes: int | None) -> dict[str, Any]:
    """Make the table ``[data]`` from what was named on the command line."""
    if scenes is not None:
        if parts or source or val:
            raise UsageError("--scenes cannot be combined with other data: leave out --from, --images and the like.")
        return {"scenes": {"train": scenes, "val": max(scenes // 2, 1)}}
    table: dict[str, Any] = {key: written_path(root, path) for key, path in parts.items()}
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


def _no_tags(dataset: Dataset) -> DataError:
    """Say that nothing is known of the images, and where it might be taken from."""
    masked = any(dataset.has(image_id, "mask") for image_id in dataset.ids("train"))
    other = f"to learn from the masks there are: {FROM_MASKS}" if masked else f"where masks come from elsewhere: {ELSEWHERE}"
    told = f"recipe tags: no image of the split train has tags. Name them: --labels FILE; or {other}"
    folders = sorted({image_id.split("/")[0] for image_id in dataset.ids("train") if "/" in image_id})
    if len(folders) < 2 or not isinstance(dataset, FolderDataset):
        return DataError(told)
    return DataError(
        f"{told}. Images lie in the folders {some_of(folders)}; if these are their classes: --labels {shlex.quote(str(dataset.images))}"
    )


def _check_recipe(recipe: str, survey: Survey, dataset: Dataset) -> None:
    """Refuse a recipe that the data cannot feed."""
    needs = CHAINS[recipe].needs
    if needs == "tags" and not survey.tagged["train"]:
        raise _no_tags(dataset)
    if needs == "mask" and not survey.masked["train"]:
        raise DataError(f"recipe {recipe}: no image of the split train has a mask. Name them: --masks DIR --classes FILE")
