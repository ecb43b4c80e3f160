"""What ``labelseg view`` costs over many images: ``python -m benchmarks.pages.view``; the result goes to ``results/view-N.json``.

A page is what a browser asks for when one is turned to and looked through to its end: the list of its images, every photo, and all
panels of every image, over six connections as browsers hold. Pages are drawn from all orders and places: most pictures are made anew.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import local
from typing import Any
from urllib.parse import urlencode, urlsplit

from benchmarks.pages.large_workspace import make_large_workspace
from benchmarks.pages.spread import spread
from benchmarks.recording import origin
from benchmarks.scale.memory import peak_megabytes

RESULTS = Path(__file__).parents[1] / "results"
CONNECTIONS = 6
ORDERS = ("id", "quality", "confidence", "agreement", "miou")
SCREEN = 4  # images that a window shows before anybody scrolls


def processor_seconds(process: int) -> float:
    """Seconds that a process has computed so far, on Linux: other work on the machine hardly changes them."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Browser:
    """Asks a server as a browser does.

    Args:
        address: Of the page, its token included.
    """

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._host, self._path = parts.netloc, parts.path
        self._own = local()
        self._pool = ThreadPoolExecutor(CONNECTIONS)

    def get(self, path: str) -> bytes:
        """Ask for one thing, over the connection of this thread."""
        if not hasattr(self._own, "connection"):
            self._own.connection = http.client.HTTPConnection(self._host, timeout=600)
        self._own.connection.request("GET", self._path + path)
        reply = self._own.connection.getresponse()
        body = reply.read()
        if reply.status != 200:
            raise SystemExit(f"benchmark of view: {path} was answered with {reply.status}: {body[:200]!r}")
        return body

    def get_all(self, paths: Iterable[str]) -> int:
        """Ask for many things at once; bytes of all."""
        return sum(map(len, self._pool.map(self.get, paths)))

    def page(self, stages: list[str], asked: dict[str, Any]) -> dict[str, float]:
        """Turn to a page; seconds until its list, its first images and all of it are there, and its bytes."""
        started = time.perf_counter()
        listed = self.get("api/images?" + urlencode(asked))
        seconds = [time.perf_counter() - started]
        images, size = json.loads(listed)["images"], len(listed)
        for part in (images[:SCREEN], images[SCREEN:]):
            panels = [f"api/panels/{image['number']}?" + urlencode({"stage": stages}, doseq=True) for image in part]
            size += self.get_all([*(image["photo"] for image in part), *panels])
            seconds.append(time.perf_counter() - started)
        return {"list": seconds[0], "first images": seconds[1], "whole page": seconds[2], "bytes": size}


def measure(root: Path, pages: int) -> dict[str, Any]:
    """Start the server on a workspace, turn pages, and end it."""
    command = [sys.executable, "-m", "labelseg", "-C", str(root), "view"]
    started = time.perf_counter()
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        address = (server.stdout.readline() if server.stdout else "").strip()
        browser = Browser(address)
        browser.get("")
        begun, first = time.perf_counter() - started, peak_megabytes(server.pid)
        setup = json.loads(browser.get("api/setup"))
        count = json.loads(browser.get("api/images"))["pages"]
        draw, turned = random.Random(0), []
        for number in range(pages):
            asked: dict[str, Any] = {"sort": ORDERS[number % len(ORDERS)], "page": draw.randrange(count)}
            if number % 3 == 2:
                asked |= {"class": draw.choice(setup["classes"][1:])["id"], "page": draw.randrange(max(count // 6, 1))}
            before = processor_seconds(server.pid)
            turned.append(browser.page(setup["stages"], asked))
            turned[-1]["processor"] = processor_seconds(server.pid) - before
        memory = peak_megabytes(server.pid)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()
    return {
        "images": setup["images"],
        "stages": setup["stages"],
        "images a page": -(-setup["images"] // count),
        "pages": pages,
        "seconds until the first page": round(begun, 2),
        "seconds": {name: spread([one[name] for one in turned], 3) for name in ("list", "first images", "whole page")},
        "processor seconds of the server": spread([one["processor"] for one in turned], 2),
        "bytes of a page": spread([one["bytes"] for one in turned], 0),
        "megabytes at the start": round(first),
        "megabytes after all pages": round(memory),
    }


def main() -> None:
    """Measure, print and write the figures down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--pages", type=int, default=60)
    parser.add_argument("--workspace", type=Path, help="where the generated workspace lies or is made; else it is made and removed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = options.workspace or Path(folder) / "w"
        if not (root / "labelseg.toml").exists():
            make_large_workspace(root, options.images)
        found = measure(root, options.pages)
    command = f"python -m benchmarks.pages.view --images {found['images']} --pages {options.pages}"
    text = json.dumps({**origin(command), **found}, indent=1)
    print(text)
    (RESULTS / f"view-{found['images']}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
