"""``labelseg config``."""

from __future__ import annotations

import tomllib
from typing import Any

import click

from labelseg.commands.context import Invocation, no_wait, pass_invocation, talk, tell
from labelseg.commands.tables import format_table
from labelseg.commands.workspace_file import located, toml_value
from labelseg.errors import UsageError
from labelseg.pipeline.declare.config import PLAIN_TABLES, Config
from labelseg.pipeline.declare.stage import names_path
from labelseg.pipeline.declare.store_url import STORE_KEYS, parse_url
from labelseg.pipeline.declare.values import declared_fields, former_names
from labelseg.pipeline.files.locks import workspace_lock
from labelseg.pipeline.instances import join_instance, stage_of, table_of
from labelseg.suggestions import suggestion

RUN_KEYS = ("target", "split")
EVALUATE_KEYS = ("threshold",)


@click.command()
@click.argument("key", required=False)
@click.argument("value", required=False)
@click.option("--unset", is_flag=True, help="Remove the key from labelseg.toml and go back to the default.")
@no_wait
@pass_invocation
def config(invocation: Invocation, key: str | None, value: str | None, unset: bool) -> None:
    """Show the configuration and where each value comes from, or set one value.

    KEY is like propagate.beta, propagate.NAME.beta for the instance propagate@NAME, data.labels or run.target; without its
    last part it shows a whole table.
    """
    if value is None and not unset:
        known = invocation.config()
        tell(_table(known, None if key is None else _todays(known, key)))
        return
    if key is None or (value is not None and unset):
        raise UsageError("config: give a KEY and a VALUE, or a KEY and --unset.")
    workspace = invocation.workspace()
    key = _todays(workspace.config, key)
    with workspace_lock(workspace.folder, "labelseg config", invocation.wait):
        table, name = _address(workspace.config, key)
        workspace.write_config(table, {name: None if value is None else _checked(invocation, workspace.config, table, name, value)})
    talk(f"{workspace.config.path}: {key} {'is back to its default' if unset else f'= {value}'}")


def rows_of(config: Config) -> list[tuple[str, str, str]]:
    """List every value there is: key, value, and where it comes from."""
    rows = [
        (f"{table}.{key}", toml_value(value), config.path.name)
        for table in PLAIN_TABLES
        for key, value in config.tables.get(table, {}).items()
    ]
    for instance in config.instances():
        given = config.given(instance)
        params = config.params(instance)
        for name in declared_fields(config.stage(instance)):
            origin = given[name][1] if name in given else "default"
            rows.append((f"{table_of(instance)}.{name}", toml_value(getattr(params, name)), origin))
    return rows


def _table(config: Config, key: str | None) -> str:
    """Write the values whose keys begin with ``key``."""
    rows = rows_of(config)
    start = table_of(key or "")
    chosen = [row for row in rows if not start or row[0] == start or row[0].startswith(f"{start}.")]
    if not chosen:
        if start in (settable := _plain_keys()):
            return f"{start} is not set; the default: {settable[start]}."
        raise UsageError(f"config: no key is called '{key}'.{suggestion(start, [*settable, *(row[0] for row in rows)], listed='')}")
    return format_table(("KEY", "VALUE", "FROM"), chosen)


def _plain_keys() -> dict[str, str]:
    """List the keys that are no parameters of stages and can be set, with what holds where they are not."""
    from labelseg.data.dataset import KEYS

    run = {"run.target": "none, so a run needs the name of a stage", "run.split": "that of the target's stage, or train"}
    unset = {"long_side": "images are worked on at the size of their files", "label_map": "masks hold class ids"}
    data = {**dict.fromkeys(KEYS, "none"), **unset}
    evaluate = {"evaluate.threshold": "the best on the scored images"}
    return {
        **{f"data.{key}": default for key, default in data.items()},
        **run,
        **evaluate,
        **{f"store.{key}": "none" for key in STORE_KEYS},
    }


def _todays(config: Config, key: str) -> str:
    """Return a key with the name that its parameter has today, and say so where it was given by a former one."""
    table, _, name = table_of(key).rpartition(".")
    stage = config.stages.get(table.partition(".")[0])
    today = former_names(stage).get(name) if stage is not None else None
    if today is None:
        return key
    talk(f"{table}.{name} is called {table}.{today} now.")
    return f"{table}.{today}"


def _address(config: Config, key: str) -> tuple[str, str]:
    """Split ``propagate.b16.beta`` into the instance ``propagate@b16`` and the parameter ``beta``."""
    parts = table_of(key).split(".")
    if len(parts) not in (2, 3) or not all(parts):
        raise UsageError(f"config: expected a key such as propagate.beta or run.target, got '{key}'.")
    table = join_instance(parts[0], parts[1] if len(parts) == 3 else "")
    if table not in PLAIN_TABLES:
        stages = config.stages
        if stage_of(table) not in stages:
            raise UsageError(f"config: there is no table [{parts[0]}].{suggestion(parts[0], [*stages, *PLAIN_TABLES])}")
    return table, parts[-1]


def _checked(invocation: Invocation, config: Config, table: str, key: str, text: str) -> Any:
    """Read a value from the command line and check it; those of stages are checked where they are written."""
    if table not in PLAIN_TABLES:
        declared = declared_fields(config.stages[stage_of(table)])
        return located(invocation.root, text) if key in declared and names_path(declared[key][0]) else text
    value = _read(text)
    if table == "data":
        return _checked_data(invocation, config, key, value)
    known = {"run": RUN_KEYS, "evaluate": EVALUATE_KEYS, "store": STORE_KEYS}[table]
    if key not in known:
        raise UsageError(f"config: [{table}] has no key '{key}'.{suggestion(key, known)}")
    if table == "store":
        return str(parse_url(value, "config: store.url"))
    if key == "target":
        config.stage(str(value))
    return value


def _checked_data(invocation: Invocation, config: Config, key: str, value: Any) -> Any:
    """Check that the data can be opened with a new value."""
    from labelseg.data.dataset import PATH_KEYS
    from labelseg.workspace import open_data

    if isinstance(value, str) and (key in PATH_KEYS or key == "classes"):
        value = located(invocation.root, value)
    dataset = open_data(invocation.root, {**config.data, key: value})
    for split in dataset.splits():
        for image_id in dataset.ids(split)[:1]:
            dataset.has(image_id, "tags")
            dataset.has(image_id, "mask")
    return value


def _read(text: str) -> Any:
    """Read text as a toml value; anything else is text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
