"""``labelseg.toml``: which instances stand in a workspace, and with which parameters.

A value comes from the first of: what is given on the call, ``LABELSEG_<STAGE>__<NAME>__<PARAM>``, the table
``[stage.name]``, ``LABELSEG_<STAGE>__<PARAM>``, the table ``[stage]``, the default of the stage.
So the environment wins over the file, and what is said of an instance wins over what is said of its stage.
"""

from __future__ import annotations

import logging
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from labelseg.errors import UsageError
from labelseg.file_kinds import odd_kind, read_file
from labelseg.pipeline.declare.stage import AUTO, Follow, Stage, is_effective, names_path
from labelseg.pipeline.declare.store_url import StoreUrl, read_store
from labelseg.pipeline.declare.values import declared_fields, former_names, read_value
from labelseg.pipeline.instances import instance_parts, is_named, join_instance, run_command, stage_of, table_of
from labelseg.suggestions import suggestion

logger = logging.getLogger(__name__)

FILE_NAME = "labelseg.toml"
PREFIX = "LABELSEG_"
DEEP_KEY = re.compile(r"""^\s*\[*\s*(?:["']?[\w-]+["']?\s*\.\s*){64}""", re.MULTILINE)
DEFAULT_SPLIT = "train"
PLAIN_TABLES = ("data", "run", "evaluate", "store")


@dataclass(frozen=True)
class Config:
    """The configuration of a workspace.

    Attributes:
        path: The toml file.
        tables: Its content.
        stages: Name -> stage, in the order of the pipeline.
        environ: (stage, name of the instance or "") -> parameter -> text.
    """

    path: Path
    tables: Mapping[str, Any]
    stages: Mapping[str, Stage]
    environ: Mapping[tuple[str, str], Mapping[str, str]]

    @classmethod
    def load(cls, root: Path, stages: Iterable[Stage], environ: Mapping[str, str] | None = None) -> Config:
        """Read ``labelseg.toml`` of a workspace.

        Args:
            root: Folder of the workspace.
            stages: All stages there are, in order.
            environ: Environment to take values from; None is that of the process.

        Raises:
            UsageError: no such file, no valid toml, an unknown table, key or environment variable, or a wrong value.
        """
        path = Path(root) / FILE_NAME
        if kind := odd_kind(path):
            raise UsageError(f"{path}: expected a toml file, found {kind}.")
        try:
            text = read_file(path).decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
            if DEEP_KEY.search(text):  # reading it takes time as the square of its length
                raise RecursionError
            tables = tomllib.loads(text)
        except FileNotFoundError as error:
            raise UsageError(f"{root} is no workspace: it has no {FILE_NAME}. Run: labelseg init, or name one with -C DIR.") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"{path} is not valid toml: {error}.") from error
        except RecursionError as error:
            raise UsageError(f"{path} is nested too deeply to be read. Write lists of plain values.") from error
        except OSError as error:
            raise UsageError(
                f"{path} cannot be read: {(error.strerror or str(error)).lower()}. See that it can, then try again."
            ) from error
        config = cls.from_tables(path, tables, stages, os.environ if environ is None else environ)
        for line in config.former():
            logger.warning(line)
        return config

    @classmethod
    def from_tables(cls, path: Path, tables: Mapping[str, Any], stages: Iterable[Stage], environ: Mapping[str, str]) -> Config:
        """Check the content of a toml file and every value in it, and return the configuration."""
        by_name = {stage.name: stage for stage in stages}
        config = cls(path, tables, by_name, {})
        if (place := _with_nul(tables)) is not None:
            raise UsageError(f"{path.name} {place}: expected text, got one with the character of code 0, which no name has. Remove it.")
        for name, table in tables.items():
            if name not in by_name and name not in PLAIN_TABLES:
                raise UsageError(f"{path.name}: unknown table [{name}].{suggestion(name, [*by_name, *PLAIN_TABLES])}")
            if not isinstance(table, dict):
                raise UsageError(f"{path.name}: expected a table [{name}], got the value {table!r}.")
        for key, value in config.run.items():
            if key in ("target", "split") and not isinstance(value, str):
                raise UsageError(f"{path.name} [run] {key}: expected a name, got {value!r}.")
        read_store(config.tables.get("store", {}), path.name)
        config = replace(config, environ=_read_environ(config, environ))
        for instance in config.instances():
            config.params(instance)
        return config

    @property
    def data(self) -> dict[str, Any]:
        """The table that says where images, labels and masks lie."""
        return self.tables.get("data", {})

    @property
    def run(self) -> dict[str, Any]:
        """The table with what ``labelseg run`` brings up to date: ``target`` and ``split``."""
        return self.tables.get("run", {})

    @property
    def evaluate(self) -> dict[str, Any]:
        """The table of the evaluation."""
        return self.tables.get("evaluate", {})

    @property
    def store(self) -> StoreUrl | None:
        """The object store that artifacts are shared by; None where there is none."""
        return read_store(self.tables.get("store", {}), self.path.name)

    def split_of(self, instance: str) -> str:
        """Name the split that a map works on where none is given: that of ``[run]`` for its target, else its stage's, or ``train``."""
        split = self.run.get("split") if instance == self.run.get("target") else None
        stage = self.stages.get(stage_of(instance))
        return split or (stage.home if stage is not None else "") or DEFAULT_SPLIT

    def instances(self) -> list[str]:
        """List every plain stage and every named instance that has a table, in the order of the stages."""
        return [join_instance(stage.name, name) for stage in self.stages.values() for name in ("", *self._named(stage))]

    def stage(self, instance: str) -> Stage:
        """Find the stage of an instance.

        Raises:
            UsageError: there is no such stage, or the instance has no table.
        """
        name, suffix = instance_parts(instance)
        if name not in self.stages:
            raise UsageError(f"'{instance}' is no stage.{suggestion(name, self.stages)}")
        if suffix not in ("", *self._named(self.stages[name])):
            near = suggestion(instance, self.instances())
            making = run_command(instance, numbered=self.stages[name].numbered)
            raise UsageError(f"'{instance}' has no table [{table_of(instance)}] in {FILE_NAME}.{near} To make it: {making}")
        if is_named(instance) and not suffix:
            raise UsageError(f"'{instance}': expected a name after '@'. Write '{name}' for the stage itself.")
        return self.stages[name]

    def command(self, instance: str, split: str = "", *, force: bool = False, retrain: bool = False, unsaved: bool = False) -> str:
        """Write the command that brings an instance up to date; see ``run_command``. A model works on no split, so none is named."""
        stage = self.stages.get(stage_of(instance))
        there = "" if stage is not None and stage.kind == "model" else split
        numbered = stage.numbered if stage is not None else ""
        return run_command(instance, there, numbered=numbered, force=force, retrain=retrain, unsaved=unsaved)

    def params(self, instance: str, overrides: Mapping[str, Any] | None = None) -> Any:
        """Make the parameters of an instance.

        Args:
            instance: ``cam`` or ``cam@wide``.
            overrides: Parameter -> value that wins over file and environment.

        Returns:
            An instance of the stage's ``params``, every value checked and of its declared type.

        Raises:
            UsageError: an unknown instance or parameter, or a wrong value.
        """
        stage = self.stage(instance)
        values = {key: value for key, (value, _) in self.given(instance).items()}
        for given, value in (overrides or {}).items():
            key = former_names(stage).get(given, given)
            where = f"{instance} --{key.replace('_', '-')}"
            values[key] = read_value(stage, key, value, where)
            self._demand_path(stage, key, values[key], where)
        number = _number(stage, instance)
        if number is not None and values[stage.numbered] != number:
            raise UsageError(f"{instance}: its {stage.numbered} is {values[stage.numbered]}, but its name says {number}.")
        return self._followed(stage.params(**values))

    def _demand_path(self, stage: Stage, name: str, value: Any, where: str) -> None:
        """Refuse the path of a file or a folder that is not there: a value that is given now, and not one that was written once."""
        declared = declared_fields(stage)[name][0]
        if not names_path(declared) or not value or value in declared.metadata.get("words", ()):
            return
        path, wanted = self.path.parent / value, "file" if declared.metadata.get("file") else "folder"
        if not (path.is_file() if wanted == "file" else path.is_dir()):
            words = "".join(f", or {word}" for word in declared.metadata.get("words", ()))
            found = "there is none" if not path.exists() else f"it is a {'folder' if wanted == 'file' else 'file'}"
            raise UsageError(f"{where} {value}: expected the path of a {wanted}{words}; {found}.")

    def _followed(self, params: Any) -> Any:
        """Put what each ``auto`` stands for in its place; an instance that is not there, or not read, decides nothing."""
        stands = {}
        by_name = {declared.name: declared for declared in fields(params)}
        for declared in by_name.values():
            follow: Follow | None = declared.metadata.get("follows")
            if follow is not None and getattr(params, declared.name) == AUTO:
                read = getattr(params, follow.source)
                there = read in self.instances() and is_effective(by_name[follow.source], params)
                value = getattr(self.params(read), follow.param, "") if there else ""
                stands[declared.name] = follow.values.get(value, follow.otherwise)
        return replace(params, **stands)

    def shared(self, instance: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Pick the values that hold for the whole chain, where the instance is a link of one."""
        stage = self.stage(instance)
        if _number(stage, instance) is None:
            return {}
        return {name: value for name, value in values.items() if declared_fields(stage)[name][0].metadata.get("shared")}

    def former(self) -> list[str]:
        """Tell of each former name of a parameter in the file and the environment: one line, with the name to write instead."""
        lines = []
        for instance in self.instances():
            stage, (_, suffix) = self.stage(instance), instance_parts(instance)
            names = former_names(stage)
            renamed = [(f"{self.path.name} [{table_of(instance)}] {key}", key) for key in self._table(stage, suffix)]
            renamed += [(_variable(stage.name, suffix, key), key) for key in self.environ.get((stage.name, suffix), {})]
            lines += [f"{where} is called {names[key]} now; the old name is read as well." for where, key in renamed if key in names]
        return lines

    def given(self, instance: str) -> dict[str, tuple[Any, str]]:
        """Map each parameter of an instance that the file or the environment sets to its value and to where that stands.

        Raises:
            UsageError: an unknown instance or parameter, or a wrong value.
        """
        stage = self.stage(instance)
        _, suffix = instance_parts(instance)
        found: dict[str, tuple[Any, str]] = {}
        if (number := _number(stage, instance)) is not None:
            found[stage.numbered] = number, "the name"
        for name in dict.fromkeys(("", suffix)):
            table = f"{self.path.name} [{table_of(join_instance(stage.name, name))}]"
            for key, (value, old) in _by_todays_names(stage, self._table(stage, name), table).items():
                found[key] = read_value(stage, key, value, f"{table} {old}"), table
            for key, (text, old) in _by_todays_names(stage, self.environ.get((stage.name, name), {}), "the environment").items():
                variable = _variable(stage.name, name, old)
                found[key] = read_value(stage, key, text, variable), variable
        return found

    def own(self, instance: str) -> dict[str, str]:
        """Map each parameter that is set for this very instance, and not for its whole stage, to where that stands."""
        common = self.given(stage_of(instance))
        return {name: where for name, (_, where) in self.given(instance).items() if name not in common or common[name][1] != where}

    def with_instance(self, instance: str) -> Config:
        """Return a configuration in which an instance exists, with an empty table if it had none."""
        name, suffix = instance_parts(instance)
        if not suffix or name not in self.stages or suffix in self._named(self.stages[name]):
            return self
        if suffix in declared_fields(self.stages[name]) or suffix in former_names(self.stages[name]):
            raise UsageError(f"'{instance}': '{suffix}' is a parameter of {name}. Choose another name.")
        table = {**self.tables.get(name, {}), suffix: {}}
        return replace(self, tables={**self.tables, name: table})

    def _named(self, stage: Stage) -> list[str]:
        """List the names of the instances of a stage: the tables within its table, and in a chain all numbers up to the highest."""
        names = self._inner_tables(stage)
        if not stage.numbered:
            return names
        linked = [other for other in self.stages.values() if other is stage or (stage.chain and other.chain == stage.chain)]
        highest = max((int(name) for other in linked for name in self._inner_tables(other) if name.isdecimal()), default=stage.first - 1)
        return list(dict.fromkeys((*map(str, range(stage.first, highest + 1)), *names)))

    def _inner_tables(self, stage: Stage) -> list[str]:
        """List the tables within the table of a stage."""
        return [key for key, value in self.tables.get(stage.name, {}).items() if isinstance(value, dict)]

    def _table(self, stage: Stage, name: str) -> dict[str, Any]:
        """Return what is written for a stage itself or for one named instance of it."""
        table = self.tables.get(stage.name, {})
        if name:
            return table.get(name, {})
        return {key: value for key, value in table.items() if not isinstance(value, dict)}


def require_run_target(config: Config) -> str:
    """Return the instance that ``labelseg run`` brings up to date.

    Raises:
        UsageError: the file names none.
    """
    target = config.run.get("target")
    if not isinstance(target, str) or not target:
        raise UsageError(f'{config.path}: expected [run] target = "STAGE". Add it, or run one stage: labelseg STAGE.')
    return target


def _number(stage: Stage, instance: str) -> int | None:
    """Read the place in a chain that the name of an instance tells."""
    name = instance_parts(instance)[1]
    return int(name) if stage.numbered and name.isdecimal() else None


def _by_todays_names(stage: Stage, values: Mapping[str, Any], where: str) -> dict[str, tuple[Any, str]]:
    """Map the name that each parameter has to its value and to the name it was given by.

    Raises:
        UsageError: a parameter is given by both its names.
    """
    names = former_names(stage)
    found: dict[str, tuple[Any, str]] = {}
    for given, value in values.items():
        name = names.get(given, given)
        if name in found:
            raise UsageError(f"{where}: {name} of {stage.name} is given twice, also by its former name. Leave one out.")
        found[name] = value, given
    return found


def _variable(stage: str, name: str, key: str) -> str:
    """Spell the environment variable of a parameter."""
    return PREFIX + "__".join(part.replace("-", "_").upper() for part in (stage, name, key) if part)


def _with_nul(value: Any, place: str = "") -> str | None:
    """Name the place of the first text with a character of code 0, of which systems make errors that name nothing; None without one."""
    if isinstance(value, str):
        return place if "\0" in value else None
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = (_with_nul(one, f"{place}.{name}".lstrip(".")) or ("a key" if "\0" in str(name) else None) for name, one in inner)
    return next((name for name in found if name is not None), None)


def _read_environ(config: Config, environ: Mapping[str, str]) -> dict[tuple[str, str], dict[str, str]]:
    """Collect the variables that name a parameter; other variables with the prefix have no ``__`` and are left alone."""
    known = {
        _variable(stage.name, name, key): (stage.name, name, key)
        for stage in config.stages.values()
        for name in ("", *config._named(stage))
        for key in (*declared_fields(stage), *former_names(stage))
    }
    found: dict[tuple[str, str], dict[str, str]] = {}
    for variable, text in environ.items():
        if not variable.startswith(PREFIX) or "__" not in variable:
            continue
        if variable not in known:
            raise UsageError(f"environment variable {variable} names no parameter.{suggestion(variable, known)}")
        stage, name, key = known[variable]
        found.setdefault((stage, name), {})[key] = text
    return found
