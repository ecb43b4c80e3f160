"""An S3 server of this machine that keeps everything in memory: moto's, with one request at a time, so that conditions of writes hold."""

from __future__ import annotations

import http.client
import logging
import os
import threading
from typing import Any

ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_REGION": "us-east-1"}


class LocalServer:
    """Serves from ``start`` to ``stop``, any number of times, at one address; what was stored stays.

    Args:
        bucket: Bucket to make.
    """

    def __init__(self, bucket: str = "shared") -> None:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._app = DomainDispatcherApplication(create_backend_app)
        self._server: Any = None
        self.port = 0
        self.start()
        self.request("PUT", f"/{bucket}")

    @property
    def environ(self) -> dict[str, str]:
        """What a program needs in its environment to speak to it."""
        return {**ENVIRONMENT, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}"}

    def start(self) -> None:
        """Begin to answer."""
        from werkzeug.serving import make_server

        self._server = make_server("127.0.0.1", self.port, self._app, threaded=False)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()

    def request(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Ask without obstore, as somebody else would; status and body of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request(method, path, body, {"Authorization": "AWS4-HMAC-SHA256 Credential=testing/20260101/us-east-1/s3/aws4_request"})
        answer = connection.getresponse()
        found = answer.status, answer.read()
        connection.close()
        return found


def use(server: LocalServer) -> None:
    """Let this process, and those that it starts, speak to the server."""
    os.environ.update(server.environ)
