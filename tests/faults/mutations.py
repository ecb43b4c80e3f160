"""Documents with something wrong in them: bytes changed, values exchanged, nested too deep."""

from __future__ import annotations

import json
import random
from typing import Any

ODD: tuple[Any, ...] = (None, True, -1, 2**70, 1e308, "", "x", "../../x", "a\0b", "\ud800", [], {}, [[]], {"a": []}, [1, [2, [3]]])
ODD_TEXTS = (
    "",
    "\0",
    "[" * 50_000,
    '{"a":' * 50_000,
    "9" * 10_000,
    "1e999",
    "NaN",
    "\ufeff",
    "\r",
    "\n\n",
    '"',
    ",,,,",
    "=",
    "[[",
    "..",
    "é",
)


def bytes_changed(data: bytes, rng: random.Random) -> bytes:
    """Change, drop, double or insert some bytes at random places."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(found) + 1)
        way = rng.randrange(6)
        if way == 0 and at < len(found):
            found[at] ^= 1 << rng.randrange(8)
        elif way == 1:
            del found[at : at + rng.randint(1, 40)]
        elif way == 2:
            found[at:at] = found[at : at + rng.randint(1, 40)]
        elif way == 3:
            found[at:at] = rng.choice(ODD_TEXTS).encode()
        elif way == 4:
            found[at:at] = rng.randbytes(rng.randint(1, 8))
        else:
            del found[at:]
    return bytes(found)


def value_changed(data: bytes, rng: random.Random) -> bytes:
    """Put an odd value in the place of any value of a JSON document, drop a key, add one, or give a value the name of another."""
    document = json.loads(data)
    spots = list(_spots(document))
    parent, key = rng.choice(spots)
    way = rng.randrange(5)
    if way < 3:
        parent[key] = rng.choice(ODD)
    elif way == 3:
        del parent[key]
    else:
        other, name = rng.choice(spots)
        parent[key] = json.loads(json.dumps(other[name]))
    return json.dumps(document).encode()


def _spots(value: Any) -> Any:
    """Every (container, key) in a document."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from _spots(value[key])
