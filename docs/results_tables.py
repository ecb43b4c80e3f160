"""Tables of the results page: from the files in benchmarks/results to rows of numbers."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

Result = Mapping[str, Any]
Value = Callable[[Result], float | None]


def miou(name: str) -> Value:
    """Read the mIoU of a row, in percent."""

    def read(result: Result) -> float | None:
        row = result.get("miou", {}).get(name)
        value = row.get("miou") if isinstance(row, Mapping) else row
        return None if value is None else 100 * value

    return read


def miou_table(found: Sequence[Result]) -> str:
    """Write all rows of mIoU, in the order in which they were recorded."""
    rows = [[name, *numbers(values := [miou(name)(result) for result in found]), *mean(values)] for name in names(found, "miou")]
    return table(["mIoU", *heads(found), *mean_head(found)], rows)


def stage_parts(found: Sequence[Result]) -> list[str]:
    """Write items and seconds of every stage."""
    stages = names(found, "stages")
    if not stages:
        return []

    def cell(result: Result, name: str, key: str) -> str:
        row = result.get("stages", {}).get(name)
        return plain(row.get(key) if isinstance(row, Mapping) else row if key == "seconds" else None)

    def each(name: str) -> str:
        """Milliseconds an image of a map stage that computed its images itself."""
        rows = [r["stages"][name] for r in found if isinstance(r.get("stages", {}).get(name), Mapping)]
        times = [1000 * row["seconds"] / row["items"] for row in rows if row.get("items") and row.get("seconds") is not None]
        is_map = " " in name
        return plain(round(average(times) or 0)) if is_map and times and max(times) >= 1 else "-"

    rows = [
        [
            name,
            next((c for r in found if (c := cell(r, name, "items")) != "-"), "-"),
            *(cell(r, name, "seconds") for r in found),
            each(name),
        ]
        for name in stages
    ]
    return ["### Seconds", table(["stage", "items or tensors", *heads(found), "ms an image"], rows)]


def difference(one: Value, other: Value) -> Value:
    """Subtract two values of one result."""
    return lambda result: None if (a := one(result)) is None or (b := other(result)) is None else a - b


def share(one: Value, other: Value) -> Value:
    """One value as percent of another."""
    return lambda result: None if (a := one(result)) is None or not (b := other(result)) else 100 * a / b


def group_part(found: Sequence[Result], group: str, heading: str, factor: float, order: Callable[[str], Any] | None = None) -> list[str]:
    """Write a table of plain numbers, in the order in which they were recorded or in another one."""
    listed = names(found, group)
    if not listed:
        return []
    listed = sorted(listed, key=order) if order else listed
    rows = [[n, *numbers([None if (v := r.get(group, {}).get(n)) is None else factor * v for r in found])] for n in listed]
    return [heading, table(["", *heads(found)], rows)]


def bar_table(bars: Sequence[tuple[str, Value, float]], found: Sequence[Result], *, in_mean: bool = False) -> str:
    """Write what was asked for and what was reached, by every seed or in the mean."""
    rows = [bar_row(name, value, least, found, in_mean) for name, value, least in bars]
    return table(["bar", "at least", *heads(found), *mean_head(found), "reached"], rows)


def bar_row(name: str, value: Value, least: float, found: Sequence[Result], in_mean: bool) -> list[str]:
    """Write one bar: what it asks, what each seed gives, and whether it is reached."""
    values = [value(result) for result in found]
    known = [v for v in values if v is not None]
    if not known:
        reached = "-"
    elif (statistics.fmean(known) if in_mean else min(known)) < least:
        reached = "no"
    else:
        reached = "yes" if len(known) == len(values) else "so far"
    return [name, number(least), *numbers(values), *mean(values), reached]


def source(found: Sequence[Result]) -> str:
    """Write commands, commits and machines of results."""
    commands = dict.fromkeys(r["command"] for r in found if r.get("command"))
    commits = dict.fromkeys(r["commit"][:10] for r in found if r.get("commit"))
    machines = dict.fromkeys(str(r["machine"]) for r in found if r.get("machine"))
    text = "```sh\n" + "\n".join(commands) + "\n```"
    notes = [f"Commit {', '.join(commits)}." if commits else "", *(f"Machine: {m}." for m in machines)]
    notes += dict.fromkeys(str(r["note"]) for r in found if r.get("note"))
    settings = {re.sub(r"seed = \d+", "", str(r["settings"])) for r in found if "settings" in r}
    if len(settings) > 1:
        notes.append("The seeds were run with different settings: their columns cannot be compared.")
    return "\n\n".join([text, " ".join(note for note in notes if note)]).strip()


def seeds(folder: Path, name: str) -> list[Result]:
    """Read the results of one benchmark, in the order of seeds."""
    found = [result for path, result in results(folder) if path.stem.startswith(f"{name}-seed")]
    return sorted(found, key=lambda result: result["seed"])


def results(folder: Path) -> Iterable[tuple[Path, Result]]:
    """Read every result in a folder."""
    for path in sorted(folder.glob("*.json")):
        yield path, json.loads(path.read_text())


def names(found: Sequence[Result], group: str) -> list[str]:
    """List the names in a group of all results, in the order they were recorded."""
    return list(dict.fromkeys(name for result in found for name in result.get(group, {})))


def first(found: Sequence[Result], name: str, key: str) -> str:
    """Take a value of a row from the first result that has it."""
    rows = (result.get("miou", {}).get(name) for result in found)
    return next((plain(row[key]) for row in rows if isinstance(row, Mapping) and row.get(key) is not None), "-")


def threshold(found: Sequence[Result], name: str) -> str:
    """Write the background threshold of activation maps, with a star where it was chosen on the scored images."""
    rows = [result.get("miou", {}).get(name) for result in found]
    cells = [
        f"{r['threshold']:g}{'*' if r.get('tuned') else ''}" for r in rows if isinstance(r, Mapping) and r.get("threshold") is not None
    ]
    return ", ".join(dict.fromkeys(cells))


def heads(found: Sequence[Result]) -> list[str]:
    """Name the columns of the seeds."""
    return [f"seed {result['seed']}" for result in found]


def mean_head(found: Sequence[Result]) -> list[str]:
    """Name the column of the mean, where there is one."""
    return ["mean"] if len(found) > 1 else []


def mean(values: Sequence[float | None]) -> list[str]:
    """Write the mean over the seeds; a dash unless all have a value."""
    if len(values) < 2:
        return []
    return ["-"] if None in values else [number(average([v for v in values if v is not None]))]


def average(values: Sequence[float]) -> float | None:
    """Average, or None of nothing."""
    return statistics.fmean(values) if values else None


def numbers(values: Sequence[float | None]) -> list[str]:
    """Write numbers with one digit."""
    return [number(value) for value in values]


def number(value: float | None) -> str:
    """Write a number with one digit; a dash where there is none."""
    return "-" if value is None else f"{value:,.1f}"


def plain(value: Any) -> str:
    """Write any value of a JSON file."""
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ", ".join(map(plain, value)) if isinstance(value, list) else str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}" if abs(value) >= 100 else f"{value:.3g}"


def title(column: str) -> str:
    """Write the name of a column: ``ours_s`` is ``ours, s``."""
    words, _, unit = column.rpartition("_")
    return f"{words.replace('_', ' ')}, {unit}" if unit in ("s", "ms", "mb") and words else column.replace("_", " ")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table; bars in cells are escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def missing(command: str) -> str:
    """Say that there are no figures, and what makes them."""
    return f"Not measured yet. To measure:\n\n```sh\n{command}\n```"
