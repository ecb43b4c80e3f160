"""Charts as inline SVG, drawn in the colours of the page. Each has a text for who cannot see it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup

Points = Sequence[tuple[float, float]]

BAR_HEIGHT, BAR_GAP, LABEL_WIDTH, BAR_WIDTH = 22, 6, 190, 420
LINE_SIZE = (440, 220)
MARGIN_LEFT, MARGIN_TOP, MARGIN_RIGHT, MARGIN_BOTTOM = 72, 10, 12, 34
TICKS = 4


def bar_chart(title: str, rows: Sequence[tuple[str, float | None]]) -> Markup:
    """Draw a bar for each label and share in [0, 1], in percent; None has no bar."""
    pieces = []
    for number, (label, share) in enumerate(rows):
        top = number * (BAR_HEIGHT + BAR_GAP)
        width = 0.0 if share is None else round(BAR_WIDTH * min(max(share, 0.0), 1.0), 1)
        told = "-" if share is None else f"{100 * share:.1f}"
        pieces.append(
            Markup(
                '<text class="label" x="{}" y="{}" text-anchor="end">{}</text><rect class="bar" x="{}" y="{}" width="{}" height="{}"/>'
                '<text x="{}" y="{}">{}</text>'
            ).format(
                *(LABEL_WIDTH - 8, top + 16, _short(label, 26)),
                *(LABEL_WIDTH, top, width, BAR_HEIGHT),
                *(LABEL_WIDTH + width + 6, top + 16, told),
            )
        )
    told_all = ", ".join(f"{label} {'unknown' if share is None else f'{100 * share:.1f}'}" for label, share in rows)
    height = max(len(rows), 1) * (BAR_HEIGHT + BAR_GAP)
    return _svg(title, f"{title}, in percent: {told_all}", (LABEL_WIDTH + BAR_WIDTH + 60, height), pieces)


def line_chart(title: str, series: Mapping[str, Points], x_name: str) -> Markup:
    """Draw lines through points (x, y); an axis of its own for neither, so give what is of one scale."""
    points = [point for line in series.values() for point in line if all(map(math.isfinite, point))]
    if not points:
        return Markup("")
    (left, right), (low, high) = _span([x for x, _ in points]), _span([y for _, y in points])
    width, height = LINE_SIZE

    def place(x: float, y: float) -> tuple[float, float]:
        across, up = (x - left) / (right - left), (y - low) / (high - low)
        return (
            round(MARGIN_LEFT + across * (width - MARGIN_LEFT - MARGIN_RIGHT), 1),
            round(height - MARGIN_BOTTOM - up * (height - MARGIN_TOP - MARGIN_BOTTOM), 1),
        )

    pieces = []
    for k in range(TICKS + 1):
        x, y = left + k / TICKS * (right - left), low + k / TICKS * (high - low)
        (a, bottom), (start, b) = place(x, low), place(left, y)
        pieces.append(Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(a, bottom + 16, _number(x)))
        pieces.append(Markup('<text x="{}" y="{}" text-anchor="end">{}</text>').format(start - 6, b + 4, _number(y)))
        pieces.append(Markup('<line class="grid" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(start, b, width - MARGIN_RIGHT, b))
    for number, (name, line) in enumerate(series.items()):
        places = [place(x, y) for x, y in line if math.isfinite(x) and math.isfinite(y)]
        path = " ".join(f"{x},{y}" for x, y in places)
        pieces.append(Markup('<polyline class="line line-{}" points="{}"><title>{}</title></polyline>').format(number % 4, path, name))
        pieces.extend(Markup('<circle class="dot line-{}" cx="{}" cy="{}" r="2.5"/>').format(number % 4, x, y) for x, y in places)
    pieces.append(
        Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format((width + MARGIN_LEFT) / 2, height - 2, _short(x_name, 40))
    )
    told = "; ".join(f"{name} from {_number(line[0][1])} to {_number(line[-1][1])}" for name, line in series.items() if line)
    return _svg(title, f"{title}, over {x_name}: {told}", LINE_SIZE, pieces)


def _svg(title: str, description: str, size: tuple[float, float], pieces: Sequence[Markup]) -> Markup:
    """Put pieces into a drawing that says what it shows."""
    head = Markup('<svg class="chart" role="img" viewBox="0 0 {} {}" width="{}" aria-label="{}">').format(*size, size[0], description)
    return head + Markup("<title>{}</title>").format(title) + Markup("").join(pieces) + Markup("</svg>")


def _span(values: Sequence[float]) -> tuple[float, float]:
    """Lowest and highest value, apart from each other."""
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _number(value: float) -> str:
    """Write a number of three digits."""
    return f"{value:.3g}"


def _short(text: str, most: int) -> str:
    """Cut a text that would run out of its place."""
    return text if len(text) <= most else text[: most - 1] + "…"
