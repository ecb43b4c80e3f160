"""Networks to and from artifacts: a network is its tensors and the JSON that rebuilds it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelseg.errors import ArtifactError, UsageError
from labelseg.models.affinity_net import AffinityNet, BoundaryNet
from labelseg.models.classifier import Classifier
from labelseg.models.encoders.registry import build_backbone
from labelseg.models.pseudoseg_net import PseudoSegNet
from labelseg.models.segmenter import Segmenter
from labelseg.models.weights.states import load_arrays, state_arrays

Network = Classifier | AffinityNet | BoundaryNet | Segmenter
NETWORKS: dict[str, type[Network]] = {
    "classifier": Classifier,
    "affinity-net": AffinityNet,
    "boundary-net": BoundaryNet,
    "segmenter": Segmenter,
    "pseudoseg": PseudoSegNet,
}
SEGMENTERS = "segmenter|pseudoseg"


def describe(net: Network) -> dict[str, Any]:
    """Describe the architecture of a network in JSON: ``network``, ``backbone``, ``output_stride``, ``dilate`` if false, ``settings``.

    Beside these ``licence``, where the file of its first weights named one.
    """
    name = next(name for name, kind in NETWORKS.items() if type(net) is kind)
    return {
        "network": name,
        "backbone": net.backbone.name,
        "output_stride": net.backbone.output_stride,
        **({} if net.backbone.dilate else {"dilate": False}),
        **({"licence": net.backbone.licence} if net.backbone.licence else {}),
        "settings": dict(net.settings),
    }


def to_model(net: Network, meta: Mapping[str, Any]) -> tuple[dict[str, NDArray], dict[str, Any]]:
    """Turn a network into named arrays and JSON.

    A model may hold arrays of helpers besides, under prefixes that ``meta["helpers"]`` lists.

    Args:
        net: The network, which stays as it is.
        meta: JSON to add to the description, such as the classes.

    Returns:
        Name -> array with the shape and dtype of the tensor, on the CPU; and the description, which
        ``build_from`` takes.
    """
    return state_arrays(net), {**meta, **describe(net)}


def build_from(meta: Mapping[str, Any], tensors: Mapping[str, NDArray]) -> Network:
    """Rebuild a network from what ``to_model`` gave, in evaluation mode on the CPU.

    Args:
        meta: The description.
        tensors: Name -> array with the shape of the tensor; arrays of helpers are passed over.

    Raises:
        ArtifactError: the description names no network of this version.
        DataError: the tensors do not fit the description.
    """
    if meta.get("network") not in NETWORKS:
        raise ArtifactError(f"model: expected one of {', '.join(NETWORKS)}, got {meta.get('network')!r}.")
    backbone = build_backbone(meta["backbone"], meta["output_stride"], meta.get("dilate", True))
    backbone.licence = meta.get("licence", "")
    net = NETWORKS[meta["network"]](backbone, **meta["settings"])
    load_arrays(net, {name: a for name, a in tensors.items() if not _is_helper(meta, name)}, f"model {meta['network']}")
    net.eval()
    return net


def helper_arrays(tensors: Mapping[str, NDArray], prefix: str) -> dict[str, NDArray]:
    """Pick the arrays of one helper of a model, shapes as they are, and remove the prefix from their names."""
    return {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}


def known_classes(meta: Mapping[str, Any]) -> list[int]:
    """List the class id of each channel of a segmenter: of a model that knows some of the classes those, else all in their order."""
    return list(meta.get("class_ids", range(meta["settings"]["n_classes"])))


def step_arrays(meta: Mapping[str, Any]) -> dict[str, NDArray]:
    """List the classes that a class-incremental segmenter knows, as arrays to keep beside its masks.

    Returns:
        ``known_ids`` int16 (K,), class ids by channel, and ``new_ids`` int16 (N,), those of them learned in the last step; empty
        for a model that knows all classes.
    """
    if "class_ids" not in meta:
        return {}
    ids = np.array(meta["class_ids"], np.int16)
    return {"known_ids": ids, "new_ids": ids[meta["increment"]["n_old"] :]}


def _is_helper(meta: Mapping[str, Any], name: str) -> bool:
    return name.startswith(tuple(meta.get("helpers", ())))


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
