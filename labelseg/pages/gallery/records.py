"""Images, panels and classes as the script of the gallery takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from labelseg.class_ids import BACKGROUND
from labelseg.pages.gallery.panels import Panel
from labelseg.pages.parts.layers import class_colour
from labelseg.pages.parts.pieces import data_address
from labelseg.quality.kept import ImageQuality


def image_record(entry: ImageQuality, number: int, tags: list[int] | None, classes: Sequence[str]) -> dict[str, Any]:
    """Write what is known of an image.

    Args:
        entry: What was measured of it.
        number: By which it is asked for.
        tags: Ids of the classes that it is said to hold; None where that is unknown.
        classes: Class names by id.

    Returns:
        JSON values; ``classes`` are the ids of all classes that its mask, its truth or its tags name, the background left out.
    """
    ids = {name: k for k, name in enumerate(classes)}
    held = {ids[name] for name in (*entry.classes, *entry.iou) if name in ids} | set(tags or ())
    return {
        "id": entry.id,
        "number": number,
        "quality": _rounded(entry.quality),
        "agreement": _rounded(entry.agreement),
        "confidence": _rounded(entry.confidence),
        "miou": _rounded(entry.miou),
        "tags": tags,
        "classes": sorted(held - ({0} if classes[0] == BACKGROUND else set())),
        "parts": {name: {part: _rounded(value) for part, value in parts.items()} for name, parts in entry.classes.items()},
        "iou": {name: _rounded(value) for name, value in entry.iou.items()},
    }


def panel_record(panel: Panel) -> dict[str, Any]:
    """Write a panel with its pictures in it."""
    layers = [{"class": k, "source": data_address(png, "image/png")} for k, png in panel.layers]
    return {"stage": panel.stage, "layers": layers, "missing": panel.missing}


def class_list(classes: Sequence[str]) -> list[dict[str, Any]]:
    """Write classes with ids and colours, as the script of the gallery takes them; the background is none to filter by."""
    return [{"id": k, "name": name, "colour": class_colour(k)} for k, name in enumerate(classes)]


def _rounded(value: float | bool | None) -> float | bool | None:
    return round(value, 4) if isinstance(value, float) else value
