"""Stage ``train-affinity``: the network that predicts which neighbours belong together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from labelseg.pipeline.declare.stage import Stage, like, option, source
from labelseg.training.params import TakingParams, TrainingParams

if TYPE_CHECKING:
    from labelseg.pipeline.engines.inputs import Inputs, Model


def _has_features(params: Params) -> bool:
    return params.kind == "psa"


@dataclass(frozen=True, kw_only=True)
class Params(TakingParams, TrainingParams):
    """Parameters of ``train-affinity``."""

    affinity_labels: str = source("affinity-labels", help="Instance that provides the affinity labels.", kind="map", formerly="labels")
    kind: str = option(
        "psa", help="Affinity from pixel features (psa), or from the boundaries between pixels (irn).", choices=("psa", "irn")
    )
    radius: int = option(5, help="Pairs closer than this many cells are trained on.", minimum=1)
    widths: tuple[int, int, int] = option(
        (64, 128, 256), help="Channels of the three reduced levels (kind psa).", minimum=8, effective=_has_features
    )
    norm: str = option(
        "group",
        help="Normalisation after the reductions (kind psa); the published ResNet-38 has none.",
        choices=("group", "none"),
        effective=_has_features,
    )
    resize: tuple[float, float] = option(
        (1.0, 1.0), help="Range of the factor that images are resized by; take in the scales of propagate.", minimum=0.1, formerly="scale"
    )
    crop: int = like(TrainingParams, "crop", multiple=8)
    batch_size: int = option(8, help="Images an update.", minimum=1)
    epochs: int = option(5, help="Passes over the split.", minimum=1)
    optimizer: str = option("adam", help="Optimiser.", choices=("sgd", "adam", "adamw"))
    lr: float = option(2e-4, help="Learning rate of the backbone at the start; it falls as (1 - t / T) ** 0.9.", minimum=0.0)
    weight_decay: float = option(1e-4, help="Weight decay of weights; biases and normalisation have none.", minimum=0.0)
    psa_compat: bool = option(False, help="Leave out pairs of border cells, as the published code does.")


def run(inputs: Inputs, params: Params) -> Model:
    """Train AffinityNet: neighbours of one class get high affinity, neighbours of different classes low.

    Returns:
        The weights, by name with the shapes of the network, what rebuilds it, metrics and curves.

    Source: Ahn & Kwak 2018, and Ahn et al. 2019 for boundaries; affinitynet.md.
    """
    from labelseg.models.affinity_net import AffinityNet, BoundaryNet
    from labelseg.ops.affinity.pairs import pair_offsets, psa_origins
    from labelseg.ops.affinity.psa import affinity_loss, pair_labels
    from labelseg.training.fitting import fit, make_backbone, take_over
    from labelseg.training.samples import LabelledGrid, Samples

    offsets = pair_offsets(params.radius)
    backbone = make_backbone(inputs, params)
    net = AffinityNet(backbone, params.widths, params.norm) if params.kind == "psa" else BoundaryNet(backbone)  # type: ignore[arg-type]
    take_over(inputs, params, net)
    cells = params.crop // net.stride
    origins = psa_origins((cells, cells), params.radius) if params.psa_compat else None

    def loss(module, batch):  # type: ignore[no-untyped-def]
        images, labels = batch
        repeat = 8 // net.stride  # labels are on the stride-8 grid
        labels = labels.repeat_interleave(repeat, dim=1).repeat_interleave(repeat, dim=2)
        terms = affinity_loss(net.pair_affinities(module(images), offsets), pair_labels(labels, offsets, origins))
        return terms._asdict()

    return fit(inputs, params, net, Samples(inputs.items(), LabelledGrid(params.crop, params.jitter, params.resize)), loss)


STAGE = Stage(
    name="train-affinity",
    version=1,
    kind="model",
    params=Params,
    run=run,
    uses=lambda params: {"split": ("image",)},
)
