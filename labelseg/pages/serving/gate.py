"""What stands before the page: who may speak to the server, and how much at a time."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, MutableMapping
from typing import Any

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from labelseg.errors import LabelsegError

MOST_BYTES = 65_536
READING = ("GET", "HEAD")
LOOPBACK = ("127.0.0.1", "localhost", "::1")
ANY_ADDRESS = ("0.0.0.0", "::", "")
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
}


class TooLargeError(LabelsegError):
    """A request holds more than any answer does."""


class Gate:
    """Lets through what names the right host and begins with the right token, which it takes off the path.

    What another page of the same browser sends is let through if it changes nothing: without a token it would need to know the port alone.

    Args:
        app: What stands behind.
        token: First word of every path; empty asks for none.
        host: Address that the server listens on; a request must name it, or this machine. One that stands for all addresses lets any
            name through.
    """

    def __init__(self, app: ASGIApp, token: str, host: str) -> None:
        self._app = app
        self._token = token
        self._hosts = None if host in ANY_ADDRESS else {*LOOPBACK, host.lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            return

        async def safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                there = [(name, value) for name, value in message["headers"] if name.decode("latin-1") not in _HEADERS]
                message["headers"] = [*there, *((name.encode(), value.encode()) for name, value in _HEADERS.items())]
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, safely)
            return
        await self._app(self._behind(scope), _limited(receive), safely)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        """Say why a request is refused; None where it is not."""
        headers: Mapping[bytes, bytes] = dict(scope["headers"])
        if self._hosts is not None and _name(headers.get(b"host", b"")) not in self._hosts:
            return PlainTextResponse("This server answers to its own name only. Open the address that labelseg printed.\n", 421)
        origin = headers.get(b"origin")
        if scope["method"] not in READING and origin is not None and _host_of(origin) != headers.get(b"host", b"").lower():
            return PlainTextResponse(
                "Only the page of this server may change anything here. Open the address that labelseg printed.\n", 403
            )
        word = scope["path"].lstrip("/").partition("/")[0]
        if self._token and not secrets.compare_digest(word.encode("utf-8", "surrogatepass"), self._token.encode()):
            return PlainTextResponse("The token in the address is wrong. Open the address that labelseg printed.\n", 403)
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length[:12]) > MOST_BYTES or len(length) > 12:
            return PlainTextResponse(f"A request holds at most {MOST_BYTES} bytes.\n", 413)
        return None

    def _behind(self, scope: Scope) -> MutableMapping[str, Any]:
        """Take the token off the path."""
        path = scope["path"].removeprefix(f"/{self._token}") if self._token else scope["path"]
        return {**scope, "path": path or "/", "raw_path": None, "root_path": ""}


def _limited(receive: Receive) -> Receive:
    """Read a body up to the limit, whatever length it claims to have."""
    seen = 0

    async def limited() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > MOST_BYTES:
            raise TooLargeError(f"a request holds at most {MOST_BYTES} bytes.")
        return message

    return limited


def _host_of(origin: bytes) -> bytes:
    """Take host and port out of an Origin header; one that names no page of ours, such as ``null``, gives what no Host header is."""
    scheme, mark, host = origin.lower().partition(b"://")
    return host if scheme in (b"http", b"https") and mark else b"null"


def _name(host: bytes) -> str:
    """Take the port off the value of a Host header."""
    text = host.decode("latin-1").lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.rpartition(":")[0] if text.count(":") == 1 else text
