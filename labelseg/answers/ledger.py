"""What a file of answers says, kept up to date as the file grows: by others too."""

from __future__ import annotations

import bisect
import hashlib
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median

from labelseg.answers.answer_files import Answer, Point, parse_answers


class Ledger:
    """The standing lines of a file, in the forms in which they are asked for. Not for several threads at once.

    Args:
        path: The file; it need not exist.
        repeat_share: Of the pixels, which are put a second time.
        unknown: Says what is wrong with an answer, such as ``Unknown``: then the pixel counts as not answered.

    Attributes:
        nonces: Every nonce there ever was -> the first of its lines.
        split: Ids of the regions that hold several classes.
        repeated: Who answered which pixel a second time.
        flags: Image -> whether it is marked.
        changes: Grows whenever something was withdrawn or read anew, so that what was done may be open again.
    """

    def __init__(self, path: Path, repeat_share: float, unknown: Callable[[Answer], str] = lambda answer: "") -> None:
        self._path = path
        self._unknown = unknown
        self._share = repeat_share
        self.changes = 0
        self._file_id = 0
        self._clear()

    def _clear(self) -> None:
        self._read = 0  # bytes
        self.nonces: dict[str, Answer] = {}
        self.split: set[str] = set()
        self.repeated: set[tuple[str, Point]] = set()
        self.flags: dict[str, bool] = {}
        self._acts: dict[str, list[tuple[str, str]]] = defaultdict(list)  # who -> (nonce, browser), withdrawn ones left out
        self._lines: dict[str, list[Answer]] = defaultdict(list)  # by nonce
        self._said: dict[Point, list[Answer]] = defaultdict(list)
        self._answered: dict[str | None, set[Point]] = defaultdict(set)  # by whom; None by anybody
        self._times: dict[str, list[int]] = defaultdict(list)  # who -> sorted milliseconds
        self._counts: dict[str, int] = defaultdict(int)  # who -> answers given
        self._twice: dict[str, list[tuple[int, Answer]]] = defaultdict(list)  # who -> answers that are to be repeated, and their number

    def refresh(self) -> None:
        """Read what was appended since the last time; all of it where the file was replaced."""
        found = self._path.stat() if self._path.exists() else None
        size, file_id = (found.st_size, found.st_ino) if found is not None else (0, 0)
        replaced = self._file_id not in (0, file_id)
        if size == self._read and not replaced:
            return
        self._file_id = file_id
        if size < self._read or replaced:
            self._clear()
            self.changes += 1
        if not size:
            return
        with self._path.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        # The end of a line that was cut, or is being written, is read when the line is whole.
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in parse_answers(whole, self._path, self._unknown).lines:
            self._take(line)

    def answers(self, point: Point, who: str | None = None) -> list[Answer]:
        """List the answers to a pixel that were not withdrawn, oldest first; those of one person alone where that is named."""
        said = self._said.get(point, [])
        return said if who is None else [answer for answer in said if answer.who == who]

    def points(self, who: str | None = None) -> set[Point]:
        """Return the pixels that somebody answered, or one person; it is not to be changed."""
        return self._answered[who]

    def last(self, who: str, browser: str) -> list[Answer]:
        """List the lines of the last thing that a person said from a browser, or, where nothing is left there, from any."""
        acts = self._acts.get(who, [])
        nonce = next((name for name, other in reversed(acts) if other == browser), acts[-1][0] if acts else None)
        return [] if nonce is None else list(self._lines[nonce])

    def seconds(self, who: str) -> float | None:
        """Compute the median time of an answer of a person."""
        times = self._times.get(who)
        return median(times) / 1000 if times else None

    def due(self, who: str, gap: int) -> Answer | None:
        """Find an answer of a person that is to be repeated, and lies at least some answers back."""
        for number, answer in self._twice.get(who, []):
            if self._counts[who] - number >= gap and (who, answer.point) not in self.repeated and answer in self._said[answer.point]:
                return answer
        return None

    def _take(self, line: Answer) -> None:
        """Take note of a line."""
        nonce = line.nonce
        is_first = nonce not in self.nonces
        if nonce:
            self.nonces.setdefault(nonce, line)
        if line.kind == "undo":
            self._withdraw(line)
            return
        if line.kind == "flag":
            self.flags[line.image] = bool(line.more.get("on", True))
            return
        if nonce:
            self._lines[nonce].append(line)
            if is_first:
                self._acts[line.who].append((nonce, str(line.more.get("browser", ""))))
        if line.kind == "mixed":
            self.split.add(str(line.more.get("question", "")))
        elif line.kind == "repeat":
            self.repeated.add((line.who, line.point))
        else:
            self._said[line.point].append(line)
            self._answered[line.who].add(line.point)
            self._answered[None].add(line.point)
            if nonce and is_first:
                self._count(line)

    def _count(self, line: Answer) -> None:
        """Take note of the time of an answer, and whether it is to be repeated."""
        self._counts[line.who] += 1
        if line.ms is not None:
            bisect.insort(self._times[line.who], line.ms)
        if chance(line.point) < self._share:
            self._twice[line.who].append((self._counts[line.who], line))

    def _withdraw(self, undo: Answer) -> None:
        """Forget all lines of the act that is withdrawn; where none is named, the last answer of the person to the pixel."""
        self.changes += 1
        named = undo.more.get("undoes")
        if named is None:
            gone = [line for line in self._said[undo.point] if line.who == undo.who][-1:]
        else:
            gone = [line for line in self._lines.get(str(named), []) if line.who == undo.who]
        for line in gone:
            if line.kind == "mixed":
                self.split.discard(str(line.more.get("question", "")))
            elif line.kind == "repeat":
                self.repeated.discard((line.who, line.point))
            elif line in self._said[line.point]:
                self._said[line.point].remove(line)
                for who in (None, line.who):
                    if not self.answers(line.point, who):
                        self._answered[who].discard(line.point)
        for nonce in {line.nonce for line in gone}:
            self._forget_act(undo.who, nonce)

    def _forget_act(self, who: str, nonce: str) -> None:
        """Forget that a person did something, and how long it took."""
        acts = [act for act in self._acts[who] if act[0] != nonce]
        first = self.nonces.get(nonce)
        if len(acts) < len(self._acts[who]) and first is not None and first.kind == "answer" and first.ms is not None:
            self._times[who].remove(first.ms)
        self._acts[who] = acts

    def written(self, nonce: str) -> set[Point]:
        """Return the pixels of which an act has lines, withdrawn or not."""
        return {line.point for line in self._lines.get(nonce, [])}


def chance(point: Point) -> float:
    """Draw a number in [0, 1) that is always the same for a pixel."""
    image, y, x = point
    seed = hashlib.blake2b(f"{image}:{y}:{x}".encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(seed.digest()) / 2**64
