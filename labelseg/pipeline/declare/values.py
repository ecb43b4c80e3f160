"""Values of parameters: read from text, checked against what a stage declares."""

from __future__ import annotations

import math
import types
from dataclasses import Field, fields
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from labelseg.errors import UsageError
from labelseg.pipeline.declare.stage import Stage
from labelseg.suggestions import suggestion

_TRUE = {"true", "yes", "on", "1"}
_FALSE = {"false", "no", "off", "0"}
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


@cache
def declared_fields(stage: Stage) -> dict[str, tuple[Field, Any]]:
    """Map the name of each parameter of a stage to its declaration and its type."""
    hints = get_type_hints(stage.params)
    return {f.name: (f, hints[f.name]) for f in fields(stage.params)}


@cache
def former_names(stage: Stage) -> dict[str, str]:
    """Map the former name of each renamed parameter of a stage to the name it has."""
    return {f.metadata["formerly"]: f.name for f in fields(stage.params) if f.metadata.get("formerly")}


def read_value(stage: Stage, name: str, value: object, where: str) -> Any:
    """Check one value of a parameter and bring it to its declared type; text is read as that type.

    Args:
        stage: The stage that declares the parameter.
        name: Name of the parameter.
        value: From toml, the environment, a command line or Python.
        where: Subject of an error message, such as ``labelseg.toml [cam] scales``.

    Raises:
        UsageError: the parameter does not exist, or the value has the wrong type or lies outside its bounds.
    """
    known = declared_fields(stage)
    if name not in known:
        raise UsageError(f"{where}: {stage.name} has no parameter '{name}'.{suggestion(name, known)}")
    declared, kind = known[name]
    result = _convert(value, kind, where)
    if isinstance(result, tuple):
        _check_length(result, declared, kind, where)
    _check_bounds(result, declared, where)
    return result


def listed_choices(declared: Field) -> tuple[str, ...]:
    """List the choices of a parameter as they are shown: the values it may have, then how others look; empty where all is open."""
    choices, beyond = declared.metadata.get("choices") or (), declared.metadata.get("beyond")
    return (*choices, beyond) if beyond else tuple(choices)


def _lies_beyond(value: Any, declared: Field) -> bool:
    """Whether a value has the form of those beyond the choices."""
    start, colon, _ = (declared.metadata.get("beyond") or "").partition(":")
    return bool(colon) and isinstance(value, str) and value.startswith(start + colon) and len(value) > len(start + colon)


def _convert(value: object, kind: Any, where: str) -> Any:
    """Bring a value to a type: bool, int, float, str, a tuple of one of these, or one of these or None."""
    if get_origin(kind) in (Union, types.UnionType):
        inner = next(arg for arg in get_args(kind) if arg is not type(None))
        return None if value is None or value == "" else _convert(value, inner, where)
    if get_origin(kind) is tuple:
        element = get_args(kind)[0]
        parts = [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            raise UsageError(f"{where}: expected a list of {_WORDS[element]}, got {value!r}.")
        return tuple(_convert(part, element, where) for part in parts)
    result = _parse(value, kind) if isinstance(value, str) and kind is not str else value
    if kind is float and isinstance(result, int) and not isinstance(result, bool):
        result = float(result)
    # type() and not isinstance: True is no whole number here. str of a toml document is a subclass of str.
    if type(result) is not kind and not (kind is str and isinstance(result, str)):
        raise UsageError(f"{where}: expected {_WORDS[kind]}, got {value!r}.")
    if isinstance(result, float) and not math.isfinite(result):
        raise UsageError(f"{where}: expected a finite number, got {value!r}.")
    return str(result) if kind is str else result


def _parse(text: str, kind: type) -> object:
    """Read text as a bool, int or float; return the text where it is none."""
    if kind is bool:
        word = text.strip().lower()
        return True if word in _TRUE else False if word in _FALSE else text
    try:
        return kind(text)
    except ValueError:
        return text


def _check_bounds(value: Any, declared: Field, where: str) -> None:
    """Compare a value, or each one of a tuple, with the choices and the bounds of its declaration."""
    choices = declared.metadata.get("choices")
    low, high, multiple = (declared.metadata.get(name) for name in ("minimum", "maximum", "multiple"))
    for single in value if isinstance(value, tuple) else (value,):
        if single is None:
            continue
        if choices is not None and single not in choices and not _lies_beyond(single, declared):
            near = suggestion(str(single), choices, listed="")
            listed = ", ".join(listed_choices(declared))
            raise UsageError(f"{where}: expected one of {listed}, got {single!r}.{near}")
        if low is not None and single < low:
            raise UsageError(f"{where}: expected at least {low}, got {single}.")
        if high is not None and single > high:
            raise UsageError(f"{where}: expected at most {high}, got {single}.")
        if multiple is not None and single % multiple:
            raise UsageError(f"{where}: expected a multiple of {multiple}, got {single}.")


def _check_length(values: tuple[Any, ...], declared: Field, kind: Any, where: str) -> None:
    """Refuse a list of another length than its type has, an empty one in place of another, or two numbers, which are a range, that fall."""
    length = 0 if Ellipsis in get_args(kind) else len(get_args(kind))
    usual: Any = declared.default
    example = ",".join(map(str, usual))
    if not values and usual:
        raise UsageError(f"{where}: expected at least one value, such as {usual[0]}, got none.")
    if length and len(values) != length:
        raise UsageError(f"{where}: expected {length} values such as {example}, got {len(values)}.")
    if length == 2 and values[0] > values[1]:
        raise UsageError(f"{where}: expected a range such as {example}, got {values[0]} before {values[1]}.")
