"""The server of ``labelseg view``: from requests to the service and back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from labelseg.errors import DataError, LabelsegError
from labelseg.pages.parts.pieces import page_file, render
from labelseg.pages.serving.gate import Gate, TooLargeError
from labelseg.pages.view.view_service import BadRequestError, NotFoundError, ViewService

if TYPE_CHECKING:
    from starlette.types import ASGIApp

PACKAGE, SHARED = "labelseg.pages.view", "labelseg.pages.parts"
FILES = {
    "base.css": (SHARED, "text/css"),
    "gallery.css": (SHARED, "text/css"),
    "view.css": (PACKAGE, "text/css"),
    "base.js": (SHARED, "text/javascript"),
    "gallery.js": (SHARED, "text/javascript"),
    "view.js": (PACKAGE, "text/javascript"),
}
STATUS: dict[type[Exception], int] = {NotFoundError: 404, BadRequestError: 400, TooLargeError: 413, DataError: 422, OSError: 507}


def make_view_app(service: ViewService, token: str, host: str) -> ASGIApp:
    """Make the application: ``GET`` for what changes nothing, ``POST`` with a JSON table to mark.

    Args:
        service: What is asked for.
        token: First word of every path; empty asks for none.
        host: Address that the server listens on.
    """

    async def page(request: Request) -> Response:
        return Response(render("view.html", {}, PACKAGE), media_type="text/html", headers={"cache-control": "no-cache"})

    async def file(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in FILES:
            raise NotFoundError("there is no such file.")
        package, kind = FILES[name]
        return Response(page_file(name, package), media_type=kind, headers={"cache-control": "no-cache"})

    async def photo(request: Request) -> Response:
        found = await run_in_threadpool(service.photo, request.path_params["number"])
        return Response(found, media_type="image/jpeg", headers={"cache-control": "private, max-age=600"})

    async def panel(request: Request) -> Response:
        return _json(await run_in_threadpool(service.panel, request.path_params["number"], request.query_params.get("stage", "")))

    async def listed(request: Request) -> Response:
        mark = request.path_params["mark"]
        text = await run_in_threadpool(service.listed, mark)
        return Response(text, media_type="text/plain", headers={"content-disposition": f'attachment; filename="{mark}.txt"'})

    async def mark(request: Request) -> Response:
        return _json(await run_in_threadpool(service.mark, _table(await request.body())))

    def asked(work: Callable[[Mapping[str, str]], dict[str, Any]]) -> Callable[..., Any]:
        async def answer(request: Request) -> Response:
            return _json(await run_in_threadpool(work, dict(request.query_params)))

        return answer

    routes = [
        Route("/", page),
        Route("/files/{name}", file),
        Route("/photo/{number:int}", photo),
        Route("/list/{mark}.txt", listed),
        Route("/api/setup", asked(service.setup)),
        Route("/api/images", asked(service.images)),
        Route("/api/panel/{number:int}", panel),
        Route("/api/mark", mark, methods=["POST"]),
    ]
    return Gate(Starlette(routes=routes, exception_handlers=dict.fromkeys(STATUS, _told)), token, host)


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
    return JSONResponse({"error": text}, status_code=status, headers={"cache-control": "no-store"})


def _json(values: dict[str, Any]) -> JSONResponse:
    return JSONResponse(values, headers={"cache-control": "no-store"})
