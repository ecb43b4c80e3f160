"""The server of ``labelseg view``: from requests to the service and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from labelseg.pages.parts.pieces import render
from labelseg.pages.serving.gate import Gate
from labelseg.pages.serving.messages import STATUS, as_json, image_number, send_file, sent_table, telling
from labelseg.pages.view.view_service import ViewService

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


def make_view_app(service: ViewService, token: str, host: str) -> ASGIApp:
    """Make the application: ``GET`` for what changes nothing, ``POST`` with a JSON table to mark.

    Args:
        service: What is asked for.
        token: First word of every path; empty asks for none.
        host: Address that the server listens on.
    """

    async def page(request: Request) -> Response:
        return Response(render("view.html", {}, PACKAGE), media_type="text/html", headers={"cache-control": "no-cache"})

    async def photo(request: Request) -> Response:
        found = await run_in_threadpool(service.photo, image_number(request))
        return Response(found, media_type="image/jpeg", headers={"cache-control": "private, max-age=600"})

    async def panels(request: Request) -> Response:
        return as_json(await run_in_threadpool(service.panels, image_number(request), request.query_params.getlist("stage")))

    async def listed(request: Request) -> Response:
        mark = request.path_params["mark"]
        text = await run_in_threadpool(service.listed, mark)
        return Response(text, media_type="text/plain", headers={"content-disposition": f'attachment; filename="{mark}.txt"'})

    async def mark(request: Request) -> Response:
        return as_json(await run_in_threadpool(service.mark, await sent_table(request)))

    def asked(work: Callable[[Mapping[str, str]], dict[str, Any]]) -> Callable[..., Any]:
        async def answer(request: Request) -> Response:
            return as_json(await run_in_threadpool(work, dict(request.query_params)))

        return answer

    routes = [
        Route("/", page),
        *(Route(f"/files/{name}", send_file(name, *place)) for name, place in FILES.items()),
        Route("/photo/{number}", photo),
        Route("/list/{mark}.txt", listed),
        Route("/api/setup", asked(service.setup)),
        Route("/api/images", asked(service.images)),
        Route("/api/panels/{number}", panels),
        Route("/api/mark", mark, methods=["POST"]),
    ]
    return Gate(Starlette(routes=routes, exception_handlers=telling(STATUS)), token, host)
