"""``[store]`` of ``labelseg.toml``: the URL of the object store that a workspace shares with others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from labelseg.errors import UsageError
from labelseg.suggestions import suggestion

STORE_KEYS = ("url",)
SCHEME = "s3://"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"[A-Za-z0-9._=+-]+(/[A-Za-z0-9._=+-]+)*")


class StoreUrl(NamedTuple):
    """A bucket, and the prefix of all names in it; the prefix may be empty."""

    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.prefix}".rstrip("/")


def read_store(table: Mapping[str, Any], file: str) -> StoreUrl | None:
    """Read the table; None where it names no store.

    Raises:
        UsageError: an unknown key, or no URL of a bucket.
    """
    for key in table:
        if key not in STORE_KEYS:
            raise UsageError(f"{file} [store] has no key '{key}'.{suggestion(key, STORE_KEYS)}")
    return parse_url(table["url"], f"{file} [store] url") if "url" in table else None


def parse_url(value: object, where: str) -> StoreUrl:
    """Read ``s3://BUCKET/PREFIX``. Keys, passwords and addresses of servers are no part of it: they come from the environment.

    Raises:
        UsageError: it is something else.
    """
    text = value if isinstance(value, str) else ""
    if "@" in text or "?" in text:
        raise UsageError(
            f"{where}: expected s3://BUCKET/PREFIX without a name, a password or options. They come from the environment: "
            "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL."
        )
    bucket, _, prefix = text.removeprefix(SCHEME).rstrip("/").partition("/")
    odd = {".", ".."} & {*prefix.split("/")}
    if not text.startswith(SCHEME) or not _BUCKET.fullmatch(bucket) or (prefix and not _PREFIX.fullmatch(prefix)) or odd:
        raise UsageError(f"{where}: expected s3://BUCKET/PREFIX of letters, digits and -_.=+, got {value!r}.")
    return StoreUrl(bucket, prefix)
