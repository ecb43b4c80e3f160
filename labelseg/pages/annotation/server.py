"""The server of the page: from requests to the service and back."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from labelseg.answers.desk import AnsweredError, UnknownQuestionError
from labelseg.errors import DataError, LabelsegError
from labelseg.pages.annotation.service import BadRequestError, Service
from labelseg.pages.parts.pieces import page_file
from labelseg.pages.serving.gate import Gate, TooLargeError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

OWN, SHARED = "labelseg.pages.annotation", "labelseg.pages.parts"
FILES = {
    "/": ("page.html", OWN, "text/html"),
    "/page.js": ("page.js", OWN, "text/javascript"),
    "/page.css": ("page.css", OWN, "text/css"),
    "/base.js": ("base.js", SHARED, "text/javascript"),
    "/base.css": ("base.css", SHARED, "text/css"),
}
STATUS: dict[type[Exception], int] = {
    AnsweredError: 409, UnknownQuestionError: 404, BadRequestError: 400, TooLargeError: 413, DataError: 422, OSError: 507,
}  # fmt: skip
Endpoint = Callable[[Request], Awaitable[Response]]
Work = Callable[[dict[str, Any]], dict[str, Any]]


def make_app(service: Service, token: str, host: str) -> ASGIApp:
    """Make the application: ``GET`` for what changes nothing, ``POST`` with a JSON table for the rest.

    Args:
        service: What is asked for.
        token: First word of every path; empty asks for none.
        host: Address that the server listens on.
    """
    files = [Route(path, _file(*named)) for path, named in FILES.items()]
    pictures = [Route(f"/{kind}/{{number:int}}", _picture(service, kind)) for kind in ("photo", "mask")]
    reads = {"setup": service.setup, "next": service.next, "move": service.move}
    writes = {"answer": service.answer, "undo": service.undo, "mixed": service.mixed, "flag": service.flag}
    asked = [Route(f"/api/{name}", _asked(work, service)) for name, work in reads.items()]
    said = [Route(f"/api/{name}", _asked(work, service), methods=["POST"]) for name, work in writes.items()]
    app = Starlette(routes=[*files, *pictures, *asked, *said], exception_handlers=dict.fromkeys(STATUS, _told))
    return Gate(app, token, host)


def _file(name: str, package: str, kind: str) -> Endpoint:
    """Send a file of the page, or one that all pages share."""

    async def file(request: Request) -> Response:
        return Response(page_file(name, package), media_type=kind, headers={"cache-control": "no-cache"})

    return file


def _picture(service: Service, kind: str) -> Endpoint:
    """Send the photo or the mask of an image; nothing where there is no mask."""

    async def picture(request: Request) -> Response:
        found = await run_in_threadpool(service.picture, kind, request.path_params["number"])
        if found is None:
            return Response(status_code=204)
        return Response(found[0], media_type=found[1], headers={"cache-control": "private, max-age=600"})

    return picture


def _asked(work: Work, service: Service) -> Endpoint:
    """Send what the service says; where somebody was quicker, how the question stands now."""

    async def asked(request: Request) -> Response:
        values = dict(request.query_params) if request.method != "POST" else _table(await request.body())
        try:
            return _json(await run_in_threadpool(work, values))
        except AnsweredError as error:
            return _json({**await run_in_threadpool(service.conflict, values), "error": str(error)}, STATUS[AnsweredError])

    return asked


def _table(body: bytes) -> dict[str, Any]:
    """Read a JSON table."""
    try:
        values = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequestError("expected a JSON table.") from error
    if not isinstance(values, dict):
        raise BadRequestError("expected a JSON table.")
    return values


async def _told(request: Request, error: Exception) -> Response:
    """Send an error that is meant for a person."""
    status = next(status for kind, status in STATUS.items() if isinstance(error, kind))
    text = str(error) if isinstance(error, LabelsegError) else f"Not saved: {getattr(error, 'strerror', None) or error}."
    return _json({"error": text}, status)


def _json(values: dict[str, Any], status: int = 200) -> JSONResponse:
    return JSONResponse(values, status_code=status, headers={"cache-control": "no-store"})
