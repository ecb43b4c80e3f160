"""The parameters of the dense CRF, by the same names in every stage that runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from labelseg.pipeline.declare.stage import option


def has_crf(params: Any) -> bool:
    """Whether a stage runs the CRF: always, or where its parameter ``crf`` says so."""
    return getattr(params, "crf", True)


def has_updates(params: Any) -> bool:
    """Whether the CRF changes anything; without iterations its kernels are not asked."""
    return has_crf(params) and params.crf_iters > 0


def _compares_colours(params: Any) -> bool:
    return has_updates(params) and params.crf_weight > 0


@dataclass(frozen=True, kw_only=True)
class CrfParams:
    """Length, appearance kernel and implementation of a dense CRF."""

    crf_iters: int = option(10, help="Mean-field iterations of the dense CRF.", minimum=0, effective=has_crf)
    crf_sxy: float = option(
        50.0, help="Spatial deviation of the CRF's appearance kernel, pixels.", minimum=0.01, effective=_compares_colours, formerly="sxy"
    )
    crf_srgb: float = option(
        5.0,
        help="Colour deviation of the CRF's appearance kernel, grey levels.",
        minimum=0.01,
        effective=_compares_colours,
        formerly="srgb",
    )
    crf_weight: float = option(4.0, help="Weight of the CRF's appearance kernel.", minimum=0.0, effective=has_updates, formerly="weight")
    crf_backend: str = option(
        "native", help="Implementation of the dense CRF; pydensecrf is an extra.", choices=("native", "pydensecrf"), effective=has_crf
    )
