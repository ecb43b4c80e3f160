"""What a page and its server say to each other: JSON tables, files, and errors meant for a person."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from labelseg.errors import LabelsegError
from labelseg.pages.parts.pieces import page_file
from labelseg.pages.serving.gate import TooLargeError

Endpoint = Callable[[Request], Awaitable[Response]]
MOST_DIGITS = 9
UNCACHED = {"cache-control": "no-store"}


class BadRequestError(LabelsegError, ValueError):
    """A request is not what the page sends."""


class NotFoundError(LabelsegError, LookupError):
    """There is no such image or stage."""


STATUS: dict[type[Exception], int] = {NotFoundError: 404, BadRequestError: 400, TooLargeError: 413, LabelsegError: 422, OSError: 507}


def send_file(name: str, package: str, kind: str) -> Endpoint:
    """Make the answer to a request for a file of a page, or for one that all pages share."""

    async def file(request: Request) -> Response:
        return Response(page_file(name, package), media_type=kind, headers={"cache-control": "no-cache"})

    return file


async def sent_table(request: Request) -> dict[str, Any]:
    """Read the JSON table that a request holds.

    Raises:
        BadRequestError: it holds something else.
    """
    try:
        values = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise BadRequestError("expected a JSON table.") from error
    if not isinstance(values, dict):
        raise BadRequestError("expected a JSON table.")
    return values


def image_number(request: Request) -> int:
    """Read the number of an image in a path; one of more digits than any image has may have thousands.

    Raises:
        NotFoundError: it is none.
    """
    text = request.path_params["number"]
    if not (text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS):
        raise NotFoundError("there is no such image.")
    return int(text)


def as_json(values: Mapping[str, Any], status: int = 200) -> JSONResponse:
    """Write a table, which no browser keeps."""
    return JSONResponse(dict(values), status_code=status, headers=UNCACHED)


def telling(statuses: Mapping[type[Exception], int]) -> dict[Any, Any]:
    """Make what answers errors that are meant for a person.

    Args:
        statuses: Kind of error -> status of the answer.
    """

    async def told(request: Request, error: Exception) -> Response:
        status = next(status for kind, status in statuses.items() if isinstance(error, kind))
        text = str(error) if isinstance(error, LabelsegError) else f"Not saved: {getattr(error, 'strerror', None) or error}."
        return as_json({"error": text}, status)

    return dict.fromkeys(statuses, told)
