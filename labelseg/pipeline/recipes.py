"""The form of a recipe: what records say of how an artifact was made, and how what it reads was."""

from __future__ import annotations

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
