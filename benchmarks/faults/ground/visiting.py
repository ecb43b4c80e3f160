"""A visitor of the pages that labelseg serves, in place of a server that waits for one."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import Any

READ = (
    "", "api/setup", "api/images", "api/images?sort=quality", "photo/0", "photo/1", "api/panel/0?stage=spread", "api/panel/1?stage=cam",
    "api/panel/0?stage=truth", "list/fix.txt", "api/next?browser=one", "mask/0", "mask/1", "../../labelseg.toml", "files/view.css",
)  # fmt: skip
OURS = "A server of pages failed on"


def visit(app: Any, opened: socket.socket) -> None:
    """Ask for everything, mark an image, answer a question and take the answer back.

    Raises:
        RuntimeError: the server failed, or had no words for what it refused.
    """
    from starlette.testclient import TestClient

    client = TestClient(app, base_url=f"http://127.0.0.1:8000/{app._token}/", raise_server_exceptions=True)
    for path in READ:
        _demand(path, client.get(path))
    _demand("api/mark", client.post("api/mark", json={"number": 0, "mark": "fix"}))
    for number in range(2):
        _demand("api/answer", client.post("api/answer", json=_said(client, f"n{number}", {"class": "cat", "ms": 5})))
    _demand("api/flag", client.post("api/flag", json=_said(client, "n2", {"on": True})))
    _demand("api/undo", client.post("api/undo", json={"browser": "one", "nonce": "n3"}))


def _said(client: Any, nonce: str, more: dict[str, Any]) -> dict[str, Any]:
    """What a browser sends about the question that is next."""
    told: Any = None
    with contextlib.suppress(ValueError):
        told = client.get("api/next?browser=one").json().get("question")
    return {"browser": "one", "nonce": nonce, "question": told["id"] if told else "0", **more}


def _demand(path: str, reply: Any) -> None:
    """Refuse an answer that is no page, no data and no error in words."""
    is_told = reply.status_code < 400 or reply.status_code in (403, 404, 405)
    if not is_told:
        with contextlib.suppress(ValueError, TypeError, KeyError):
            is_told = bool(json.loads(reply.text)["error"])
    if not is_told:
        raise RuntimeError(f"{OURS} {path}: {reply.status_code} {reply.text[:200]}")
