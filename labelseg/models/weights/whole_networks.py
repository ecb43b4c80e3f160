"""Files of whole networks, head included: which network a file holds, by the names of its tensors, and those under our names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from labelseg.errors import DataError
from labelseg.models.heads.dpt import IDLE
from labelseg.models.weights.states import FileNames

BOUNDARY_HEADS = {f"fc_edge{level}.": f"reduce.{level - 1}." for level in range(1, 6)}
DEPTHS = {6: "resnet50_deep", 23: "resnet101_deep"}  # blocks of layer3 -> backbone
COPIES = tuple(
    f"{name}." for name in ("backbone", "stage1", "stage2", "stage3", "stage4", "stage5", "newly_added", "edge_layers", "dp_layers")
)
TRANSFORMERS = {384: "small", 768: "base", 1024: "large", 1536: "giant"}  # channels -> size of DINOv2


@dataclass(frozen=True)
class Layout:
    """How a network lies in a file.

    Attributes:
        title: What the file is, in words.
        network: Name of the network, one of ``models.networks.NETWORKS``.
        heads: Beginning of a name in the file -> beginning of ours, for what is outside the backbone.
        backbone: Name of the backbone; empty where the file does not tell it.
        prefix: Beginning of the names of the backbone in the file.
        output_stride: Of the published network.
        dilate: As of a backbone.
        left: Beginnings of names that are left out: copies of the backbone, and branches that no stage runs.
        settings: Further arguments of the network.
    """

    title: str
    network: str
    heads: Mapping[str, str]
    backbone: str = ""
    prefix: str = "backbone."
    output_stride: int = 16
    dilate: bool = True
    left: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


def layout_of(state: Mapping[str, Tensor], source: str) -> Layout:
    """Tell which network a file holds.

    Args:
        state: Name -> tensor of any shape, as ``read_weights`` gives it.
        source: The file, to begin the error with.

    Raises:
        DataError: it is none of those that are known.
    """
    try:
        found = next((layout for read in (_of_psa, _of_irn, _of_unimatch, _of_this_project) if (layout := read(state))), None)
    except (LookupError, TypeError):  # some names of a network, and others missing or of no such shape
        found = None
    if found is None:
        some = f"tensors named {', '.join(sorted(state)[:4])}, ..." if state else "no tensors"
        raise DataError(
            f"{source}: expected a classifier or an affinity network of PSA or IRN, a segmenter of UniMatch, or a classifier or an "
            f"affinity network of this project; found {some}. Where its backbone is what you need: "
            "labelseg config train-classifier.weights FILE"
        )
    return found


def _of_psa(state: Mapping[str, Tensor]) -> Layout | None:
    """A network of Ahn & Kwak 2018. Of their AffinityNet on VGG-16 the names are not known."""
    if "conv1a.weight" in state and "fc8.weight" in state:
        return Layout("classifier of PSA", "classifier", {"fc8.": "classify."}, "resnet38", "", 8)
    if "conv1a.weight" in state and "f9.weight" in state:
        heads = {"f8_3.": "reduce.0.0.", "f8_4.": "reduce.1.0.", "f8_5.": "reduce.2.0.", "f9.": "mix.0."}
        settings = {"widths": tuple(len(state[f"{name}weight"]) for name in list(heads)[:3]), "norm": "none"}
        return Layout("AffinityNet of PSA", "affinity-net", heads, "resnet38", "", 8, settings=settings)
    if "conv1_1.weight" in state and "fc8.weight" in state:
        return Layout("classifier of PSA", "classifier", {"fc8.": "classify."}, "vgg16", "", 8, dilate=False)
    return None


def _of_irn(state: Mapping[str, Tensor]) -> Layout | None:
    """A network of Ahn et al. 2019, whose files hold the backbone under other names again."""
    if "resnet50.conv1.weight" not in state:
        return None
    if "fc_edge6.weight" in state:
        heads, left = {**BOUNDARY_HEADS, "fc_edge6.": "edge."}, (*COPIES, "fc_dp", "mean_shift.")
        return Layout("boundary network of IRN", "boundary-net", heads, "resnet50", "resnet50.", dilate=False, left=left)
    if "classifier.weight" in state:
        heads = {"classifier.": "classify."}
        return Layout("classifier of IRN", "classifier", heads, "resnet50", "resnet50.", dilate=False, left=COPIES)
    return None


def _of_unimatch(state: Mapping[str, Tensor]) -> Layout | None:
    """A segmenter of Yang et al. 2023 or 2025."""
    if "head.b0.0.weight" in state:
        blocks = {name.split(".")[2] for name in state if name.startswith("backbone.layer3.")}
        heads = {name: f"head.{name}" for name in ("head.", "reduce.", "fuse.", "classifier.")}
        settings = {"head": "unimatch", "width": state["classifier.weight"].shape[1]}
        return Layout("segmenter of UniMatch", "segmenter", heads, DEPTHS.get(len(blocks), ""), settings=settings)
    if "head.scratch.output_conv.2.weight" in state:
        size = TRANSFORMERS.get(state["head.projects.0.weight"].shape[1])
        settings = {"head": "dpt", "width": state["head.scratch.output_conv.2.weight"].shape[1]}
        return Layout(
            *("segmenter of UniMatch V2", "segmenter", {"head.": "head."}, f"timm:vit_{size}_patch14_dinov2" if size else ""),
            output_stride=14,
            left=(IDLE,),
            settings=settings,
        )
    return None


def _of_this_project(state: Mapping[str, Tensor]) -> Layout | None:
    """A network of this project, but for segmenters, whose head their names do not tell."""
    if not any(name.startswith("backbone.") for name in state):
        return None
    heads = {name: name for name in ("classify.", "reduce.", "mix.", "edge.")}
    if "classify.weight" in state:
        return Layout("classifier of this project", "classifier", heads)
    if "edge.weight" in state:
        return Layout("boundary network of this project", "boundary-net", heads)
    if "mix.0.weight" in state:
        widths = tuple(len(state[f"reduce.{level}.0.weight"]) for level in range(3))
        settings = {"widths": widths, "norm": "group" if "reduce.0.1.weight" in state else "none"}
        return Layout("AffinityNet of this project", "affinity-net", heads, settings=settings)
    return None


def own_names(state: Mapping[str, Tensor], layout: Layout) -> tuple[dict[str, Tensor], dict[str, Tensor], tuple[str, ...]]:
    """Sort the tensors of a file.

    Args:
        state: Name -> tensor of any shape, as the layout was told from.
        layout: How they lie there.

    Returns:
        Those of the backbone under its names, those of the head under ours, and the names of those that are left out.
    """
    backbone, head, left = {}, {}, []
    for name, tensor in state.items():
        begins = next((one for one in layout.heads if name.startswith(one)), None)
        if layout.prefix and name.startswith(layout.prefix):
            backbone[name.removeprefix(layout.prefix)] = tensor
        elif name.startswith(layout.left or ("\0",)):
            left.append(name)
        elif begins is not None:
            head[layout.heads[begins] + name.removeprefix(begins)] = tensor
        else:
            backbone[name] = tensor
    return backbone, head, tuple(left)


def file_names(state: Mapping[str, Tensor], layout: Layout, inner: str) -> FileNames:
    """Tell how a file calls the tensors that became a network.

    Args:
        state: As it was read; name -> tensor of any shape.
        layout: How they lie there.
        inner: As of the backbone.
    """
    beginnings = {f"backbone.{inner}": layout.prefix, "backbone.": layout.prefix, **{ours: name for name, ours in layout.heads.items()}}
    return FileNames(state, dict(sorted(beginnings.items(), key=lambda pair: -len(pair[0]))))


def rows_of(wanted: Sequence[str], names: Sequence[str], outputs: int, source: str, again: str) -> list[int]:
    """Find the output of a network for each class.

    Args:
        wanted: The classes of the data, in their order.
        names: The classes of the outputs, in theirs; empty where nobody knows them.
        outputs: How many there are.
        source: The file, to begin the error with.
        again: Command that names the classes of the file.

    Raises:
        DataError: a class has no output, or nobody knows which it is.
    """
    if not names:
        raise DataError(
            f"{source}: it has {outputs} outputs, and the data {len(wanted)} classes. Name its outputs in their order, as the data calls "
            f"them, one a line: {again} --names FILE"
        )
    if missing := [name for name in wanted if name not in names]:
        raise DataError(
            f"{source}: expected an output for every class of the data, found none for {', '.join(missing)} among {', '.join(names)}. "
            f"Name its outputs in their order, as the data calls them, one a line: {again} --names FILE"
        )
    return [list(names).index(name) for name in wanted]
