"""Records on disk: dataclasses as plain JSON with a seal, one field a line so that a person finds the way in it."""

from __future__ import annotations

import json
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

from labelseg.errors import ArtifactError, DamageError
from labelseg.file_kinds import read_file
from labelseg.pipeline.files.seals import BLANK, intact_seal, seal

FORMAT = 2
UNSEALED = 1  # the format before there were seals: what it says of itself is checked as far as that goes
TYPES: dict[str, type | tuple[type, ...]] = {"str": str, "int": int, "float": (int, float), "dict": dict, "list": list}


def repair(stage: str) -> str:
    """Say how damage in what a stage has made is repaired, whichever instance and split it is in."""
    return f"Repair: labelseg verify --repair {stage}"


def to_json(record: Any, form: int = FORMAT, **instead: Any) -> bytes:
    """Write a record; the seal, its last field, is filled in.

    Args:
        record: A dataclass.
        form: Number of the format; fields that are newer than that are left out.
        **instead: Values to write in place of those of fields.
    """
    values = {f.name: getattr(record, f.name) for f in fields(record) if _since(f) <= form}
    values |= {**instead, "format": form, "seal": BLANK}
    lines = (f"{json.dumps(name)}: {json.dumps(value, separators=(',', ':'), allow_nan=False)}" for name, value in values.items())
    return seal(("{\n" + ",\n".join(lines) + "\n}\n").encode("ascii"))


def read_record(path: Path, record: type, stage: str) -> dict[str, Any] | None:
    """Read the fields of a record; None when there is no file.

    Args:
        path: Of the file.
        record: Dataclass whose fields it holds; those whose metadata say ``since`` are newer than the first format.
        stage: Stage that it belongs to, for the message.

    Raises:
        ArtifactError: the file cannot be read at this moment.
        DamageError: it is not what was written, or of another format.
    """
    try:
        data = read_file(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}. See that it can, then try again.") from error
    newest = max(FORMAT, *map(_since, fields(record)))
    try:
        values = json.loads(data)
        found = values["format"]
        if found in range(FORMAT, newest + 1) and not isinstance(found, bool):
            intact_seal(data)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamageError(f"{path} is damaged: {error or type(error).__name__}. {repair(stage)}") from error
    if found not in range(UNSEALED, newest + 1) or isinstance(found, bool):
        raise DamageError(f"{path} is format {found}, expected {newest}. {repair(stage)}")
    expected = {f.name: f for f in fields(record) if _since(f) <= found}
    if values.keys() != expected.keys():
        odd = sorted(values.keys() ^ expected.keys())
        raise DamageError(f"{path} is damaged: fields {odd} are missing or unknown. {repair(stage)}")
    for name, value in values.items():
        if not _fits(value, expected[name]):
            raise DamageError(f"{path} is damaged: {name} is of another type. {repair(stage)}")
    return values


def _since(field: Field[Any]) -> int:
    """Number of the first format that has a field."""
    return int(field.metadata.get("since", UNSEALED))


def _fits(value: Any, field: Field[Any]) -> bool:
    """Whether a value has the type that a field declares."""
    return isinstance(value, TYPES[str(field.type).partition("[")[0]]) and not isinstance(value, bool)
