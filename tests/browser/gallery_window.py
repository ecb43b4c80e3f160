"""Report and view opened in a real Chromium."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

import uvicorn

from labelseg.answers.marks import marks_path
from labelseg.pages.gallery.panels import Panels
from labelseg.pages.serving.local_server import listen
from labelseg.pages.view.view_server import make_view_app
from labelseg.pages.view.view_service import ViewService
from labelseg.quality.measuring import measure
from labelseg.results.standing import ref_name


class Window:
    """A page: what it shows, and what went wrong in it."""

    def __init__(self, chromium, address, **how):
        self.page = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **how}).new_page()
        self.troubles, self.requests = [], []
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("console", lambda told: self.troubles.append(told.text) if told.type in ("error", "warning") else None)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address)
        self.wait("document.querySelectorAll('.card').length > 0")

    def wait(self, condition, seconds=30):
        """Wait until something holds, asked from outside: pages let nobody evaluate texts in them."""
        end = time.monotonic() + seconds
        while not self.page.evaluate(condition):
            assert time.monotonic() < end, condition
            time.sleep(0.02)

    @property
    def ids(self):
        return self.page.evaluate("[...document.querySelectorAll('.card')].map((card) => card.dataset.id)")

    @property
    def classes(self):
        """Classes of the layers that are shown."""
        return set(self.page.evaluate("[...document.querySelectorAll('.layer:not([hidden])')].map((layer) => layer.dataset.class)"))

    @property
    def asked_outside(self):
        """What was asked for that is neither in the page nor of its server."""
        return [url for url in self.requests if not url.startswith(("data:", "file:", "http://127.0.0.1"))]

    @property
    def broken(self):
        """Number of pictures that are there and cannot be shown."""
        return self.page.evaluate("[...document.images].filter((image) => image.complete && !image.naturalWidth).length")


@contextmanager
def viewed(workspace, ref):
    """Serve the page of ``labelseg view`` from a thread of this process; gives its address."""
    measured, _ = measure(workspace, ref)
    path = marks_path(workspace.root, ref.instance, ref.split)
    service = ViewService(Panels(workspace, ref.split, ref.instance), measured.images, path, ref_name(ref), "anna")
    opened = listen("view", "127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(make_view_app(service, "token", "127.0.0.1"), lifespan="off", log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{opened.getsockname()[1]}/token/"
    finally:
        server.should_exit = server.force_exit = True
        thread.join()
