"""Several files that count all together or not at all: while a note names them, none of them does.

The note is written before the first file and goes after the last one; that is the one moment in which all begin to count, or have gone.
Whoever comes after work that was killed in between finds the note, and with it what to clear.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from labelseg.errors import ArtifactError, DamageError
from labelseg.file_kinds import read_file
from labelseg.pipeline.files.atomic import sync_folder, write_atomically
from labelseg.pipeline.files.paths import below, remove, unlinked
from labelseg.pipeline.files.seals import BLANK, intact_seal, seal

FOLDER = "unfinished"


class Unfinished:
    """The notes of a workspace.

    Args:
        root: The ``.labelseg`` folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = Path(root)

    @contextmanager
    def together(self, name: str, paths: Iterable[Path]) -> Iterator[None]:
        """Let files count from the end of the block on; where it fails they are removed.

        Args:
            name: Of the note; a plain name of a file.
            paths: The files, below the root; none of them is there yet, or what is there goes with the others.
        """
        self.begin(name, paths)
        try:
            yield
        except BaseException:
            self.clear(name)
            raise
        self._strike(name)

    def begin(self, name: str, paths: Iterable[Path]) -> None:
        """Write the note: from now on the files do not count."""
        names = sorted(path.relative_to(self._root).as_posix() for path in paths)
        write_atomically(self.path(name), seal(json.dumps({"files": names, "seal": BLANK}).encode()))

    def clear(self, name: str) -> int:
        """Remove the files that a note names, then the note; how many were there.

        Raises:
            ArtifactError: the note cannot be read.
        """
        there = [path for path in self.files(name) if path.exists() or path.is_symlink()]
        for path in there:
            remove(path)
        for folder in {path.parent for path in there}:
            sync_folder(folder)
        self._strike(name)
        return len(there)

    def names(self) -> list[str]:
        """List the notes; no link is followed."""
        return [path.stem for path in unlinked(self._root, f"{FOLDER}/*.json")]

    def files(self, name: str) -> list[Path]:
        """List the files that a note names.

        Raises:
            ArtifactError: it cannot be read.
            DamageError: it is not what was written.
        """
        path = self.path(name)
        try:
            data = read_file(path)
            intact_seal(data)
            return [below(self._root, *str(file).split("/")) for file in json.loads(data)["files"]]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ArtifactError(f"{path} cannot be read: {error.strerror}. See that it can, then try again.") from error
        except (ValueError, KeyError, TypeError, RecursionError, ArtifactError) as error:
            raise DamageError(f"{path} is damaged: {error or type(error).__name__}. Repair: labelseg verify --repair") from error

    def path(self, name: str) -> Path:
        """Where a note lies."""
        return below(self._root / FOLDER, f"{name}.json")

    def _strike(self, name: str) -> None:
        """Remove a note."""
        path = self.path(name)
        path.unlink(missing_ok=True)
        if path.parent.is_dir():
            sync_folder(path.parent)
