"""Stage ``train-pseudoseg``: a segmenter from few masks and many images, whose pseudo labels are fused of two decisions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from labelseg.methods.few_masks.few_mask_params import FewMaskParams
from labelseg.pipeline.declare.stage import Stage, option

if TYPE_CHECKING:
    from labelseg.pipeline.engines.inputs import Inputs, Model


@dataclass(frozen=True, kw_only=True)
class Params(FewMaskParams):
    """Parameters of ``train-pseudoseg``."""

    gamma: float = option(0.5, help="Share of the decoder in the fused label; the rest is the spread maps'.", minimum=0.0, maximum=1.0)
    temperature: float = option(
        0.5, help="Temperature of the fused label; below 1 sharpens it.", minimum=0.01, effective=lambda params: not params.hard
    )
    normalize: bool = option(True, help="Bring the logits of both to one scale before they are fused.")
    norm_scope: str = option(
        "batch", help="What that scale is taken over.", choices=("batch", "image", "pixel"), effective=lambda params: params.normalize
    )
    threshold: float = option(0.0, help="Confidence from which a fused label is learned.", minimum=0.0, maximum=1.0)
    hard: bool = option(False, help="Learn the strongest class of the fused label instead of all of it.")
    unlabelled_weight: float = option(1.0, help="Weight of the loss on unlabelled images.", minimum=0.0)
    tags: str = option(
        "predicted", help="Classes of unlabelled images: predicted, or those of the label list.", choices=("predicted", "given")
    )
    labelled_tags: str = option(
        "image", help="Classes of labelled images: those of the whole image, or those left in the crop.", choices=("image", "crop")
    )
    key_width: int = option(128, help="Channels that positions are compared in.", minimum=1)
    factors: tuple[float, ...] = option(
        (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0), help="Factors of the image's sides, one of which is drawn.", minimum=0.01
    )
    cutout: int = option(50, help="Half of the side of the square that is cut out of strong views, pixels.", minimum=0)
    jitter: float = option(1.0, help="Strength of the strong view's changes of colour; 1 is as published.", minimum=0.0, maximum=1.0)
    lr: float = option(0.007, help="Learning rate of the backbone at the start; it falls as (1 - t / T) ** 0.9.", minimum=0.0)
    head_lr_scale: float = option(1.0, help="Learning rate of new layers, relative to the backbone's.", minimum=0.0)
    weight_decay: float = option(4e-5, help="Weight decay of weights but those of the attention.", minimum=0.0)
    warmup: int = option(0, help="Updates over which the learning rate grows.", minimum=0)


def run(inputs: Inputs, params: Params) -> Model:
    """Train a segmentation network on few masks and many images without: the decoder and activation maps spread by attention label them.

    Returns:
        The weights, by name with the shapes of the network, what rebuilds it, metrics and curves.

    Raises:
        UsageError: the parameters contradict each other, or ask for more images than there are.
        DataError: no image is labelled or unlabelled, or a class is in none of the masks.

    Source: Zou et al. 2021; pseudoseg.md.
    """
    from labelseg.data.augment.views import FewSizes
    from labelseg.errors import DataError
    from labelseg.methods.few_masks.paired_samples import LabelledView, PseudoSegViews
    from labelseg.methods.few_masks.pseudoseg_step import RATIOS, PseudoSegStep
    from labelseg.methods.few_masks.setup import fit_few_masks, gather, take_over
    from labelseg.models.pseudoseg_net import PseudoSegNet
    from labelseg.training.fitting import make_backbone
    from labelseg.training.optimization import depthwise_names, parameter_groups
    from labelseg.training.pairs import PairedSamples

    draw = FewSizes(params.crop, params.factors)
    data = gather("train-pseudoseg", inputs, params, draw)
    untagged = [item.id for item in data.unlabelled if item.tags is None] if params.tags == "given" else []
    if untagged:
        raise DataError(
            f"train-pseudoseg --tags given: {len(untagged):,} unlabelled images have no tags, such as {untagged[0]}. "
            "Add lines for them, or let them be predicted: --tags predicted"
        )
    classes, first_class = len(inputs.classes), 1 if inputs.has_background else 0
    net = PseudoSegNet(
        make_backbone(inputs, params),
        classes,
        params.head,  # type: ignore[arg-type]
        params.width,
        "group",
        params.separable,
        inputs.has_background,
        params.key_width,
    )
    take_over(net, inputs, params)
    step = PseudoSegStep(
        net,
        params.gamma,
        params.temperature,
        params.normalize,
        params.norm_scope,  # type: ignore[arg-type]
        params.threshold,
        params.hard,
        params.tags == "given",
        params.unlabelled_weight,
    )
    labelled = LabelledView(draw, classes, first_class, params.labelled_tags)  # type: ignore[arg-type]
    views = PseudoSegViews(draw, classes, first_class, params.jitter, params.cutout, data.watch)
    samples = PairedSamples(data.labelled, data.unlabelled, labelled, views)
    groups = parameter_groups(net, params.weight_decay, params.head_lr_scale, undecayed=("sgc.", *depthwise_names(net)))
    return fit_few_masks("train-pseudoseg", inputs, params, data, net, samples, step, groups=groups, ratios=RATIOS)


STAGE = Stage(
    name="train-pseudoseg",
    version=3,
    kind="model",
    params=Params,
    run=run,
    uses=lambda params: {
        "split": ("image", "tags"),
        "unlabelled": ("image", "tags") if params.tags == "given" else ("image",),
        "validation": ("image", "mask"),
    },
)
