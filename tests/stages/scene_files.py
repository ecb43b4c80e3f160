"""Settings for scenes that are written as files."""

from __future__ import annotations

from collections.abc import Mapping


def data_table(table: Mapping[str, str]) -> str:
    """The table [data] as text, of what ``write_scenes`` returns."""
    return "[data]\n" + "".join(f'{key} = "{value}"\n' for key, value in table.items())
