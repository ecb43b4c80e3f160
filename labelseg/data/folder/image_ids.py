"""Names of images: the id of every file in a folder, and the id that a list or a table means."""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

from labelseg.errors import DataError
from labelseg.suggestions import suggestion

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})


def scan_files(folder: Path, suffixes: frozenset[str], leave_out: Path | None = None, others: Counter[str] | None = None) -> list[str]:
    """List the files under ``folder`` with one of ``suffixes``, as sorted relative paths joined by ``/``.

    Hidden files and folders are left out, and the folder ``leave_out`` if it is below; linked folders are followed, each once.
    ``others`` counts the files that have none of these, by extension.
    """
    found: list[str] = []
    visited: set[str] = set()
    if leave_out is not None and os.path.realpath(leave_out) != os.path.realpath(folder):
        visited.add(os.path.realpath(leave_out))
    pending = [("", str(folder))]
    while pending:
        prefix, directory = pending.pop()
        real = os.path.realpath(directory)
        if real in visited:
            continue
        visited.add(real)
        with os.scandir(directory) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith("."):
                    continue
                if entry.is_dir():
                    pending.append((f"{prefix}{name}/", entry.path))
                elif (suffix := suffix_of(name).lower()) in suffixes:
                    found.append(prefix + name)
                elif others is not None:
                    others[suffix] += 1
    found.sort()
    return found


def suffix_of(name: str) -> str:
    """The extension of a file, with its dot; of names that do not begin with a dot what ``os.path.splitext`` says, and quicker."""
    dot = name.rfind(".")
    return name[dot:] if dot > 0 else ""


class FileNames(Mapping[str, str]):
    """Path by id where each is an id and an extension: of a million images no path is held.

    Args:
        suffixes: Extension by id.
    """

    def __init__(self, suffixes: dict[str, str]) -> None:
        self._suffixes = suffixes

    def __getitem__(self, image_id: str) -> str:
        return image_id + self._suffixes[image_id]

    def __contains__(self, image_id: object) -> bool:
        return image_id in self._suffixes

    def __iter__(self) -> Iterator[str]:
        return iter(self._suffixes)

    def __len__(self) -> int:
        return len(self._suffixes)


class ImageIndex:
    """The images of a folder by id: the relative path without extension, or with it where two files would collide.

    Args:
        folder: Where the images are.
        leave_out: A folder of other pictures, such as masks, that may lie below.
    """

    def __init__(self, folder: Path, leave_out: Path | None = None) -> None:
        self.folder = folder
        self._leave_out = leave_out
        self._others: Counter[str] = Counter()

    @property
    def others(self) -> Mapping[str, int]:
        """How many files beside the images there are, by extension in small letters.

        Raises:
            DataError: as ``files``.
        """
        return self._others if self.files else {}

    @cached_property
    def files(self) -> Mapping[str, str]:
        """Relative path of each image by id, in the order of ids.

        Raises:
            DataError: the folder does not exist or holds no image.
        """
        if not self.folder.is_dir():
            raise DataError(f"{self.folder}: expected a folder of images, found none. Set images under [data] in labelseg.toml.")
        found = scan_files(self.folder, IMAGE_SUFFIXES, self._leave_out, self._others)
        if not found:
            raise DataError(f"{self.folder}: expected images ({', '.join(sorted(IMAGE_SUFFIXES))}), found none.")
        stems = [file[: file.rindex(".")] for file in found]
        suffixes = {stem: sys.intern(file[len(stem) :]) for stem, file in zip(stems, found, strict=True)}
        if len(suffixes) == len(stems):
            return FileNames(suffixes if stems == sorted(stems) else dict(sorted(suffixes.items())))
        by_stem: dict[str, list[str]] = defaultdict(list)
        for stem, file in zip(stems, found, strict=True):
            by_stem[stem].append(file)
        # In a.jpg, a.png, a.jpg.png the id a.jpg would be taken twice; such files keep their extension too.
        taken = {file for same in by_stem.values() if len(same) > 1 for file in same}
        files = {}
        for stem, same in by_stem.items():
            for file in same:
                files[file if len(same) > 1 or stem in taken else stem] = file
        return dict(sorted(files.items()))

    @cached_property
    def ids(self) -> list[str]:
        """All ids in order."""
        return list(self.files)

    @cached_property
    def _by_path(self) -> dict[str, str]:
        by_path = {composed(file): image_id for image_id, file in self.files.items()}
        by_path.update((composed(image_id), image_id) for image_id in self.files)
        return by_path

    @cached_property
    def _by_bare_name(self) -> dict[str, list[str]]:
        by_bare_name: dict[str, list[str]] = defaultdict(list)
        for image_id, file in self.files.items():
            base = composed(file.rpartition("/")[2])
            by_bare_name[base].append(image_id)
            by_bare_name[os.path.splitext(base)[0]].append(image_id)
        return dict(by_bare_name)

    @cached_property
    def _by_folded_path(self) -> dict[str, list[str]]:
        by_folded: dict[str, list[str]] = defaultdict(list)
        for path, image_id in self._by_path.items():
            if image_id not in by_folded[path.casefold()]:
                by_folded[path.casefold()].append(image_id)
        return dict(by_folded)

    @cached_property
    def _by_folded_name(self) -> dict[str, list[str]]:
        by_folded: dict[str, list[str]] = defaultdict(list)
        for name, ids in self._by_bare_name.items():
            by_folded[name.casefold()] += [image_id for image_id in ids if image_id not in by_folded[name.casefold()]]
        return dict(by_folded)

    def matches(self, name: str, exactly: bool = False) -> list[str]:
        """List the ids that a name may mean.

        First the one whose id or path it is, or else all of that bare name. Unless ``exactly``: then the path as other systems write it,
        with folders in front that the data does not have if the rest is the whole path of an image, with the extension of another
        format, or in other capitals.
        """
        key = composed(name)
        if key in self._by_path:
            return [self._by_path[key]]
        if (found := self._by_bare_name.get(key, [])) or exactly:
            return found
        return self._loose_matches(re.sub(r"/(\./)+", "/", key.strip().replace("\\", "/")).removeprefix("./"))

    def _loose_matches(self, path: str) -> list[str]:
        """List the ids that a path with ``/`` may mean; never by its bare name alone where it names folders, which would be passed over."""
        stem, suffix = os.path.splitext(path)
        forms = [path, stem] if suffix.lower() in IMAGE_SUFFIXES else [path]
        parts = [form.split("/") for form in forms]
        for start in range(path.count("/") + 1):
            for form in parts:
                rest = "/".join(form[start:])
                found = [self._by_path[rest]] if rest in self._by_path else self._by_folded_path.get(rest.casefold(), [])
                if found:
                    return found
        if "/" in path:
            return []
        return self._by_bare_name.get(stem) or self._by_folded_name.get(path.casefold()) or self._by_folded_name.get(stem.casefold(), [])

    def resolve(self, name: str, where: str) -> str:
        """Find the id that ``name`` means: an id, a relative path with extension, or a bare file name or stem where unique.

        Args:
            name: As a person wrote it.
            where: File and line, put in front of an error.

        Raises:
            DataError: no image or several images have that name.
        """
        matches = self.matches(name)
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise DataError(f"{where}: '{name}' may mean {', '.join(matches[:4])}. Write the path below {self.folder}.")
        raise DataError(f"{where}: no image '{name}' in {self.folder}.{suggestion(name, self.ids, listed='')}")

    def bare_stem(self, image_id: str) -> str | None:
        """Return the bare stem of an image, or None where another image shares it."""
        stem = os.path.splitext(composed(self.files[image_id].rpartition("/")[2]))[0]
        return stem if self._by_bare_name[stem] == [image_id] else None

    def path(self, image_id: str) -> Path:
        """Return the file of an image.

        Raises:
            DataError: no image has this id.
        """
        if image_id not in self.files:
            raise DataError(f"no image '{image_id}' in {self.folder}.{suggestion(image_id, self.ids, listed='')}")
        return self.folder / self.files[image_id]


def composed(name: str) -> str:
    """Compose accents: some file systems hand names out decomposed, and a list typed elsewhere would not match."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)
