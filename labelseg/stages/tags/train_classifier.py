"""Stage ``train-classifier``: the multi-label classifier behind class activation maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from labelseg.pipeline.declare.stage import Stage, option
from labelseg.training.params import EvaluatedTrainingParams

if TYPE_CHECKING:
    from labelseg.pipeline.engines.inputs import Inputs, Model


@dataclass(frozen=True, kw_only=True)
class Params(EvaluatedTrainingParams):
    """Parameters of ``train-classifier``."""

    long_side: tuple[int, int] = option((288, 512), help="Range of the longer side that images are resized to, pixels.", minimum=8)
    dropout: float = option(
        0.0, help="Share of the last channels dropped in training; the published code drops half.", minimum=0.0, maximum=0.99
    )


def run(inputs: Inputs, params: Params) -> Model:
    """Train an image classifier from tags; its activation maps start the chain.

    Returns:
        The weights, by name with the shapes of the network, what rebuilds it, metrics and curves.

    Raises:
        DataError: no image of the split has tags, none can be read, or no class is in the tags of the validation images.

    Source: Ahn & Kwak 2018; affinitynet.md.
    """
    from labelseg.errors import DataError
    from labelseg.models.classifier import Classifier
    from labelseg.ops.losses import multilabel_soft_margin
    from labelseg.training.fitting import fit, make_backbone
    from labelseg.training.samples import Samples, TaggedImage
    from labelseg.training.validation import classifier_scores, demand_held

    first_class = 1 if inputs.has_background else 0
    n_classes = len(inputs.classes) - first_class
    items = [item for item in inputs.items() if item.tags is not None]
    if not items:
        raise DataError(
            f"train-classifier: no image of split {params.split!r} has tags. Name a label list: labelseg config data.labels FILE"
        )
    held = [item for item in inputs.items("validation") if item.tags is not None]
    demand_held("train-classifier", params, held, "--validation SPLIT with tags")
    if held and not any(item.tags for item in held):
        raise DataError(f"train-classifier: no class in the tags of the {len(held):,} validation images. Name others: --validation SPLIT")

    net = Classifier(make_backbone(inputs, params), n_classes, params.dropout)
    make = TaggedImage(params.crop, params.long_side, params.jitter, n_classes, first_class)

    def evaluate(module):  # type: ignore[no-untyped-def]
        return classifier_scores(net, held, n_classes, first_class, inputs.device, params.precision)

    return fit(
        inputs,
        params,
        net,
        Samples(items, make),
        lambda module, batch: {"loss": multilabel_soft_margin(module(batch[0]).float(), batch[1])},
        evaluate=evaluate if held else None,
        select="mAP",
        evaluate_every=params.evaluate_every,
        keep=params.keep,
    )


STAGE = Stage(
    name="train-classifier",
    version=1,
    kind="model",
    params=Params,
    run=run,
    uses=lambda params: {"split": ("image", "tags"), "validation": ("image", "tags")},
)
