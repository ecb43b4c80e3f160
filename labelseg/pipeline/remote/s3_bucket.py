"""A bucket of S3, or of a server that speaks like it, by obstore.

Keys and the address of the server come from the environment, as for other programs: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
AWS_SESSION_TOKEN, AWS_REGION, AWS_ENDPOINT_URL.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import cached_property
from typing import Any, TypeVar

from labelseg.errors import MissingExtraError, UnreachableError
from labelseg.pipeline.declare.store_url import StoreUrl
from labelseg.pipeline.remote.bucket import Listed

RETRIES = 5  # of one request, with growing pauses: some six seconds
RETRY_SECONDS = 60
CONNECT_SECONDS, SILENT_SECONDS = 5, 30  # until a server that says nothing counts as gone
REMEDY = "What is finished stays here. When it answers, run the same command again."
T = TypeVar("T")


class S3Bucket:
    """Objects below ``s3://BUCKET/PREFIX``. Can be pickled; a connection is opened on first use.

    Args:
        where: Bucket and prefix.
    """

    def __init__(self, where: StoreUrl) -> None:
        self.url = str(where)
        self._where = where

    def __reduce__(self) -> tuple[type[S3Bucket], tuple[StoreUrl]]:
        return S3Bucket, (self._where,)

    def get(self, name: str) -> tuple[bytes, str] | None:
        """Read an object and its tag; None when there is none."""

        def read() -> tuple[bytes, str]:
            import obstore

            found = obstore.get(self._store, name)
            return bytes(found.bytes()), str(found.meta["e_tag"])

        return self._there("read", name, read)

    def beginning(self, name: str, length: int) -> bytes:
        """Read the first bytes of an object; nothing when there is none."""

        def read() -> bytes:
            import obstore

            return bytes(obstore.get_range(self._store, name, start=0, length=length))

        return self._there("read", name, read) or b""

    def create(self, name: str, data: bytes) -> str | None:
        """Write an object that is not there yet and return its tag; None when there is one, which stands."""
        return self._put(name, data, "create")

    def replace(self, name: str, data: bytes, etag: str) -> str | None:
        """Write an object in place of the one of this tag and return the new tag; None when it is another one by now, or gone."""
        return self._put(name, data, {"e_tag": etag})

    def list(self, prefix: str) -> Iterator[Listed]:
        """List the objects of which the name begins with a prefix, sorted; it ends in ``/``, or is empty."""

        def read() -> list[Listed]:
            import obstore

            found = [meta for batch in obstore.list(self._store, prefix.rstrip("/") or None) for meta in batch]
            return sorted(Listed(m["path"], m["size"], str(m["e_tag"]), m["last_modified"]) for m in found)

        yield from self._there("list", prefix, read) or ()

    def delete(self, name: str) -> None:
        """Remove an object; nothing where there is none."""

        def remove() -> None:
            import obstore

            obstore.delete(self._store, name)

        self._there("delete", name, remove)

    def _put(self, name: str, data: bytes, mode: Any) -> str | None:
        """Write an object under a condition; None where that does not hold."""
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        def write() -> str | None:
            import obstore

            try:
                return str(obstore.put(self._store, name, data, mode=mode, use_multipart=False)["e_tag"])
            except (AlreadyExistsError, PreconditionError):
                return None

        return self._there("write", name, write)

    def _there(self, verb: str, name: str, action: Callable[[], T]) -> T | None:
        """Do something; None where there is no such object.

        Raises:
            UnreachableError: the store does not answer, or refuses.
        """
        from obstore.exceptions import BaseError

        try:
            return action()
        except (FileNotFoundError, BaseError, OSError) as error:
            text = str(error)
            if isinstance(error, FileNotFoundError) and "NoSuchBucket" not in text:
                return None
            raise UnreachableError(f"{self.url}: cannot {verb} {name or 'what is there'}: {_why(text)}. {REMEDY}") from error

    @cached_property
    def _store(self) -> Any:
        """The connection."""
        from obstore.store import S3Store

        plain = os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
        return S3Store(
            self._where.bucket,
            prefix=self._where.prefix or None,
            client_options={
                "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
                "read_timeout": timedelta(seconds=SILENT_SECONDS),
                "timeout": timedelta(hours=1),
                **({"allow_http": True} if plain else {}),
            },
            retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRY_SECONDS)},
        )


def demand_obstore() -> None:
    """See that the library is there.

    Raises:
        MissingExtraError: it is not.
    """
    from importlib.util import find_spec

    if find_spec("obstore") is None:
        raise MissingExtraError("[store] url needs obstore. Run: pip install 'labelseg[s3]'")


def _why(text: str) -> str:
    """Shorten what obstore says to its cause."""
    for sign, meaning in (
        ("NoSuchBucket", "there is no such bucket"),
        ("InvalidAccessKeyId", "it does not know the key in AWS_ACCESS_KEY_ID"),
        ("SignatureDoesNotMatch", "the secret in AWS_SECRET_ACCESS_KEY does not fit"),
        ("AccessDenied", "it refuses the right to that"),
        ("403 Forbidden", "it refuses the right to that"),
        ("169.254.169.254", "no keys are set (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), and this machine has no role"),
        ("dns error", "there is no server of that name"),
        ("timed out", "it did not answer in time"),
        ("error sending request", "it does not answer"),
    ):
        if sign in text:
            return meaning
    first = " ".join(text.splitlines()[0].split())
    return first.partition(" - ")[2].rstrip(". ") or first.rstrip(". ")
