"""The form of what records hold beside plain fields: recipes, what belongs to a model, and which items failed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TEXTS, TABLES = ("stage",), ("params", "splits", "sources", "inputs")
NAMED = ("splits", "inputs")  # tables whose values are texts


def recipe_problem(recipe: Any) -> str:
    """Say what is wrong with the form of a recipe from a record; empty where nothing is. What is left out is no fault of form.

    Args:
        recipe: JSON.
    """
    if not isinstance(recipe, dict):
        return "a recipe is no table"
    for names, kind in ((TEXTS, str), (TABLES, dict), (("classes",), list)):
        for name in names:
            if not isinstance(recipe.get(name, kind()), kind):
                return f"'{name}' of a recipe is of another type"
    if type(recipe.get("version", 0)) is not int:
        return "'version' of a recipe is no whole number"
    if not all(isinstance(name, str) for name in recipe.get("classes", ())):
        return "'classes' of a recipe are no names"
    for name in NAMED:
        if not all(isinstance(value, str) for value in recipe.get(name, {}).values()):
            return f"'{name}' of a recipe are no texts"
    for source in recipe.get("sources", {}).values():
        if not (isinstance(source, dict) and isinstance(source.get("instance"), str)):
            return "a source of a recipe names no instance"
        if (inner := source.get("recipe")) is not None and (problem := recipe_problem(inner)):
            return problem
    return ""


def meta_problem(meta: Mapping[str, Any]) -> str:
    """Say what is wrong with the form of what a manifest holds of a model; empty where nothing is, and for a map, which has none of it."""
    if "metrics" in meta and "model" not in meta:
        return "it has the metrics of a model and no model"
    metrics, curves, rows = (meta.get(name, usual) for name, usual in (("metrics", {}), ("curves", []), ("rows", {})))
    tables = [meta.get("model", {}), metrics, rows]
    tables += [metrics[name] for name in ("last", "best") if name in metrics] if isinstance(metrics, dict) else []
    if not all(isinstance(table, dict) for table in tables):
        return "what it says of a model is no table"
    if not (isinstance(curves, list) and all(isinstance(record, dict) for record in curves)):
        return "the curves of a model are no tables"
    if not all(isinstance(listed, list) and all(map(_is_row, listed)) for listed in rows.values()):
        return "what a model learned from is no list of images"
    return ""


def failed_problem(failed: Any) -> str:
    """Say what is wrong with the form of a list of failed items; empty where nothing is."""
    named = (isinstance(row, dict) and all(isinstance(row.get(name), str) for name in ("id", "error")) for row in failed)
    return "" if all(named) else "a failed item has no id or no error"


def _is_row(row: Any) -> bool:
    """Whether a value is the id of an image and a digest."""
    return isinstance(row, list) and len(row) == 2 and all(isinstance(text, str) for text in row)
