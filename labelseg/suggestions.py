"""Error messages about unknown names: which known one was probably meant, or what is to be added."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable, Sequence

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


def unknown_split(split: str, known: Sequence[str], beside: str = "") -> str:
    """Tell that data has no such split; of one that belongs to a data set that is not there, how to add that.

    Args:
        split: Its name, such as ``train`` or ``target:train``.
        known: The splits that there are.
        beside: What else is to be said, a sentence with a blank before.
    """
    owner = split.rpartition(":")[0]
    if owner and not any(name.startswith(f"{owner}:") for name in known):
        beside += f" There is no data set '{owner}' yet. Add it: labelseg data add {shlex.quote(owner)} --images DIR."
    return f"the data has no split '{split}'.{suggestion(split, known, listed='')}{beside} Splits: {', '.join(known)}."
