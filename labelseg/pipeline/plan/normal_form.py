"""Recipes recorded under an earlier declaration, brought to that of today, so that finished work is known again.

The names in a recipe are those of keys. What a stage records is complete for the declaration it was made under: parameters that have no
effect by that are left out. Since then a parameter may have been found to have none, a value may have come to stand for another one, or a
name may have changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, fields
from typing import Any

from labelseg.pipeline.declare.stage import Stage, enters_key, key_name


def normal_form(recipe: Mapping[str, Any], stages: Mapping[str, Stage]) -> dict[str, Any]:
    """Bring a recipe, and those of what it reads, to the declaration of today.

    Args:
        recipe: As a planner makes it or a manifest records it.
        stages: Name -> declaration; recipes of other stages stay as they are.

    Returns:
        The recipe with parameters, splits and sources by the names of today, values resolved as the stage resolves them, and without
        what has no effect. What the declaration does not know stays, so that it shows as a difference. Under ``resting`` it also has the
        values of the parameters that are left out of keys: those without effect, and those whose default asks for nothing.
    """
    sources = {role: _of_source(source, stages) for role, source in recipe.get("sources", {}).items()}
    stage = stages.get(recipe.get("stage", ""))
    if stage is None:
        return {**recipe, "sources": sources}
    given_params = recipe.get("params", {})
    declared = {key_name(f): f for f in fields(stage.params)}
    named = {**given_params, **recipe.get("splits", {}), **{role: source["instance"] for role, source in sources.items()}}
    try:
        params = _params(stage, declared, named)
        counting = {name: enters_key(field, params) for name, field in declared.items()}
    except (TypeError, ValueError, LookupError, ArithmeticError):  # values of other types, which show as a difference
        return {**recipe, "sources": sources}
    values = {f.name: _plain(getattr(params, f.name)) for f in declared.values()}

    def kept(given: Mapping[str, Any], resolve: bool = False) -> dict[str, Any]:
        """Rename what is given, and drop what has no effect."""
        found = {}
        for name, value in given.items():
            field = declared.get(name)
            if field is None:
                found[name] = value
            elif counting[name]:
                found[field.name] = values[field.name] if resolve else value
        return found

    resting = {f.name: values[f.name] for name, f in declared.items() if not counting[name]}
    splits = kept(recipe.get("splits", {}))
    return {**recipe, "params": kept(given_params, True), "splits": splits, "sources": kept(sources), "resting": resting}


def same_params(recipe: Mapping[str, Any], recorded: Mapping[str, Any], stages: Mapping[str, Stage]) -> bool:
    """Whether two recipes of a stage have parameters that amount to the same."""
    if (recipe.get("stage"), recipe.get("version")) != (recorded.get("stage"), recorded.get("version")) or "params" not in recorded:
        return False
    if recipe["params"] == recorded["params"]:
        return True
    now, then = ({**r, "sources": {role: {**s, "recipe": None} for role, s in r.get("sources", {}).items()}} for r in (recipe, recorded))
    return normal_form(now, stages)["params"] == normal_form(then, stages)["params"]


def _of_source(source: Mapping[str, Any], stages: Mapping[str, Stage]) -> dict[str, Any]:
    """Bring the recipe of something that is read to today's declaration, where there is one."""
    return {**source, "recipe": normal_form(source["recipe"], stages) if source.get("recipe") else None}


def _params(stage: Stage, declared: Mapping[str, Field], named: Mapping[str, Any]) -> Any:
    """Make the parameters that a recipe amounts to; a source or a split that it does not name is not read."""
    unread = {f.name: "" for f in declared.values() if "source" in f.metadata or "split" in f.metadata}
    known = {declared[name].name: tuple(value) if isinstance(value, list) else value for name, value in named.items() if name in declared}
    return stage.params(**{**unread, **known})


def _plain(value: Any) -> Any:
    """Write a value as JSON holds it."""
    return list(value) if isinstance(value, tuple) else value
