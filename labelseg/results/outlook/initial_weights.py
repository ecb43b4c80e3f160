"""What is found in the initial weights that trainings ask for: files that do not fit, and downloads to come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelseg.data.folder.findings import Finding
from labelseg.errors import LabelsegError, UsageError

if TYPE_CHECKING:
    from labelseg.pipeline.declare.stage import Stage


@dataclass(frozen=True)
class Ways:
    """What to type in order to name something else: a file of weights, none of them, another backbone."""

    file: str
    none: str
    other: str


def weight_findings(nodes: Iterable[tuple[Stage, Any]]) -> Iterator[Finding]:
    """Tell of files of weights that fit no backbone they are given to, and of weights that will be downloaded; each once, with all
    trainings that ask for it.

    Args:
        nodes: Stages with their parameters.
    """
    asked: dict[tuple[str, str], tuple[dict[str, None], int]] = {}
    for declared, params in nodes:
        if declared.name == "import-network" and params.weights:
            yield from file_findings(params.weights)
        elif _takes_weights(declared, params):
            asked.setdefault((params.backbone, params.weights), ({}, params.output_stride))[0][declared.name] = None
    for (backbone, weights), (stages, stride) in asked.items():
        ways = Ways(
            " && ".join(f"labelseg config {stage}.weights FILE" for stage in stages),
            " && ".join(f"labelseg config {stage}.weights none" for stage in stages),
            " && ".join(f"labelseg config {stage}.backbone NAME" for stage in stages),
        )
        yield from network_findings(backbone, weights, ", ".join(stages), ways, stride)


def file_findings(weights: str) -> Iterator[Finding]:
    """Tell what network a file holds that ``import-network`` is to take in, or why it cannot be told."""
    from labelseg.models.weights.weight_files import read_weights
    from labelseg.models.weights.whole_networks import layout_of

    remedy = "Name another: labelseg config import-network.weights FILE"
    try:
        layout = layout_of(read_weights(Path(weights)), weights)
    except LabelsegError as error:
        yield Finding("error", "import-network", str(error).removesuffix("."), "import-network would end before it begins", remedy)
        return
    yield Finding("note", "import-network", f"{weights} is a {layout.title}")


def network_findings(backbone: str, weights: str, stage: str, ways: Ways, output_stride: int = 16) -> Iterator[Finding]:
    """Tell why a training cannot begin from a backbone and its weights, if it cannot; else of what licence they are, or to be downloaded.

    Args:
        backbone: Its name.
        weights: A file, ``imagenet`` or ``none``.
        stage: What begins from them.
        ways: How to name others.
        output_stride: Of the backbone.
    """
    from labelseg.models.weights.backbone_weights import check_weights, outline
    from labelseg.models.weights.weight_files import file_licence

    where, cannot = f"weights of {stage}", f"{stage} cannot begin"
    try:
        net = outline(backbone, output_stride)
    except LabelsegError as error:
        yield Finding("error", f"backbone of {stage}", str(error).removesuffix("."), cannot, f"Name another: {ways.other}")
        return
    try:
        taken = check_weights(net, weights)
    except UsageError as error:
        remedy = f"Give a file: {ways.file}; or begin from random ones: {ways.none}"
        yield Finding("error", where, str(error).removesuffix("."), cannot, remedy)
        return
    except LabelsegError as error:
        remedy = f"Give weights of {backbone}: {ways.file}; or name their network: {ways.other}"
        yield Finding("error", where, str(error).removesuffix("."), cannot, remedy)
        return
    if taken:
        yield Finding("note", where, f"{weights} fits {backbone}: {taken}")
    if weights == "imagenet":
        yield from download_findings(backbone, stage, ways)
    elif weights != "none" and (licence := file_licence(Path(weights))):
        yield Finding("note", where, f"{weights} has the licence {licence}, as the file itself says")


def download_findings(backbone: str, stage: str, ways: Ways) -> Iterator[Finding]:
    """Tell what will be downloaded for a backbone, if its ImageNet weights are not there."""
    from labelseg.models.weights.downloads import missing_download

    if missing := missing_download(backbone):
        url, megabytes, path = missing
        what = f"ImageNet weights of {backbone} are not on this machine; {url} ({megabytes:.0f} MB) will be downloaded to {path}"
        yield Finding("note", f"weights of {stage}", what, "", f"To use a file instead: {ways.file}")


def _takes_weights(stage: Stage, params: Any) -> bool:
    """Whether a stage begins from weights that are no other instance's."""
    declared = {field.name: field.metadata for field in fields(params)}
    if not {"weights", "backbone", "output_stride"} <= declared.keys():
        return False
    effective = declared["weights"].get("effective")
    return effective is None or bool(effective(params))
