"""Writing ``labelseg.toml``: one table at a time, in one step, with the comments kept."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

import tomlkit
from tomlkit.items import Comment, Table, Whitespace

from labelseg.errors import UsageError
from labelseg.pipeline.declare.config import PLAIN_TABLES, Config
from labelseg.pipeline.declare.values import former_names, read_value
from labelseg.pipeline.files.atomic import write_atomically
from labelseg.pipeline.instances import instance_parts
from labelseg.suggestions import suggestion


def write_values(config: Config, name: str, values: Mapping[str, Any]) -> Config:
    """Set values of an instance, or of one of the tables ``data``, ``run``, ``evaluate`` and ``store``, in the file.

    Args:
        config: The configuration as it was read.
        name: ``cam``, ``cam@wide`` (its table is made if need be) or ``run``.
        values: Key -> value; None removes the key, so that the default holds again.

    Returns:
        The configuration after the change. The file is written only when its text changes.

    Raises:
        UsageError: an unknown table or parameter, or a wrong value; the file is then left as it is.
    """
    if name not in PLAIN_TABLES:
        config = config.with_instance(name)
        stage = config.stage(name)
        old_names = former_names(stage)
        values = {old_names.get(key, key): value for key, value in values.items()}
        checked = config.params(name, {key: value for key, value in values.items() if value is not None})
        unknown = [key for key in values if not hasattr(checked, key)]
        if unknown:
            raise UsageError(f"{name} has no parameter '{unknown[0]}'.{suggestion(unknown[0], vars(checked))}")
        # As given and not as resolved: what stands for a value at one link of a chain stands for another one at the next.
        values = {key: None if value is None else read_value(stage, key, value, name) for key, value in values.items()}
        dropped = [old for old, new in old_names.items() if new in values]
    else:
        dropped = []
    text = config.path.read_text(encoding="utf-8")
    try:
        document = tomlkit.parse(text)
    except RecursionError as error:
        raise UsageError(f"{config.path} is nested too deeply to be written. Write lists of plain values.") from error
    table = _table(document, *instance_parts(name))
    for key in dropped:
        table.pop(key, None)
    for key, value in values.items():
        plain = list(value) if isinstance(value, tuple) else value
        if plain is None:
            table.pop(key, None)
        elif key in table:
            if table[key] != plain:
                table[key] = plain
        else:
            _add(table, key, plain)
    written = tomlkit.dumps(document)
    if not _holds(written, text, instance_parts(name), {**dict.fromkeys(dropped), **values}):
        raise UsageError(
            f"{config.path}: the way it is written leaves no place for {', '.join(values)} of {name}, so that it stays as it is. "
            f"Write values below the headers of their tables, such as [{instance_parts(name)[0]}], and not as dotted keys."
        )
    if written != text:
        write_atomically(config.path, written.encode())
    return Config(config.path, tomllib.loads(written), config.stages, config.environ)


def _holds(written: str, before: str, table: tuple[str, str], values: Mapping[str, Any]) -> bool:
    """Whether a text says what an earlier one said, but for the values of a table; None stands for none."""
    try:
        found, expected = tomllib.loads(written), tomllib.loads(before)
    except tomllib.TOMLDecodeError:
        return False
    stage, name = table
    place = expected.setdefault(stage, {})
    place = place.setdefault(name, {}) if name else place
    for key, value in values.items():
        place.pop(key, None)
        if value is not None:
            place[key] = list(value) if isinstance(value, tuple) else value
    return _without_empty(found) == _without_empty(expected)


def _without_empty(tables: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out tables that hold nothing."""
    kept = {key: _without_empty(value) if isinstance(value, Mapping) else value for key, value in tables.items()}
    return {key: value for key, value in kept.items() if value != {}}


def _add(table: Table, key: str, value: Any) -> None:
    """Add a key below the others, above the comments and blank lines that lead to the next table."""
    body = table.value.body
    end = len(body)
    while end and isinstance(body[end - 1][1], Comment | Whitespace):
        end -= 1
    tail = body[end:]
    del body[end:]
    table[key] = value
    body.extend(tail)


def _table(document: tomlkit.TOMLDocument, stage: str, name: str) -> Table:
    """Find or make the table ``[stage]`` or ``[stage.name]``; tables of a stage may stand apart, with others between them."""
    if stage not in document:
        document[stage] = tomlkit.table(is_super_table=bool(name))
    own = [item for key, item in document.body if key is not None and key.key == stage and isinstance(item, Table)]
    if not own and name:
        raise UsageError(
            f"labelseg.toml: {stage} is written in one line, {{...}}, which holds no table [{stage}.{name}]. Write it as [{stage}]."
        )
    if not own:
        return document[stage]
    if not name:
        return next((table for table in own if not table.is_super_table()), own[0])
    if holder := next((table for table in own if name in table), None):
        return holder[name]
    own[-1][name] = tomlkit.table()
    return own[-1][name]
