"""Files below a URL, kept in a folder here: what changed there is fetched, what went there goes here, all other code reads files."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path, PurePosixPath

from labelseg.errors import DataError, UnreachableError
from labelseg.file_kinds import read_file
from labelseg.pipeline.declare.store_url import StoreUrl
from labelseg.pipeline.files.atomic import write_atomically
from labelseg.pipeline.files.digests import digest
from labelseg.pipeline.files.paths import below, climbing
from labelseg.pipeline.files.seals import BLANK, intact_seal, seal
from labelseg.pipeline.remote.bucket import Bucket, Listed
from labelseg.pipeline.remote.s3_bucket import S3Bucket, demand_obstore

logger = logging.getLogger(__name__)

FOLDER = "fetched"
RECORD = "tags.json"
AT_ONCE = 8
SAVED_EVERY = 1000  # files, so that a killed download goes on where it was
_MD5 = re.compile(r'"?([0-9a-f]{32})"?')


def mirrored(root: Path, where: StoreUrl, suffixes: Collection[str], bucket: Bucket | None = None) -> Path:
    """Bring a folder here up to date with what lies below a URL; where the store does not answer, say so and take what is here.

    Args:
        root: The ``.labelseg`` folder.
        where: The URL.
        suffixes: Endings of the files to take, in lower case, such as ``.jpg``.
        bucket: What answers in place of S3.

    Returns:
        The folder.

    Raises:
        UnreachableError: the store does not answer, and nothing was fetched from it before.
        DataError: there are no such files, or a name leads out of the folder.
    """
    if bucket is None:
        demand_obstore()
        bucket = S3Bucket(where)
    place = root / FOLDER / digest(str(where))
    files = place / "files"
    known = _record(place)
    try:
        listed = {found.name: found for found in bucket.list("") if PurePosixPath(found.name).suffix.lower() in suffixes}
        _demand_plain(str(where), listed)
        _fetch(bucket, files, place, [found for found in listed.values() if known.get(found.name) != found.etag], known)
        gone = known.keys() - listed.keys()
        for name in sorted(gone):
            below(files, *name.split("/")).unlink(missing_ok=True)
            del known[name]
        if gone:
            _save(place, known)
    except UnreachableError as error:
        if not known:
            raise
        logger.warning("%s The %s images that were fetched before are taken.", error, f"{len(known):,}")
    return files


def _fetch(bucket: Bucket, files: Path, place: Path, wanted: list[Listed], known: dict[str, str]) -> None:
    """Fetch files, some at a time, each written whole."""

    def fetch(found: Listed) -> tuple[str, str] | None:
        path = below(files, *found.name.split("/"))
        with suppress(FileNotFoundError, NotADirectoryError):  # a download that was killed before it was noted
            if path.stat().st_size == found.size and _fits(read_file(path), found.etag):
                return found.name, found.etag
        there = bucket.get(found.name)
        if there is None:  # it has gone since
            return None
        data, etag = there
        if _fits(data, etag) is False:
            raise UnreachableError(f"{bucket.url}/{found.name} came damaged over the network. Run the same command again.")
        write_atomically(path, data)
        return found.name, etag

    with ThreadPoolExecutor(AT_ONCE, "fetching") as pool:
        for number in range(0, len(wanted), SAVED_EVERY):
            known.update(pair for pair in pool.map(fetch, wanted[number : number + SAVED_EVERY]) if pair is not None)
            _save(place, known)


def _demand_plain(url: str, listed: dict[str, Listed]) -> None:
    """Refuse names that make no files of a folder, and a URL without images.

    Raises:
        DataError: there is one, or nothing.
    """
    if not listed:
        raise DataError(f"{url}: expected images below it, found none. List what is there: aws s3 ls {url}/")
    odd = climbing(listed) or next((name for name in listed if any(str(up) in listed for up in PurePosixPath(name).parents)), "")
    if odd:
        raise DataError(f"{url}/{odd}: no file can be called so, or another one is called like its folder. Rename it there.")


def _fits(data: bytes, etag: str) -> bool | None:
    """Whether bytes are those of a tag; None where the tag is no checksum of them, as of what was sent in pieces or is encrypted."""
    stated = _MD5.fullmatch(etag)
    if stated is None:
        return None
    return hashlib.md5(data, usedforsecurity=False).hexdigest() == stated[1]


def _record(place: Path) -> dict[str, str]:
    """Read which files were fetched, with their tags; none where that cannot be read, so that all are looked at."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        data = read_file(place / RECORD)
        intact_seal(data)
        return {str(name): str(etag) for name, etag in json.loads(data)["tags"].items()}
    return {}


def _save(place: Path, known: dict[str, str]) -> None:
    """Write which files were fetched."""
    write_atomically(place / RECORD, seal(json.dumps({"tags": dict(sorted(known.items())), "seal": BLANK}).encode()))
