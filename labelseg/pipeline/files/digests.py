"""Digests of content, and the JSON that they are taken of."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import cast, overload

from blake3 import blake3

from labelseg.errors import UsageError

DIGEST_BYTES = 16
DIGEST_CHARACTERS = 2 * DIGEST_BYTES
_BEFORE_DIGEST = f"s{DIGEST_CHARACTERS}:"
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
    return digest_all(parts)


def digest_all(parts: Iterable[bytes | str]) -> str:
    """Digest texts and byte strings as ``digest`` does, holding some thousand of them at a time."""
    digesting, rest = Digesting(), iter(parts)
    while batch := list(islice(rest, PIECES)):
        digesting.take(batch)
    return digesting.digest()


class Digesting:
    """Digests texts and byte strings that come one batch after the other, into what ``digest`` would make of all."""

    def __init__(self) -> None:
        self._hasher = blake3()

    def take(self, batch: Sequence[bytes | str]) -> None:
        """Take in texts and byte strings."""
        texts = cast("Sequence[str]", batch) if {*map(type, batch)} == {str} else []
        text = "".join([f"s{len(part)}:{part}" for part in texts])
        # Of other characters than those of ASCII the bytes count, which are more than the characters.
        self._hasher.update(text.encode("ascii") if text.isascii() and text else b"".join(map(_framed, batch)))

    def take_rows(self, names: Sequence[str], *columns: Sequence[str]) -> None:
        """Take in row after row: a name, then what stands for it in each column; quickest where that is digests."""
        rests: Iterable[str] = map(_BEFORE_DIGEST.join, zip(*columns, strict=True))
        is_plain = columns and all({*map(len, column)} == {DIGEST_CHARACTERS} for column in columns)
        text = "".join([f"s{len(n)}:{n}{_BEFORE_DIGEST}{rest}" for n, rest in zip(names, rests, strict=True)]) if is_plain else ""
        if text and text.isascii():
            self._hasher.update(text.encode("ascii"))
        else:
            self.take([*chain.from_iterable(zip(names, *columns, strict=True))])

    def digest(self) -> str:
        """Tell the digest of all that was taken in, 32 hex characters."""
        return self._hasher.hexdigest(length=DIGEST_BYTES)


def _framed(part: bytes | str) -> bytes:
    """Write a part behind its type and length."""
    if isinstance(part, bytes):
        return b"b%d:%s" % (len(part), part)
    # A file name that is not UTF-8 reaches Python with surrogates, and must not stop the run.
    data = part.encode("utf-8", "surrogatepass")
    return b"s%d:%s" % (len(data), data)


class DigestColumn(Sequence[str]):
    """Digests of many things in order, 16 bytes each; other texts, such as ``absent``, may stand among them."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._bytes = bytearray()
        self._others: dict[int, str] = {}
        rest = iter(texts)
        while batch := list(islice(rest, PIECES)):
            self.extend(batch)

    def extend(self, texts: Sequence[str]) -> None:
        """Add digests, or other texts."""
        joined = "".join(texts)
        try:
            values = bytes.fromhex(joined) if {*map(len, texts)} == {DIGEST_CHARACTERS} else b""
        except ValueError:
            values = b""
        if values and values.hex() == joined:
            self._bytes += values
        elif len(texts) == 1:
            self._others[len(self)] = texts[0]
            self._bytes += bytes(DIGEST_BYTES)
        else:
            for text in texts:
                self.extend((text,))

    def places_of(self, text: str) -> list[int]:
        """List where a text stands that is no digest."""
        return [place for place, other in self._others.items() if other == text]

    def __len__(self) -> int:
        return len(self._bytes) // DIGEST_BYTES

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, int):
            index = range(len(self))[index]
            start = index * DIGEST_BYTES
            return self._others[index] if index in self._others else self._bytes[start : start + DIGEST_BYTES].hex()
        start, stop, step = index.indices(len(self))
        if step != 1:
            return [self[k] for k in range(start, stop, step)]
        text, size = self._bytes[start * DIGEST_BYTES : stop * DIGEST_BYTES].hex(), DIGEST_CHARACTERS
        found = [text[k : k + size] for k in range(0, len(text), size)]
        for place in self._others.keys() & range(start, stop) if self._others else ():
            found[place - start] = self._others[place]
        return found

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), PIECES):
            yield from self[start : start + PIECES]
