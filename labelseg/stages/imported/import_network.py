"""Stage ``import-network``: a whole network that was trained elsewhere, head included, in the place of a training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from labelseg.pipeline.declare.stage import Stage, file_option, option
from labelseg.training.params import BACKBONES

if TYPE_CHECKING:
    from labelseg.pipeline.engines.inputs import Inputs, Model


@dataclass(frozen=True, kw_only=True)
class Params:
    """Parameters of ``import-network``."""

    weights: str = file_option("", help="File of the network, .safetensors, .pth or .pt, as PSA, IRN and UniMatch publish it.")
    names: str = file_option(
        "", help="Classes of its outputs in their order, one a line; empty for 20 or 21 outputs of Pascal VOC, or those of the data."
    )
    kind: str = option(
        "psa", help="Published code that it is of: over a network of irn, propagate walks as IRN does.", choices=("psa", "irn", "unimatch")
    )
    backbone: str = option(
        "auto", help="Backbone of the network; auto tells it from a published file.", choices=("auto", *BACKBONES), beyond="timm:NAME"
    )
    output_stride: int = option(0, help="Stride of the backbone's last level; 0 is that of the published network.", minimum=0, maximum=32)


def run(inputs: Inputs, params: Params) -> Model:
    """Take in a whole network that was trained elsewhere, in the place of a training: `cam --model import-network`.

    Its outputs are put into the order of the data's classes; outputs of other classes are left out.

    Returns:
        The weights, by name with the shapes of the network, and what rebuilds it; no metrics and no curves.

    Source: ours; names of PSA, IRN, UniMatch and UniMatch V2 as published.
    """
    from collections import Counter
    from pathlib import Path

    import torch

    from labelseg.data.dataset import VOC_CLASSES
    from labelseg.data.folder.text_files import read_text
    from labelseg.errors import DataError, UsageError
    from labelseg.models.encoders.registry import build_backbone
    from labelseg.models.networks import NETWORKS, to_model
    from labelseg.models.segmenter import LAST_LAYERS
    from labelseg.models.weights.states import load_state
    from labelseg.models.weights.weight_files import file_licence, read_weights
    from labelseg.models.weights.whole_networks import file_names, layout_of, own_names, rows_of
    from labelseg.pipeline.engines.inputs import Model
    from labelseg.pipeline.instances import run_command
    from labelseg.wording import with_article

    again = run_command(inputs.instance)
    if not params.weights:
        raise UsageError(f"{inputs.instance}: expected the file of a network, none is named. Name one: {again} --weights FILE")
    state = read_weights(Path(params.weights))
    layout = layout_of(state, params.weights)
    title = with_article(layout.title)
    name = layout.backbone if params.backbone == "auto" else params.backbone
    if not name:
        raise UsageError(f"{inputs.instance}: {params.weights} is {title} and does not tell its backbone. Name it: {again} --backbone NAME")
    if (layout.network == "boundary-net") != (params.kind == "irn") and layout.network in ("boundary-net", "affinity-net"):
        kind = "irn" if layout.network == "boundary-net" else "psa"
        raise UsageError(
            f"{inputs.instance}: {params.weights} is {title}, and propagate walks by the kind that is named here, {params.kind}. "
            f"Name it: {again} --kind {kind}"
        )
    settings = dict(layout.settings)
    given, head, left = own_names(state, layout)

    def listed(count: int, known: tuple[str, ...]) -> list[str]:
        """The classes of the outputs, in their order."""
        if not params.names:
            return list(VOC_CLASSES[-count:] if count in (len(VOC_CLASSES) - 1, len(VOC_CLASSES)) else known)
        lines = [line.strip() for line in read_text(Path(params.names)).splitlines() if line.strip()]
        if len(lines) != count or len(set(lines)) != count:
            told = f"{len(lines)}" if len(set(lines)) == len(lines) else "a name twice"
            raise UsageError(f"{params.names}: expected the names of the {count} outputs of {params.weights}, found {told}. Mend the file.")
        return lines

    if layout.network in ("classifier", "segmenter"):
        wanted = inputs.classes[1:] if layout.network == "classifier" and inputs.has_background else inputs.classes
        last = LAST_LAYERS[settings["head"]] if layout.network == "segmenter" else "classify"
        if len(shape := head[f"{last}.weight"].shape) != 4:
            raise DataError(f"{params.weights}: expected the last layer of {title} to have 4 axes, outputs first; it has {len(shape)}.")
        outputs = shape[0]
        rows = rows_of(wanted, listed(outputs, wanted if len(wanted) == outputs else ()), outputs, params.weights, again)
        head |= {key: head[key][rows] for key in (f"{last}.weight", f"{last}.bias") if key in head}
        settings["n_classes"] = len(rows)
    torch.manual_seed(0)  # what is drawn here is replaced below
    backbone = build_backbone(name, params.output_stride or layout.output_stride, layout.dilate)
    backbone.licence = file_licence(Path(params.weights))
    net = NETWORKS[layout.network](backbone, **settings)
    whole = {**{f"backbone.{key}": tensor for key, tensor in backbone.from_file(given).items()}, **head}
    try:
        load_state(net, whole, f"{inputs.instance}: {params.weights}, {title} on {name}", file_names(state, layout, backbone.inner))
    except DataError as error:
        raise DataError(f"{error} Take a file that is whole, or name the backbone that it is of: {again} --backbone NAME") from error
    inputs.log({"weights": params.weights, "network": layout.title, "tensors": len(whole), "left": list(left)})
    parts = dict(Counter(key.partition(".")[0] for key in left))
    tensors, meta = to_model(net, {"classes": list(inputs.classes), "imported": layout.title, "left": parts})
    return Model(tensors=tensors, meta=meta, metrics={}, curves=[])


STAGE = Stage(name="import-network", version=1, kind="model", params=Params, run=run, uses=lambda params: {})
