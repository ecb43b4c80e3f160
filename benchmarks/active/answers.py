"""Ten thousand answers by eight clients at once to a server that is killed in between: none is lost, none counts twice.

``python -m benchmarks.active.answers`` makes a workspace of scenes in a temporary folder and prints what was found as JSON; it ends with
code 1 where something is lost or doubled. All traffic stays on this machine.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

from labelseg.answers.answer_files import answers_path, read_answers
from labelseg.data.scenes.drawing import write_scenes
from labelseg.pipeline.run.options import RunOptions
from labelseg.workspace import Workspace

IMAGES = 10


class Server:
    """``labelseg annotate`` at a port that stays, started again when it was killed."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._port = 0
        self.start()

    def start(self) -> None:
        """Start the program and wait for its address."""
        words = [sys.executable, "-m", "labelseg", "-C", str(self._root), "annotate", "ask", "--no-token", "--port", str(self._port)]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        self._port = int(self.address.rstrip("/").rpartition(":")[2])

    def kill(self) -> None:
        """End the program in the middle of whatever it does."""
        self.process.kill()
        self.process.communicate()


class Client:
    """A browser without a page: answers what it is asked, and sends again what got no reply."""

    def __init__(self, address: str, name: str) -> None:
        self._address, self._name = address, name
        self.accepted: dict[str, str] = {}  # nonce of an answer the server said it has -> the question
        self.late = self.retries = 0

    def work(self) -> None:
        """Answer until nothing is open."""
        question = self._ask(f"api/next?browser={self._name}")[1]["question"]
        number = 0
        while question is not None:
            number += 1
            nonce = f"{self._name}-{number}"
            body = {"question": question["id"], "browser": self._name, "nonce": nonce, "class": "star", "ms": 5}
            status, told = self._ask("api/answer", json.dumps(body).encode())
            if status == 200:
                self.accepted[nonce] = question["id"]
                question = told["question"]
            else:
                self.late += 1
                question = self._ask(f"api/next?browser={self._name}")[1]["question"]

    def _ask(self, path: str, body: bytes | None = None) -> tuple[int, dict]:
        for _ in range(600):
            try:
                with urllib.request.urlopen(urllib.request.Request(self._address + path, body), timeout=30) as reply:
                    return reply.status, json.load(reply)
            except urllib.error.HTTPError as error:
                return error.code, json.load(error)
            except (OSError, ValueError):
                self.retries += 1
                time.sleep(0.1)
        raise TimeoutError("the server did not come back")


def measure(root: Path, count: int, clients: int) -> dict:
    """Answer everything, kill the server halfway, and compare what clients were told with what the file holds."""
    table = write_scenes(root, train=IMAGES, val=1, seed=0)
    (root / "labelseg.toml").write_text("[data]\n" + "\n".join(f'{key} = "{value}"' for key, value in table.items()) + "\n")
    options = RunOptions(workers=0, create=True)
    Workspace(root).run("ask", "train", options=options, of="masks", choose="random", budget=count // IMAGES)
    path, server = answers_path(root, "ask"), Server(root)
    began = time.monotonic()
    workers = [Client(server.address, f"client{number}") for number in range(clients)]
    threads = [threading.Thread(target=worker.work, daemon=True) for worker in workers]
    for thread in threads:
        thread.start()
    while sum(len(worker.accepted) for worker in workers) < count // 2:
        time.sleep(0.01)
    server.kill()
    server.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - began
    server.kill()
    found = read_answers(path)
    answers = Counter(line.point for line in found.lines if line.kind == "answer")
    nonces = Counter(line.more["nonce"] for line in found.lines)
    told = {nonce for worker in workers for nonce in worker.accepted}
    return {
        "questions": count,
        "clients": clients,
        "answered": len(answers),
        "told but lost": len(told - nonces.keys()),
        "pixels answered twice": sum(times > 1 for times in answers.values()),
        "sent twice and counted twice": sum(times > 1 for times in nonces.values()),
        "repeats": sum(line.kind == "repeat" for line in found.lines),
        "too late": sum(worker.late for worker in workers),
        "sent again": sum(worker.retries for worker in workers),
        "bad lines": len(found.bad),
        "seconds": round(seconds, 1),
        "answers a second": round(count / seconds, 1),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="questions")
    parser.add_argument("--clients", type=int, default=8, help="clients at once")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), arguments.count, arguments.clients)
    print(json.dumps(found, indent=1))
    wrong = ("told but lost", "pixels answered twice", "sent twice and counted twice")
    sys.exit(any(found[name] for name in wrong) or found["answered"] != found["questions"])


if __name__ == "__main__":
    main()
