"""A picture of what a sweep found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from labelseg.asides.making import replacing
from labelseg.errors import MissingExtraError, UsageError
from labelseg.file_kinds import naming
from labelseg.tuning.grid import Trial


def plot_trials(path: Path, title: str, grid: Mapping[str, Sequence[Any]], trials: Sequence[Trial]) -> None:
    """Draw mIoU in percent over the first parameter, a line for each combination of the others.

    Args:
        path: ``.png``, ``.svg`` or ``.pdf``.
        title: Above it.
        grid: Parameter -> values.
        trials: What was found; those without a score are left out.

    Raises:
        MissingExtraError: matplotlib is not installed.
        UsageError: another kind of file.
    """
    demand_plot(path)
    from matplotlib.figure import Figure

    first, *others = grid
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    places = {value: number for number, value in enumerate(grid[first])}
    for name, points in lines_of(grid, trials).items():
        axes.plot([places[value] for value, _ in points], [100 * miou for _, miou in points], marker="o", label=name)
    axes.set_xticks(list(places.values()), [shown(value) for value in places])
    axes.set_xlabel(first)
    axes.set_ylabel("mIoU, %")
    axes.set_title(title)
    axes.grid(alpha=0.3)
    if others:
        axes.legend(fontsize="small")
    with naming(path), replacing(path) as there:
        figure.savefig(there, format=path.suffix.lower().removeprefix("."))


def lines_of(grid: Mapping[str, Sequence[Any]], trials: Sequence[Trial]) -> dict[str, list[tuple[Any, float]]]:
    """Group trials into lines: the values of the other parameters -> (value of the first one, mIoU), in the order of the grid."""
    first, *others = grid
    lines: dict[str, list[tuple[Any, float]]] = {}
    for trial in sorted(trials, key=lambda trial: [list(grid[name]).index(trial.values[name]) for name in (*others, first)]):
        if trial.miou is not None:
            name = ", ".join(f"{other} {shown(trial.values[other])}" for other in others)
            lines.setdefault(name, []).append((trial.values[first], trial.miou))
    return lines


def demand_plot(path: Path) -> None:
    """Refuse a picture that cannot be drawn, before anything is computed.

    Raises:
        MissingExtraError: matplotlib is not installed.
        UsageError: another kind of file.
    """
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UsageError(f"--plot {path}: expected a file name that ends in .png, .svg or .pdf.")
    if find_spec("matplotlib") is None:
        raise MissingExtraError("sweep --plot needs matplotlib. Run: pip install 'labelseg[plot]'")


def shown(value: Any) -> str:
    """Write a value as it is typed."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value) or '""'
