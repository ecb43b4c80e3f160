"""The server of the page: from requests to the service and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from labelseg.answers.desk import AnsweredError, UnknownQuestionError
from labelseg.pages.annotation.service import Service
from labelseg.pages.serving import messages
from labelseg.pages.serving.gate import Gate
from labelseg.pages.serving.messages import Endpoint, as_json, image_number, send_file, sent_table, telling

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
STATUS: dict[type[Exception], int] = {AnsweredError: 409, UnknownQuestionError: 404, **messages.STATUS}
Work = Callable[[dict[str, Any]], dict[str, Any]]


def make_app(service: Service, token: str, host: str) -> ASGIApp:
    """Make the application: ``GET`` for what changes nothing, ``POST`` with a JSON table for the rest.

    Args:
        service: What is asked for.
        token: First word of every path; empty asks for none.
        host: Address that the server listens on.
    """
    files = [Route(path, send_file(*named)) for path, named in FILES.items()]
    pictures = [Route(f"/{kind}/{{number}}", _picture(service, kind)) for kind in ("photo", "mask")]
    reads = {"setup": service.setup, "next": service.next, "move": service.move}
    writes = {"answer": service.answer, "undo": service.undo, "mixed": service.mixed, "flag": service.flag}
    asked = [Route(f"/api/{name}", _asked(work, service)) for name, work in reads.items()]
    said = [Route(f"/api/{name}", _asked(work, service), methods=["POST"]) for name, work in writes.items()]
    app = Starlette(routes=[*files, *pictures, *asked, *said], exception_handlers=telling(STATUS))
    return Gate(app, token, host)


def _picture(service: Service, kind: str) -> Endpoint:
    """Send the photo or the mask of an image; nothing where there is no mask."""

    async def picture(request: Request) -> Response:
        found = await run_in_threadpool(service.picture, kind, image_number(request))
        if found is None:
            return Response(status_code=204)
        return Response(found[0], media_type=found[1], headers={"cache-control": "private, max-age=600"})

    return picture


def _asked(work: Work, service: Service) -> Endpoint:
    """Send what the service says; where somebody was quicker, how the question stands now."""

    async def asked(request: Request) -> Response:
        values = dict(request.query_params) if request.method != "POST" else await sent_table(request)
        try:
            return as_json(await run_in_threadpool(work, values))
        except AnsweredError as error:
            return as_json({**await run_in_threadpool(service.conflict, values), "error": str(error)}, STATUS[AnsweredError])

    return asked
