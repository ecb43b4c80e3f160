"""Files of JSON that other programs wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from labelseg.errors import DataError
from labelseg.file_kinds import read_file


def load_json(path: Path) -> Any:
    """Read a file of JSON.

    Raises:
        DataError: it cannot be read, or is something else.
    """
    try:
        return json.loads(read_file(path))
    except OSError as error:
        raise DataError(f"{path}: it cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: expected JSON: {error}.") from error


def list_of(value: Any, key: str, where: str) -> list[dict[str, Any]]:
    """Take a list of tables out of a table.

    Raises:
        DataError: there is none.
    """
    found = value.get(key) if isinstance(value, dict) else None
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise DataError(f"{where}: expected a list of tables '{key}', found none.")
    return found
