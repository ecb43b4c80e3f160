"""The chain of ``labelseg demo`` on a few scenes behind a server on this machine: ``python -m benchmarks.object_store``.

What runs cost beside a folder without a store; whether a second folder computes nothing and scores and exports the same; and what is
left after kills at uploads and downloads. What it finds goes to ``results/object_store.json``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.object_store.local_server import LocalServer, use
from benchmarks.recording import origin
from labelseg.commands.setup.demonstrations import TABLES
from labelseg.commands.workspace_file import workspace_text
from labelseg.workspace import Workspace

RESULTS = Path(__file__).parents[1] / "results" / "object_store.json"
SCENES = {"train": 6, "val": 3, "seed": 0}
SHORT = {"epochs": 1, "evaluate_every": 1}
BEGUN = re.compile(r"^\[\d+/\d+\]", re.MULTILINE)
URL = "s3://shared/scenes"


def prepare(root: Path, url: str) -> Path:
    """Write a workspace with the settings of the demonstration and short trainings; an empty URL means no store."""
    tables = {name: {**table, **({k: v for k, v in SHORT.items() if k in table})} for name, table in TABLES.items()}
    root.mkdir(parents=True, exist_ok=True)
    text = workspace_text({"scenes": SCENES}, "segment", "val", tables)
    (root / "labelseg.toml").write_text(text + (f'\n[store]\nurl = "{url}"\n' if url else ""))
    return root


def labelseg(root: Path, *words: str, kill: tuple[str, int] | None = None) -> tuple[int, str, tuple[float, float]]:
    """Run a command in a process of its own: how it ended, what it told, its seconds on the wall and those of processor."""
    module = ["benchmarks.object_store.killed", kill[0], str(kill[1])] if kill else ["labelseg"]
    started, before = time.perf_counter(), os.times()
    done = subprocess.run([sys.executable, "-m", *module, "-C", str(root), *words], capture_output=True, text=True, check=False)
    used, after = time.perf_counter() - started, os.times()
    seconds = round(used, 2), round(sum(after[2:4]) - sum(before[2:4]), 2)
    if done.returncode not in (0, -signal.SIGKILL):
        raise SystemExit(f"benchmark of the object store: labelseg {' '.join(words)} ended with {done.returncode}: {done.stderr}")
    return done.returncode, done.stdout if "--json" in words else done.stdout + done.stderr, seconds


def digests(root: Path) -> dict[str, str]:
    """What stands in a folder, by content."""
    return {f"{ref.instance} {ref.split}".strip(): ref.digest for ref in Workspace(root).catalog.refs()}


def files(folder: Path) -> dict[str, str]:
    """What is in a folder of results, by content."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*.png")
    }  # masks; the note beside them says when it was written


def scores(root: Path) -> Any:
    """What ``evaluate`` says of the end of the chain."""
    return json.loads(labelseg(root, "evaluate", "segment", "--split", "val", "--json")[1])


def compare(base: Path) -> dict[str, Any]:
    """Run the chain without and with a store, and in a second folder."""
    local, one, two = prepare(base / "local", ""), prepare(base / "one", URL), prepare(base / "two", URL)
    seconds: dict[str, list[tuple[float, float]]] = {}
    for name, root in (("local", local), ("store", one)):
        for what in ("whole chain", "nothing to do", "nothing to do", "nothing to do"):
            seconds.setdefault(f"{what}, {name}", []).append(labelseg(root, "run", "--workers", "0")[2])
            print(f"{what}, {name}: {seconds[f'{what}, {name}'][-1]}", flush=True)
    seconds["second folder, run"] = [(second := labelseg(two, "run", "--workers", "0"))[2]]
    seconds["second folder, export"] = [labelseg(two, "export", "segment", "--split", "val", "-o", str(base / "two-masks"))[2]]
    labelseg(local, "export", "segment", "--split", "val", "-o", str(base / "local-masks"))
    equal = {
        "digests of a run with the store and of one without": digests(one) == digests(local),
        "digests in the second folder": digests(two) == digests(local),
        "scores": scores(two) == scores(local),
        "exported masks": files(base / "two-masks") == files(base / "local-masks") != {},
        "second folder computed nothing": not BEGUN.search(second[1]),
    }
    size = sum(path.stat().st_size for path in (one / ".labelseg").rglob("*") if path.is_file())
    return {"seconds": seconds, "equal": equal, "artifacts": len(digests(one)), "bytes_here": size, "expected": digests(local)}


def kills(base: Path, expected: dict[str, str], number: int) -> dict[str, Any]:
    """Kill runs at their uploads until they come through, and readers at their downloads."""
    url = f"{URL}-killed"
    one, died, checks = prepare(base / "killed", url), 0, 0
    for n in range(number):
        died += labelseg(one, "run", "--workers", "0", kill=(("before", "after")[n % 2], 6 + 2 * (n % 4)))[0] != 0
        reader = Workspace(prepare(base / f"reader{n}", url))
        for ref in reader.catalog.refs():
            for item in reader.catalog.named(ref).items:
                reader.store.read_item(ref.stage, item)
                checks += 1
    labelseg(one, "run", "--workers", "0")
    uploads = {"kills": died, "items_read_back": checks, "equal": digests(one) == expected}
    two, died = prepare(base / "reading", url), 0
    for n in range(number):
        words = ("run", "--workers", "0") if n % 2 else ("export", "segment", "--split", "val", "-o", str(base / f"masks{n}"))
        died += _dies(two, words, n)
        if "All artifacts are what was written." not in labelseg(two, "verify")[1]:
            raise SystemExit("benchmark of the object store: something half written was left")
    again = labelseg(two, "run", "--workers", "0")[1]
    downloads = {"kills": died, "equal": digests(two) == expected, "computed": len(BEGUN.findall(again))}
    return {"uploads": uploads, "downloads": downloads}


def _dies(root: Path, words: tuple[str, ...], n: int) -> bool:
    """Kill a reader early in what it asks for; one that finds nothing to run may not ask so often."""
    module = [sys.executable, "-m", "benchmarks.object_store.killed", ("before", "after")[n % 2], str(2 + n % 6), "-C", str(root), *words]
    done = subprocess.run(module, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1, -signal.SIGKILL):  # 1: what it reads was not there yet
        raise SystemExit(f"benchmark of the object store: ended with {done.returncode}: {done.stderr}")
    return done.returncode == -signal.SIGKILL


def requests(count: int = 200, size: int = 1 << 20) -> dict[str, float]:
    """Milliseconds of a request on this server: 1 kB and 1 MB written and read, a listing."""
    from labelseg.pipeline.declare.store_url import parse_url
    from labelseg.pipeline.remote.s3_bucket import S3Bucket

    bucket, found = S3Bucket(parse_url("s3://shared/requests", "benchmark")), {}
    for name, data, times in (("1 kB", b"x" * 1000, count), ("1 MB", b"x" * size, count // 10)):
        for what, action in (
            ("written", lambda n, name=name, data=data: bucket.create(f"{name[:4]}/{n}", data)),
            ("read", lambda n, name=name: bucket.get(f"{name[:4]}/{n}")),
        ):
            started = time.perf_counter()
            for n in range(times):
                action(n)
            found[f"{name} {what}"] = round(1e3 * (time.perf_counter() - started) / times, 2)
    return found


def main() -> None:
    """Measure and write down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10, help="of each kind")
    parser.add_argument("--quick", action="store_true", help="the results are printed, not written")
    options = parser.parse_args()
    server = LocalServer()
    use(server)
    with tempfile.TemporaryDirectory(prefix="labelseg-store-") as folder:
        found = compare(Path(folder))
        expected = found.pop("expected")
        record = {**origin("python -m benchmarks.object_store"), "scenes": SCENES, "load": round(os.getloadavg()[0], 1), **found}
        record["kills"] = kills(Path(folder), expected, options.kills)
        record["milliseconds"] = requests()
    server.stop()
    print(json.dumps(record, indent=1))
    if not options.quick:
        RESULTS.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
