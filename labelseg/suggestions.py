"""The tail of an error message about an unknown name: which known one was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MOST_LISTED = 30


def suggestion(word: str, known: Iterable[str], listed: str = "Known", count: int = 1) -> str:
    """Say which known names are closest to a word, or list the known names when none is close.

    Args:
        word: The unknown name.
        known: The names there are.
        listed: What the list is called, as in ``Known: cam, refine.``; ``""`` lists nothing.
        count: Most names to suggest.

    Returns:
        A sentence with a space before it, such as `` Did you mean 'cam'?``; empty where there is nothing to say.
    """
    names = list(dict.fromkeys(known))
    if near := difflib.get_close_matches(word, names, n=count):
        quoted = " or ".join(f"'{name}'" for name in near)
        return f" Did you mean {quoted}?"
    if not names or not listed:
        return ""
    more = len(names) - MOST_LISTED
    return f" {listed}: {', '.join(names[:MOST_LISTED])}{f' and {more} more' if more > 0 else ''}."
