"""Stage ``train-unimatch``: a segmenter from few masks and many images, by UniMatch and its variants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from labelseg.methods.few_masks.few_mask_params import FewMaskParams
from labelseg.pipeline.declare.stage import Stage, option

if TYPE_CHECKING:
    from labelseg.pipeline.engines.inputs import Inputs, Model


def _reads_unlabelled(params: Params) -> bool:
    return params.variant != "supervised"


def _reads_tags(params: Params) -> bool:
    return _reads_unlabelled(params) and params.tags == "given"


def _pastes(params: Params) -> bool:
    return _reads_unlabelled(params) and params.box > 0


def _perturbs(params: Params) -> bool:
    return params.variant in ("unimatch", "uniperb")


def _picks_hard_pixels(params: Params) -> bool:
    return params.labelled_loss == "ohem"


@dataclass(frozen=True, kw_only=True)
class Params(FewMaskParams):
    """Parameters of ``train-unimatch``."""

    variant: str = option(
        "unimatch",
        help="Which views are learned from: UniMatch, its parts, its second version with a teacher, or labelled images alone.",
        choices=("unimatch", "dusperb", "uniperb", "fixmatch", "unimatch-v2", "supervised"),
    )
    threshold: float = option(
        0.95, help="Confidence from which a pseudo label is learned.", minimum=0.0, maximum=1.0, effective=_reads_unlabelled
    )
    dropout: float = option(
        0.5,
        help="Probability with which a channel is dropped for the perturbed features (unimatch and uniperb).",
        minimum=0.0,
        maximum=0.99,
        effective=_perturbs,
    )
    partner: str = option(
        "other",
        help="What CutMix pastes: another image of the batch, or another crop of the same one.",
        choices=("other", "self"),
        effective=_pastes,
    )
    box: float = option(0.5, help="Probability of a CutMix box in a strong view.", minimum=0.0, maximum=1.0, effective=_reads_unlabelled)
    resize: tuple[float, float] = option(
        (0.5, 2.0), help="Range of the longer side, relative to that of the image.", minimum=0.01, formerly="scale"
    )
    jitter: float = option(
        0.5, help="Strength of colour jitter in strong views; half of it for hue.", minimum=0.0, maximum=1.0, effective=_reads_unlabelled
    )
    tags: str = option(
        "ignored",
        help="Tags of unlabelled images: given ones say which classes their pseudo labels may hold (an extension), or none do.",
        choices=("ignored", "given"),
        neutral=True,
        effective=_reads_unlabelled,
    )
    class_share: float = option(
        0.0,
        help="Part of each class's pixels, the most confident ones of a batch, that is learned whatever the threshold (an extension).",
        minimum=0.0,
        maximum=1.0,
        neutral=True,
        effective=_reads_unlabelled,
    )
    labelled_loss: str = option("ce", help="Loss of labelled images: cross entropy, or that of hard pixels only.", choices=("ce", "ohem"))
    ohem_threshold: float = option(
        0.7,
        help="Probability of the true class up to which a pixel is hard.",
        minimum=0.0,
        maximum=1.0,
        effective=lambda params: _picks_hard_pixels(params) and params.ohem_kept > 0,
    )
    ohem_kept: int = option(
        200_000,
        help="Pixels of a batch that are kept at least; a batch with fewer, or 0, keeps all.",
        minimum=0,
        effective=_picks_hard_pixels,
    )
    lr: float = option(0.001, help="Learning rate of the backbone at the start; it falls as (1 - t / T) ** 0.9.", minimum=0.0)
    weight_decay: float = option(1e-4, help="Weight decay of every parameter.", minimum=0.0)
    warmup: int = option(0, help="Updates over which the learning rate grows.", minimum=0)


def run(inputs: Inputs, params: Params) -> Model:
    """Train a segmentation network on few masks and many images without: what it says confidently of a weak view teaches strong views.

    Returns:
        The weights, by name with the shapes of the network, what rebuilds it, metrics and curves.

    Raises:
        UsageError: the parameters contradict each other, or ask for more images than there are.
        DataError: no image is labelled or unlabelled, or a class is in none of the masks.

    Source: Yang et al. 2023, 2025; unimatch.md.
    """
    from copy import deepcopy
    from functools import partial

    from labelseg.data.augment.colour import StrongColours
    from labelseg.data.augment.views import AnySize
    from labelseg.errors import DataError
    from labelseg.methods.few_masks.paired_samples import LabelledView, UniMatchViews
    from labelseg.methods.few_masks.setup import fit_few_masks, gather, take_over
    from labelseg.methods.few_masks.unimatch_step import RATIOS, VARIANTS, UniMatchStep
    from labelseg.models.segmenter import Segmenter
    from labelseg.ops.few_masks.unimatch import ohem_loss
    from labelseg.ops.losses import cross_entropy
    from labelseg.training.fitting import make_backbone
    from labelseg.training.optimization import even_groups
    from labelseg.training.pairs import PairedSamples

    draw = AnySize(params.crop, *params.resize)
    data = gather("train-unimatch", inputs, params, draw)
    variant, given_tags = VARIANTS[params.variant], _reads_tags(params)
    if given_tags and all(item.tags is None for item in data.unlabelled):
        raise DataError("train-unimatch --tags given: none of the unlabelled images has tags. Add lines for them, or leave the option out.")
    classes, first_class = len(inputs.classes), 1 if inputs.has_background else 0
    net = Segmenter(make_backbone(inputs, params), classes, params.head, params.width, "group", params.separable)  # type: ignore[arg-type]
    take_over(net, inputs, params)
    teacher = deepcopy(net) if variant.teacher else None
    ohem = partial(ohem_loss, threshold=params.ohem_threshold, min_kept=params.ohem_kept)
    step = UniMatchStep(
        variant,
        params.threshold,
        ohem if params.labelled_loss == "ohem" else cross_entropy,
        params.dropout,
        teacher,
        params.precision == "bf16-mixed",
        given_tags,
        params.class_share,
    )
    views = UniMatchViews(
        draw,
        variant.views,
        StrongColours(params.jitter),
        params.box,
        own_partner=params.partner == "self",
        watch=data.watch,
        n_classes=classes if given_tags else 0,
        first_class=first_class,
    )
    labelled = LabelledView(draw, classes, first_class)
    samples = PairedSamples(data.labelled, data.unlabelled, labelled, views if variant.views else None)
    return fit_few_masks(
        "train-unimatch",
        inputs,
        params,
        data,
        net,
        samples,
        step,
        groups=even_groups(net, params.weight_decay, params.head_lr_scale),
        ratios=RATIOS,
        teacher=teacher,
        smallest_pass=variant.smallest_pass,
    )


STAGE = Stage(
    name="train-unimatch",
    version=2,
    kind="model",
    params=Params,
    run=run,
    uses=lambda params: {
        "split": ("image",),
        "unlabelled": ("image", "tags") if _reads_tags(params) else ("image",),
        "validation": ("image", "mask"),
    },
)
