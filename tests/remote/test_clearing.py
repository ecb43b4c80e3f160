"""Space is freed here and in the store, and nothing goes that a ref somewhere stands for."""

from __future__ import annotations

import shutil

import pytest

from tests.remote.machines import Machine
from tests.remote.memory_bucket import MemoryBucket, WatchedBucket


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Machine, dict]:
    """A machine that ran the chain twice, with other settings at its end."""
    first = Machine(tmp_path_factory.mktemp("made") / "first", MemoryBucket(), images=2)
    first.bucket.age = 48
    first.run("spread", beta=2.0)
    first.run("spread", beta=3.0)
    first.computed()
    return first, first.masks()


@pytest.fixture
def first(made, bucket, tmp_path) -> Machine:
    bucket.objects = dict(made[0].bucket.objects)
    shutil.copytree(made[0].root, tmp_path / "first")
    return Machine(tmp_path / "first", bucket)


def clear(machine: Machine, hours: float = 24, **kwargs):
    return machine.open().remote.clear([], hours=hours, **kwargs)


def test_what_no_ref_names_goes_from_the_store(first, bucket, machine, made):
    before = set(bucket.objects)
    told = clear(first, dry_run=True)
    assert (told.manifests, told.parts, set(bucket.objects)) == (1, 2, before)
    assert clear(first) == told
    assert len(before - set(bucket.objects)) == 3
    assert sum(len(made[0].bucket.objects[name][0]) for name in before - set(bucket.objects)) == told.bytes
    second = machine("second", images=2)
    second.run("spread", beta=3.0)
    assert (second.computed(), second.masks()) == ([], made[1])


def test_what_is_young_stays(first, bucket):
    before = dict(bucket.objects)
    bucket.age = 0.0
    assert clear(first, hours=72) == clear(first, hours=72, dry_run=True)
    assert bucket.objects == before


@pytest.mark.parametrize("damage", [b"", b"{}"])
def test_nothing_goes_while_a_ref_cannot_be_read(first, bucket, damage):
    bucket.write("refs/cam/val.json", damage)
    before = set(bucket.objects)
    told = clear(first)
    assert told.kept == ("Nothing goes from s3://memory/w, because refs/cam/val.json there cannot be read. Publish it again: labelseg run",)
    assert (told.parts, set(bucket.objects)) == (0, before)


def test_nothing_of_a_stage_goes_of_which_a_manifest_cannot_be_read(first, bucket):
    ref = first.open().catalog.ref("spread", "train")
    bucket.write(f"manifests/spread/{ref.key}/{ref.manifest}.json", b"{}")
    before = set(bucket.objects)
    told = clear(first)
    assert told.kept[0].startswith("Nothing of spread goes from s3://memory/w, because manifests/spread/")
    assert set(bucket.objects) == before


def test_nothing_goes_where_a_ref_moves_meanwhile(first, bucket):
    def publish(when, number, verb, name):
        if (when, verb, name) == ("before", "list", "objects/"):
            bucket.write("refs/cam/val.json", bucket.objects["refs/cam/train.json"][0])

    before = set(bucket.objects)
    first.bucket = WatchedBucket(bucket, publish)
    told = first.open().remote.clear([], hours=24)
    assert told.kept == ("Nothing goes from s3://memory/w, because another machine published there just now. Try again.",)
    assert set(bucket.objects) == before | {"refs/cam/val.json"}


def test_parts_are_evicted_here_and_come_again(first, made):
    size = len(first.parts())
    told = first.open().remote.evict(dry_run=True)
    assert len(first.parts()) == size
    assert first.open().remote.evict() == told
    assert told.parts == size - 2, "those of the first settings no ref names"
    assert first.run("spread", beta=3.0) == ["fresh"] * 5
    assert first.masks() == made[1]
    assert first.computed() == []


def test_a_part_that_is_damaged_in_the_store_is_not_evicted(first, bucket):
    for name in bucket.names("objects/cam/"):
        data = bytearray(bucket.objects[name][0])
        data[data.index(b"c/0") + 8] ^= 1
        bucket.write(name, bytes(data))
    first.open().remote.evict()
    assert len(first.parts("cam")) == 2
    assert first.parts("refine") == set()


def test_a_store_that_encrypts_calls_content_by_other_tags(first, bucket):
    """Then the object is read back before the part here goes."""

    class Encrypting(MemoryBucket):
        def list(self, prefix):
            yield from (found._replace(etag='"other"') for found in super().list(prefix))

    encrypting = Encrypting()
    encrypting.objects = bucket.objects
    first.bucket = encrypting
    first.open().remote.evict()
    assert first.parts("cam") == set()


def test_refs_that_left_here_stay_there_and_do_not_come_back(first, bucket):
    workspace = first.open()
    path = workspace.catalog.ref_path("cam", "train")
    path.unlink()
    workspace.remote.drop([path])
    assert "cam train" not in first.digests()
    assert "refs/cam/train.json" in bucket.objects
    first.open().remote.clear([path], hours=24)
    assert "refs/cam/train.json" not in bucket.objects


def test_local_gc_forgets_marks_that_nothing_names(first, machine):
    second = machine("second", images=2)
    second.run("spread", beta=3.0)
    marks = set(second.folder.glob("away/*/*.json"))
    second.open().catalog.ref_path("spread", "train").unlink()
    second.open().store.sweep()
    assert {path.parent.name for path in marks - set(second.folder.glob("away/*/*.json"))} == {"spread"}
