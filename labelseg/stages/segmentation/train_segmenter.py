"""Stage ``train-segmenter``: a segmentation network from any source of masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from labelseg.pipeline.declare.stage import Stage, option, source
from labelseg.training.params import EvaluatedTrainingParams, TakingParams, has_inner_width, may_be_separable

if TYPE_CHECKING:
    from labelseg.pipeline.engines.inputs import Inputs, Model


@dataclass(frozen=True, kw_only=True)
class Params(TakingParams, EvaluatedTrainingParams):
    """Parameters of ``train-segmenter``."""

    labels: str = source("propagate", help="Instance that provides the masks to learn, or masks for the ground truth.", kind="labels")
    beside: str = source(
        "", help="Instance of a second opinion: pixels that its masks name otherwise are not learned; empty learns all.", kind="labels"
    )
    head: str = option(
        "deeplabv3plus",
        help="Head: DeepLabV3+, the paper's two atrous convolutions, or DPT on a plain ViT.",
        choices=("deeplabv3plus", "atrous", "dpt"),
    )
    width: int = option(256, help="Channels inside DeepLabV3+ or DPT.", minimum=16, effective=has_inner_width)
    separable: bool = option(
        True, help="Depthwise-separable convolutions in DeepLabV3+: several times cheaper.", effective=may_be_separable
    )
    resize: tuple[float, float] = option(
        (0.75, 1.5), help="Range of the factor that images are resized by.", minimum=0.01, formerly="scale"
    )
    batch_size: int = option(8, help="Images an update.", minimum=1)
    epochs: int = option(12, help="Passes over the split.", minimum=1)
    lr: float = option(0.004, help="Learning rate of the backbone at the start; it falls as (1 - t / T) ** 0.9.", minimum=0.0)
    weight_decay: float = option(1e-4, help="Weight decay of weights; biases and normalisation have none.", minimum=0.0)
    warmup: int = option(50, help="Updates over which the learning rate grows.", minimum=0)


def run(inputs: Inputs, params: Params) -> Model:
    """Train a segmentation network on masks, pseudo or true.

    Returns:
        The weights, by name with the shapes of the network, what rebuilds it, metrics and curves.

    Raises:
        UsageError: nothing to evaluate on where the parameters ask for it, or a batch that the head cannot normalise.
        DataError: no mask of the label source can be read.
    """
    from labelseg.models.segmenter import Segmenter
    from labelseg.ops.losses import cross_entropy
    from labelseg.pipeline.engines.inputs import Item
    from labelseg.training.fitting import fit, make_backbone, take_over
    from labelseg.training.samples import MaskedImage, Samples, agreed_target, source_target
    from labelseg.training.validation import demand_held, demand_labelled, masked_validation, segmenter_scores

    held = masked_validation(inputs)
    demand_held("train-segmenter", params, held)
    demand_labelled("train-segmenter", held, Item.mask)
    backbone = make_backbone(inputs, params)
    net = Segmenter(backbone, len(inputs.classes), params.head, params.width, "group", params.separable)  # type: ignore[arg-type]
    take_over(inputs, params, net, by_class=True)
    make = MaskedImage(params.crop, params.resize, params.jitter, agreed_target if params.beside else source_target)

    def evaluate(module):  # type: ignore[no-untyped-def]
        return segmenter_scores(net, held, len(inputs.classes), inputs.device, params.precision)

    return fit(
        inputs,
        params,
        net,
        Samples(inputs.items(), make),
        lambda module, batch: {"loss": cross_entropy(module(batch[0]).float(), batch[1])},
        evaluate=evaluate if held else None,
        select="mIoU",
        evaluate_every=params.evaluate_every,
        keep=params.keep,
    )


STAGE = Stage(
    name="train-segmenter",
    version=1,
    kind="model",
    params=Params,
    run=run,
    uses=lambda params: {"split": ("image",), "validation": ("image", "mask")},
)
