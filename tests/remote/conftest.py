"""A server that is started once, buckets in memory, and toy workspaces that share one of them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.object_store.local_server import LocalServer
from labelseg.pipeline.remote import s3_bucket
from tests.remote.machines import Machine
from tests.remote.memory_bucket import MemoryBucket

_PREFIXES = itertools.count()


@pytest.fixture(autouse=True)
def unsynced(monkeypatch) -> None:
    """Leave flushing to the operating system: no test here cuts the power."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(scope="session")
def running_server() -> Iterator[LocalServer]:
    server = LocalServer()
    yield server
    server.stop()


@pytest.fixture
def server(running_server, monkeypatch) -> LocalServer:
    """The server, to which this process may speak; one that is silent is not waited for long."""
    for name, value in running_server.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(s3_bucket, "RETRIES", 1)
    return running_server


@pytest.fixture
def url() -> str:
    """A place in the bucket that no other test uses."""
    return f"s3://shared/w{next(_PREFIXES)}-{os.getpid()}"


@pytest.fixture
def bucket() -> MemoryBucket:
    return MemoryBucket()


@pytest.fixture
def shared(made, bucket: MemoryBucket) -> MemoryBucket:
    """A copy of the bucket of the machine that the module has made, free to be changed."""
    bucket.objects = dict(made[0].bucket.objects)
    return bucket


@pytest.fixture
def machine(tmp_path: Path, bucket: MemoryBucket) -> Callable[..., Machine]:
    """Make machines that share the bucket, each with a folder and a copy of the data of its own."""
    return lambda name, **kwargs: Machine(tmp_path / name, bucket, **kwargs)
