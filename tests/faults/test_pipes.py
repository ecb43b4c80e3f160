"""Named pipes in place of what labelseg keeps: a reader that opened one would wait for ever."""

from __future__ import annotations

import os
import re

import numpy as np
import pytest

from labelseg.errors import ArtifactError
from labelseg.file_kinds import read_file
from labelseg.pipeline.files.seals import intact_tensors
from labelseg.pipeline.store.manifests import Manifest, ManifestItem, Ref
from labelseg.pipeline.store.parts import PartItem
from labelseg.pipeline.store.store import Store

KEY = "0123456789abcdef" * 2


@pytest.fixture
def store(tmp_path) -> Store:
    """A store with one artifact."""
    store = Store(tmp_path / ".labelseg")
    (place,) = store.write_part("cam", {}, [PartItem("a", KEY, {"mask": np.ones((2, 3), np.uint8)})])
    manifest = Manifest(stage="cam", version=1, key=KEY, params={}, items=[ManifestItem("a", KEY, *place)])
    store.catalog.publish(manifest)
    store.catalog.set_ref(Ref(instance="cam", split="train", key=KEY, digest=manifest.digest, count=1))
    return store


@pytest.mark.parametrize(
    "name", ["refs/cam/train.json", "manifests/cam/*.json", "objects/cam/*/*/zarr.json", "objects/cam/*/*/data/*/zarr.json"]
)
def test_a_pipe_in_place_of_a_record_is_named(store, name):
    (path,) = store.root.glob(name)
    path.unlink()
    os.mkfifo(path)

    def read() -> None:
        ref = store.catalog.ref("cam", "train")
        manifest = store.catalog.load("cam", ref.key)
        store.read("cam", manifest.items[0].part, 0)

    with pytest.raises(ArtifactError, match="it is a named pipe, not a file"):
        read()


def test_a_pipe_in_place_of_a_checkpoint_is_named(tmp_path):
    path = tmp_path / "last.safetensors"
    os.mkfifo(path)
    with pytest.raises(OSError, match=re.escape("it is a named pipe, not a file")):
        intact_tensors(path)


def test_a_file_is_read_whole(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)))
    assert read_file(path) == bytes(range(256))
