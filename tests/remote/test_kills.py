"""A machine is killed at a chosen request to the store, by SIGKILL: nothing is lost, and nothing half written is ever read."""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from labelseg.pipeline.declare.store_url import parse_url
from labelseg.pipeline.remote.bucket import Bucket
from labelseg.pipeline.remote.s3_bucket import S3Bucket
from tests.remote.machines import Machine
from tests.remote.memory_bucket import FolderBucket, MemoryBucket, WatchedBucket

IMAGES = 3
Kill = tuple[str, int]
FORKS = multiprocessing.get_context("forkserver")  # a process that speaks to S3 cannot be forked
FORKS.set_forkserver_preload(["tests.remote.machines", "labelseg.pipeline.run.execution", "labelseg.pipeline.remote.clearing"])


def work(root: Path, bucket: Bucket, reads: bool, kill: Kill) -> None:
    """Run the chain, and read what it made, in a process that kills itself before or after a request."""
    os.fsync = lambda descriptor: None

    def act(when: str, number: int, verb: str, name: str) -> None:
        if (when, number) == kill:
            os.kill(os.getpid(), signal.SIGKILL)

    machine = Machine(root, WatchedBucket(bucket, act), IMAGES)
    machine.run()
    if reads:
        machine.masks()


def in_fork(root: Path, bucket: Bucket, reads: bool, kill: Kill) -> bool:
    """Work in a copy of this process; whether it was killed."""
    pid = os.fork()
    if pid == 0:
        try:
            work(root, bucket, reads, kill)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in (0, -signal.SIGKILL)
    return status != 0


def apart(root: Path, bucket: Bucket, reads: bool, kill: Kill) -> bool:
    """Work in a process that has not spoken to the store yet; whether it was killed."""
    child = FORKS.Process(target=_with_environ, args=({**os.environ}, root, bucket, reads, kill))
    child.start()
    child.join()
    assert child.exitcode in (0, -signal.SIGKILL)
    return child.exitcode != 0


def _with_environ(environ: dict[str, str], *work_arguments) -> None:
    os.environ.update(environ)
    work(*work_arguments)


def hunt(tmp_path: Path, bucket: Bucket, working: Callable[..., bool], uploads: list[Kill], downloads: list[Kill]) -> int:
    """Kill a machine again and again at its uploads, then another one at its downloads; how often."""
    reference = Machine(tmp_path / "reference", MemoryBucket(), IMAGES)
    reference.run()
    expected, computed = reference.digests(), reference.computed()
    first, second = Machine(tmp_path / "first", bucket, IMAGES), Machine(tmp_path / "second", bucket, IMAGES)
    kills = 0
    for kill in uploads:
        kills += working(first.root, bucket, False, kill)
        demand_sound(Machine(tmp_path / f"reader{kills}", bucket, IMAGES))
    working(first.root, bucket, False, ("never", 0))
    assert first.digests() == expected
    assert first.computed() == computed, "an item was lost, or computed twice"
    for kill in downloads:
        kills += working(second.root, bucket, True, kill)
        assert set(second.digests().values()) <= set(expected.values())
        assert second.open().store.verify() == []
    working(second.root, bucket, True, ("never", 0))
    assert (second.digests(), second.computed()) == (expected, [])
    assert second.open().store.verify() == []
    return kills


def demand_sound(reader: Machine) -> None:
    """See that all that a ref in the store names is there and sound, on a machine that never saw it."""
    workspace = reader.open()
    for ref in workspace.catalog.refs():
        for item in workspace.catalog.named(ref).items:
            workspace.store.read_item(ref.stage, item)


def test_nothing_is_lost_by_kills(tmp_path):
    uploads = [("after", 4), ("before", 8), ("after", 8)]
    assert hunt(tmp_path, FolderBucket(tmp_path / "bucket"), in_fork, uploads, [("before", 4), ("after", 5), ("after", 6)]) == 6


@pytest.mark.cluster
@pytest.mark.parametrize("start", range(1, 5))
def test_nothing_is_lost_by_kills_on_a_server(tmp_path, server, url, start):
    uploads = [(("before", "after")[n % 2], start + 2 * n) for n in range(5)]
    downloads = [(("before", "after")[n % 2], 1 + (start + n) % 5) for n in range(5)]
    assert hunt(tmp_path, S3Bucket(parse_url(url, "test")), apart, uploads, downloads) >= 8
