"""Networks to and from artifacts: a network is its tensors and the JSON that rebuilds it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from labelseg.errors import ArtifactError, UsageError
from labelseg.models.affinity_net import AffinityNet, BoundaryNet
from labelseg.models.backbones import build_backbone
from labelseg.models.classifier import Classifier
from labelseg.models.segmenter import Segmenter
from labelseg.models.weights import load_arrays, state_arrays

Network = Classifier | AffinityNet | BoundaryNet | Segmenter
NETWORKS: dict[str, type[Network]] = {
    "classifier": Classifier,
    "affinity-net": AffinityNet,
    "boundary-net": BoundaryNet,
    "segmenter": Segmenter,
}


def describe(net: Network) -> dict[str, Any]:
    """Describe the architecture of a network in JSON: ``network``, ``backbone``, ``output_stride`` and ``settings``."""
    name = next(name for name, kind in NETWORKS.items() if type(net) is kind)
    return {
        "network": name,
        "backbone": net.backbone.name,
        "output_stride": net.backbone.output_stride,
        "settings": dict(net.settings),
    }


def to_model(net: Network, meta: Mapping[str, Any]) -> tuple[dict[str, NDArray], dict[str, Any]]:
    """Turn a network into named arrays and JSON; ``meta`` (classes and the like) is added to the description."""
    return state_arrays(net), {**meta, **describe(net)}


def build_from(meta: Mapping[str, Any], tensors: Mapping[str, NDArray]) -> Network:
    """Rebuild a network from what ``to_model`` gave, in evaluation mode on the CPU.

    Raises:
        ArtifactError: the description names no network of this version.
        DataError: the tensors do not fit the description.
    """
    if meta.get("network") not in NETWORKS:
        raise ArtifactError(f"model: expected one of {', '.join(NETWORKS)}, got {meta.get('network')!r}.")
    backbone = build_backbone(meta["backbone"], meta["output_stride"])
    net = NETWORKS[meta["network"]](backbone, **meta["settings"])
    load_arrays(net, tensors, f"model {meta['network']}")
    net.eval()
    return net


def load_network(model: Any, expected: str) -> Any:
    """Rebuild the network of a model artifact.

    Args:
        model: What ``inputs.model`` gives: ``tensors`` and ``meta``.
        expected: One of ``NETWORKS``, several joined by ``|``.

    Raises:
        UsageError: the model holds another network.
    """
    if model.meta.get("network") not in expected.split("|"):
        raise UsageError(f"model: expected {expected.replace('|', ' or ')}, got {model.meta.get('network')}. Name another instance.")
    return build_from(model.meta, model.tensors)
