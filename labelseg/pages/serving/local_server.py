"""A server on a socket that is open already, and its end by Ctrl-C or a scheduler."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import uvicorn

from labelseg.errors import UsageError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

LOCAL = "127.0.0.1"


def address_of(host: str, opened: socket.socket, token: str) -> str:
    """Write the address of a page, its token included."""
    return f"http://{f'[{host}]' if ':' in host else host}:{opened.getsockname()[1]}/{token}{'/' if token else ''}"


def listen(command: str, host: str, port: int) -> socket.socket:
    """Open the socket of the server of a command; port 0 takes a free one.

    Raises:
        UsageError: the address is taken, or is none of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((host, port))
        opened.listen(128)
    except OSError as error:
        opened.close()
        raise UsageError(
            f"{command} cannot listen on {host}, port {port}: {(error.strerror or str(error)).lower()}. Choose: --port 0"
        ) from error
    return opened


class _Server(uvicorn.Server):
    """A server that takes Ctrl-C as its proper end, and passes on what a scheduler says."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Let signals end the server while it runs."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if signal.SIGTERM in self._captured_signals:
            signal.raise_signal(signal.SIGTERM)


def serve(app: ASGIApp, opened: socket.socket) -> None:
    """Serve until this process is interrupted; requests that are under way are finished."""
    quiet: dict[str, Any] = {"log_level": "error", "access_log": False, "server_header": False}
    config = uvicorn.Config(app, lifespan="off", timeout_graceful_shutdown=3, ws="none", loop="asyncio", **quiet)
    _Server(config).run(sockets=[opened])
