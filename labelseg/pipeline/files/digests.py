"""Digests of content, and the JSON that they are taken of."""

from __future__ import annotations

import json

from blake3 import blake3

from labelseg.errors import UsageError

DIGEST_BYTES = 16
PIECES = 4096  # handed over at once: a call for each would take longer than the digest


def canonical_json(value: object) -> bytes:
    """Write a value as JSON that is equal for equal values: keys sorted, no blanks, ASCII only.

    Raises:
        UsageError: the value holds NaN, an infinity or something that JSON has no form for.
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")
    except (TypeError, ValueError) as error:
        raise UsageError(f"{value!r} cannot enter a key: {error}. Use finite numbers, text, true, false and lists of them.") from error


def digest(*parts: bytes | str) -> str:
    """Digest a sequence of texts and byte strings into 32 hex characters (BLAKE3).

    Type and length of each part enter, so neither ``("ab", "c")`` and ``("a", "bc")`` nor ``"a"`` and ``b"a"`` collide.
    """
    hasher, pieces = blake3(), []
    for part in parts:
        # A file name that is not UTF-8 reaches Python with surrogates, and must not stop the run.
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        pieces += [(b"s%d:" if isinstance(part, str) else b"b%d:") % len(data), data]
        if len(pieces) >= PIECES:
            hasher.update(b"".join(pieces))
            pieces.clear()
    hasher.update(b"".join(pieces))
    return hasher.hexdigest(length=DIGEST_BYTES)
