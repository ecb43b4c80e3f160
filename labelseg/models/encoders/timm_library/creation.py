"""Networks of timm by name, with random weights: nothing is ever downloaded."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from torch import nn

from labelseg.errors import UsageError
from labelseg.suggestions import suggestion

PREFIX = "timm:"
OLDEST = (1, 0, 31)  # before, networks could not be made of names and shapes alone
# Modules of timm whose networks keep one token for each patch, may be given images of any size, and tell the maps of all blocks.
_PLAIN = ["vision_transformer", "eva", "deit"]


def is_of_timm(name: str) -> bool:
    """Whether a backbone of that name is one of timm's."""
    return name.startswith(PREFIX)


def is_plain_transformer(name: str) -> bool:
    """Whether a network keeps one token for each patch from its first block to its last.

    Raises:
        UsageError: timm is not installed, or knows no such network.
    """
    return _known(name).models.is_model_in_modules(_architecture(name), _PLAIN)


def create_network(name: str, **options: Any) -> nn.Module:
    """Make a network of timm with random weights.

    Args:
        name: ``timm:`` and a name of timm, with or without the tag of its weights, which decides how images are normalised.
        options: What the network is made with besides, such as ``output_stride``.

    Raises:
        UsageError: timm is not installed, knows no such network or tag, or makes it without these options.
    """
    timm = _known(name)
    try:
        return timm.create_model(name.removeprefix(PREFIX), pretrained=False, **options)
    except RuntimeError as error:
        if "Invalid pretrained tag" not in str(error):
            raise
        tags = [known for known in timm.list_pretrained(_architecture(name)) if "." in known]
        raise UsageError(
            f"backbone {name}: timm {timm.__version__} knows no such weights.{suggestion(name, [PREFIX + t for t in tags])}"
        ) from error
    except (TypeError, AssertionError, NotImplementedError) as error:
        if not options:
            raise
        asked = ", ".join(f"{option.replace('_', ' ')} {value}" for option, value in options.items())
        raise UsageError(
            f"backbone {name}: timm {timm.__version__} does not make it with {asked}. "
            "Take its own stride, --output-stride 32, or another network."
        ) from error


def published_weights(name: str) -> dict[str, str]:
    """Tell where the weights of a network are published that its name, or the tag behind it, stands for.

    Returns:
        ``repository`` on the Hugging Face hub and ``licence``, as far as timm knows them.

    Raises:
        UsageError: timm is not installed, or knows no such network.
    """
    config = _known(name).get_pretrained_cfg(name.removeprefix(PREFIX), allow_unregistered=True)
    found = {} if config is None else {"repository": config.hf_hub_id, "licence": config.license}
    return {key: value for key, value in found.items() if value}


def _known(name: str) -> ModuleType:
    """Load timm, and demand that it knows a network."""
    timm = _load()
    if not timm.is_model(name.removeprefix(PREFIX)):
        names = [PREFIX + known for known in timm.list_models()]
        begun = [known for known in names if known.startswith(name)][:2] if name != PREFIX else []
        near = f" Did you mean {' or '.join(map(repr, begun))}?" if begun else suggestion(name, names, listed="", count=2)
        raise UsageError(
            f"backbone {name}: timm {timm.__version__} knows no network of that name.{near} "
            """All of one kind: python -c "import timm; print(timm.list_models('*dinov2*'))\""""
        )
    return timm


def _load() -> ModuleType:
    """Load timm, which imports torchvision."""
    from labelseg.models.torchvision_shim import torchvision  # noqa: F401

    try:
        import timm
    except ImportError as error:
        raise UsageError(f"backbone {PREFIX}NAME needs timm ({error}). Run: pip install labelseg[timm]") from error
    if tuple(int(part) for part in timm.__version__.split(".")[:3] if part.isdecimal()) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise UsageError(
            f"backbone {PREFIX}NAME: expected timm {oldest} or later, found {timm.__version__}. Run: pip install --upgrade labelseg[timm]"
        )
    return timm


def _architecture(name: str) -> str:
    """Leave out the tag of the weights."""
    return name.removeprefix(PREFIX).partition(".")[0]
