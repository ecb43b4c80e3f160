"""Tables and numbers as text."""

from __future__ import annotations

from collections.abc import Sequence


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> str:
    """Lay out columns, two blanks apart; the columns named in ``right`` are aligned to the right."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(header))]

    def layout(line: Sequence[str]) -> str:
        cells = (cell.rjust(width) if name in right else cell.ljust(width) for cell, width, name in zip(line, widths, header, strict=True))
        return "  ".join(cells).rstrip()

    return "\n".join(map(layout, lines))


def printable(text: str) -> str:
    """Blank the characters of a text that would steer a terminal or begin a new line."""
    return "".join(c if c.isprintable() else " " for c in text)


def one_line(text: str) -> str:
    """Put a text that was read from a file on one line, single blanks between its words."""
    return " ".join(printable(text).split())


def bytes_text(count: float) -> str:
    """Write a size: ``512 B``, ``1.4 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def percent(value: float | None) -> str:
    """Write a fraction in percent with one digit; a dash where there is none."""
    return "-" if value is None else f"{100 * value:.1f}"
