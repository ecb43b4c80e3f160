"""The one door from names that were read to paths: nothing that a record says leads out of its folder, and no link is followed."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from labelseg.errors import ArtifactError, UsageError

_KEY = re.compile(r"[0-9a-f]{32}")


def is_key(value: object) -> bool:
    """Whether a value has the one form that keys, part ids and digests have: 32 hex characters in lower case."""
    return isinstance(value, str) and _KEY.fullmatch(value) is not None


def climbing(ids: Iterable[str]) -> str:
    """Return the first id that is no plain relative path, which would lead out of a folder when joined to it; empty when all are."""
    joined = "\n".join(ids)
    # Most ids are plain, and there are many: look closer only where something is odd.
    if ".." not in joined and "\0" not in joined and not joined.startswith("/") and "\n/" not in joined:
        return ""
    for name in joined.split("\n"):
        if name.startswith("/") or "\0" in name or ".." in name.split("/"):
            return name
    return ""


def below(folder: Path, *names: str) -> Path:
    """Join names to a folder that the path must stay in, links followed; the folder itself may be a link.

    Raises:
        ArtifactError: the path is the folder itself or leads out of it.
    """
    path = folder.joinpath(*names)
    try:
        goal, home = os.path.realpath(path), os.path.realpath(folder)
    except ValueError as error:
        raise ArtifactError(
            f"{'/'.join(names)!r} cannot be the name of a file in {folder}: {error}. See what is wrong: labelseg verify"
        ) from error
    if goal == home or not goal.startswith(os.path.join(home, "")):
        raise ArtifactError(f"'{'/'.join(names)}' leads out of {folder}. See what is wrong: labelseg verify")
    return path


def output_below(folder: Path, *names: str) -> Path:
    """Join names to a folder that results are written to; see ``below``.

    Raises:
        UsageError: the path leads out of the folder, by a name or by a link in it.
    """
    try:
        return below(folder, *names)
    except ArtifactError as error:
        raise UsageError(f"{folder.joinpath(*names)}: it lies beyond {folder}, by its name or by a link. Choose another folder.") from error


def unlinked(root: Path, pattern: str) -> Iterator[Path]:
    """List what matches a pattern below a folder, sorted, without going through links; a link itself is listed where it matches.

    Args:
        root: The folder; it may be a link itself.
        pattern: Names or patterns of names, joined by ``/``; no ``**``.
    """
    first, _, rest = pattern.partition("/")
    for path in sorted(root.glob(first)):
        if not rest:
            yield path
        elif not path.is_symlink():
            yield from unlinked(path, rest)


def unlistable(folder: Path, depth: int) -> Iterator[tuple[Path, ArtifactError]]:
    """List folders whose content cannot be told: rights are missing, or a link leads nowhere. What lies there must not count as gone.

    Args:
        folder: Where to look; nothing is wrong with one that is not there.
        depth: Levels of folders below it to look at as well.
    """
    try:
        with os.scandir(folder) as entries:
            below_it = sorted(Path(entry.path) for entry in entries if depth and (entry.is_dir() or entry.is_symlink()))
    except NotADirectoryError:
        return
    except FileNotFoundError:
        if os.path.lexists(folder):
            yield folder, ArtifactError(f"{folder} is a link that leads nowhere. See that it can be read, then try again.")
        return
    except OSError as error:
        yield folder, ArtifactError(f"{folder} cannot be read: {error.strerror}. See that it can be read, then try again.")
        return
    for path in below_it:
        yield from unlistable(path, depth - 1)


def remove(path: Path) -> None:
    """Remove a file, a folder with all in it, or a link without what it leads to; nothing where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def size_of(path: Path) -> int:
    """Count the bytes of a file, or of the files in a folder; what links lead to does not count, nor what goes away meanwhile."""
    if path.is_symlink() or not path.is_dir():
        return _bytes(path)
    return sum(_bytes(os.path.join(folder, name)) for folder, _, names in os.walk(path) for name in names)


def _bytes(path: str | Path) -> int:
    """Size of a file or a link; 0 where it is gone."""
    with suppress(FileNotFoundError):
        return os.lstat(path).st_size
    return 0
