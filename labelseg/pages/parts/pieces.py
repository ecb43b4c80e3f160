"""Templates and files of the pages, and data in them. What comes from outside is escaped: names of classes and images may be anything."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

_UNSAFE = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def page_file(name: str, package: str = "labelseg.pages.parts") -> str:
    """Read a file of the pages, ``files/NAME`` of a package."""
    return (resources.files(package) / "files" / name).read_text(encoding="utf-8")


def render(template: str, values: Mapping[str, Any], package: str = "labelseg.pages.parts") -> str:
    """Fill in a template; one that it includes or imports may be of ``labelseg.pages.parts`` as well.

    Raises:
        UndefinedError: the template names what is not given.
    """
    return _environment(package).get_template(template).render(values)


def embedded_json(values: Any) -> Markup:
    """Write JSON that may stand within a script element: nothing in it can end that."""
    return Markup(json.dumps(values, allow_nan=False, separators=(",", ":")).translate(_UNSAFE))


def script_hash(text: str) -> str:
    """Name a script by its content, as a content security policy does."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def data_address(content: bytes, kind: str) -> str:
    """Write content as an address that holds it."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


@cache
def _environment(package: str) -> Environment:
    """Templates of a package, and behind them those that all share; everything filled in is escaped."""

    def load(name: str) -> str | None:
        for place in (package, "labelseg.pages.parts"):
            if (resources.files(place) / "files" / name).is_file():
                return page_file(name, place)
        return None

    return Environment(loader=FunctionLoader(load), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
