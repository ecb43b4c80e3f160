"""Numbers and lists as they are written for a person."""

from __future__ import annotations

from collections.abc import Sequence


def some_of(names: Sequence[object], most: int = 3) -> str:
    """List the first of many names: ``a, b, c and 4 more``."""
    more = len(names) - most
    return ", ".join(map(str, names[:most])) + (f" and {more:,} more" if more > 0 else "")


def with_article(noun: str) -> str:
    """Write a noun with its article: ``a segmenter``, ``an AffinityNet``."""
    return f"{'an' if noun[:1].lower() in 'aeio' else 'a'} {noun}"


def counted(count: int, one: str, many: str = "") -> str:
    """Write a number with its noun: ``1 image``, ``2 images``."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def seconds_text(seconds: float) -> str:
    """Write a duration: ``0.4 s``, ``75 s``, ``12 min 5 s``, ``2 h 3 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
