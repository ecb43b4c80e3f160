"""Documents with something wrong in them: bytes changed, values exchanged, nested too deep."""

from __future__ import annotations

import json
import os
import platform
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from labelseg.errors import LabelsegError
from labelseg.pipeline.files.seals import BLANK, seal

TRIALS = 100
ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    2**70,
    10**400,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "x",
    "../../x",
    "a\0b",
    "\ud800",
    [],
    {},
    [[]],
    {"a": []},
    [1, [2, [3]]],
)
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


def resealed(data: bytes, rng: random.Random) -> bytes:
    """Change a value, and put the seal right again: what stands in it is to be looked at as well."""
    document = json.loads(value_changed(data, rng))
    if not isinstance(document, dict):
        return json.dumps(document).encode()
    document.pop("seal", None)
    return seal(json.dumps({**document, "seal": BLANK}).encode())


def line_changed(data: bytes, rng: random.Random) -> bytes:
    """Change a value in a line of JSON, without a seal or with one that fits; at times name a key of it twice."""
    lines = data.splitlines()
    at = rng.randrange(len(lines))
    way = rng.randrange(3)
    if way == 2:
        lines[at] = lines[at][:-1] + b"," + rng.choice(lines[at][1:-1].split(b", ")) + b"}"
    else:
        changed = json.loads(value_changed(lines[at], rng))
        lines[at] = json.dumps(changed).encode()
        if way and isinstance(changed, dict):
            changed.pop("seal", None)
            lines[at] = seal(json.dumps({**changed, "seal": BLANK}).encode())
    return b"\n".join(lines) + b"\n"


def _spots(value: Any) -> Any:
    """Every (container, key) in a document."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from _spots(value[key])


def only(root: Path, pattern: str) -> Path:
    """The one file of a kind."""
    (found,) = root.glob(pattern)
    return found


def replaced(data: bytes, texts: Mapping[bytes, bytes]) -> bytes:
    """Put texts in the places of others."""
    for text, other in texts.items():
        data = data.replace(text, other)
    return data


def crashes(
    root: Path, pattern: str, read: Callable[[Path], Any], change: Callable[[bytes, random.Random], bytes], trials: int = TRIALS
) -> list[str]:
    """Change a file in many ways and read it; what came out that is no error of labelseg, with the file that did it."""
    path = only(root, pattern)
    data = path.read_bytes()
    # What differs from machine to machine stays out of the change, so that the same changes are tried everywhere.
    own = {b"@root": os.fsencode(root), b"@node": platform.node().encode()}
    plain = replaced(data, {text: name for name, text in own.items()})
    rng = random.Random(pattern)
    found = []
    try:
        for _ in range(trials):
            path.write_bytes(replaced(change(plain, rng), own))
            try:
                read(root)
            except LabelsegError:
                continue
            except Exception as error:
                found.append(f"{type(error).__name__}: {error} of {path.read_bytes()[:300]!r}"[:500])
    finally:
        path.write_bytes(data)
    return found
