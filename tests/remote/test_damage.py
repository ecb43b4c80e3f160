"""What is damaged in the store is told, never believed, and made again by a run; and a store that falls silent loses nothing."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from labelseg.errors import ArtifactError, DamageError, UnreachableError
from labelseg.pipeline.remote.packing import first_header, pack, unpack
from labelseg.pipeline.remote.remote_parts import object_name, part_of
from labelseg.pipeline.store.mending import mend
from labelseg.pipeline.store.records import to_json
from tests.remote.machines import Machine
from tests.remote.memory_bucket import MemoryBucket, WatchedBucket


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Machine, dict]:
    first = Machine(tmp_path_factory.mktemp("made") / "first", MemoryBucket(), images=3)
    first.run()
    first.computed()
    return first, first.masks()


def flip(bucket: MemoryBucket, name: str, at: int) -> None:
    """Change one bit of an object."""
    data = bytearray(bucket.objects[name][0])
    data[at if at >= 0 else data.index(b"c/0") + 8] ^= 1  # by default in the first bytes of an array
    bucket.write(name, bytes(data))


@pytest.mark.parametrize("at", [200, -1])
def test_a_damaged_part_is_refused_and_computed_again(made, shared, machine, at):
    second = machine("second", images=3)
    second.run()
    name = shared.names("objects/spread/")[0]
    flip(shared, name, at)
    with pytest.raises(DamageError, match=rf"s3://memory/w/{name} is not what was written. Repair: labelseg verify --repair spread"):
        second.masks()
    assert part_of(name) not in second.parts()
    assert second.open().store.problems("spread")[0].certain
    assert second.run()[-1] == "computed"
    assert len(second.computed()) in (1, 2)
    assert second.masks() == made[1]
    assert machine("third", images=3).masks() == made[1]


def test_a_damaged_part_is_written_again_by_who_makes_the_same(made, shared, machine):
    name = shared.names("objects/spread/")[0]
    sound = shared.objects[name][0]
    flip(shared, name, 200)
    for ref in shared.names("refs/spread/"):
        shared.delete(ref)
    shutil.copytree(made[0].root, machine("x").root.parent / "first")
    first = machine("first")
    first.open().remote.parts.put("spread", part_of(name))
    assert shared.objects[name][0] == sound


def test_another_part_under_a_name_is_left_alone_and_both_are_named(made, shared, machine):
    one, other = shared.names("objects/cam/")[:2]
    shared.write(one, shared.objects[other][0])
    shutil.copytree(made[0].root, machine("x").root.parent / "first")
    with pytest.raises(ArtifactError, match=rf"{one}: expected the part {part_of(one)}, found {part_of(other)}"):
        machine("first").open().remote.parts.put("cam", part_of(one))
    assert shared.objects[one][0] == shared.objects[other][0]


@pytest.mark.parametrize("prefix", ["refs/spread/", "manifests/spread/"])
def test_a_damaged_record_is_told_and_published_again(made, shared, machine, prefix, caplog):
    flip(shared, shared.only(prefix), 100)
    second = machine("second", images=3)
    assert second.states() == {"fresh", "missing"}
    assert "s3://memory/w/refs/spread/train.json, or what it names, is gone or not what was written, and is not used" in caplog.text
    assert second.run()[-1] in ("computed", "reused")
    assert second.computed() == []
    assert machine("third", images=3).masks() == second.masks() == made[1]


def test_a_sound_record_in_the_place_of_another_is_refused(made, shared, machine, caplog):
    """A manifest of the same key and the same items, which says that it was made at another time."""
    workspace = made[0].open()
    ref = workspace.catalog.ref("spread", "train")
    other = replace(workspace.catalog.named(ref), created="yesterday")
    shared.write(shared.only("manifests/spread/"), to_json(other))
    assert machine("second", images=3).states() == {"fresh", "missing"}
    assert "is gone or not what was written, and is not used" in caplog.text


def test_a_damaged_record_here_comes_again_once_it_is_taken_out(made, shared, machine):
    shutil.copytree(made[0].root, machine("x").root.parent / "first")
    first = machine("first")
    path = first.folder / "refs" / "spread" / "train.json"
    path.write_bytes(path.read_bytes()[:-9])
    store = first.open().store
    mend(store, store.problems())
    assert not path.exists()
    assert first.run() == ["fresh"] * 5
    assert (first.computed(), first.masks()) == ([], made[1])


def test_who_may_only_read_the_folder_is_told_and_sees_what_is_here(nobody, bucket, caplog):
    first = Machine(nobody / "first", bucket, images=2)
    first.run("cam")
    for folder in (first.folder, *(path for path in first.folder.rglob("*") if path.is_dir())):
        folder.chmod(0o500)
    try:
        (first.folder / "locks" / "workspace.lock").chmod(0o400)
        assert {row.state for row in first.open().status() if row.instance == "cam"} == {"fresh"}
    finally:
        for folder in (first.folder, *(path for path in first.folder.rglob("*") if path.is_dir())):
            folder.chmod(0o700)
    assert "Nothing is fetched from s3://memory/w" in caplog.text


def test_a_machine_that_holds_the_sound_record_puts_it_back(made, shared, machine):
    shutil.copytree(made[0].root, machine("x").root.parent / "first")
    sound = shared.objects["refs/cam/train.json"][0]
    flip(shared, "refs/cam/train.json", 100)
    assert machine("first").run() == ["fresh"] * 5
    assert shared.objects["refs/cam/train.json"][0] == sound


def test_damage_here_is_mended_from_the_store(made, shared, machine):
    shutil.copytree(made[0].root, machine("x").root.parent / "first")
    first = machine("first")
    for path in first.folder.glob("objects/spread/*/*.zarr/data/*/c/0"):
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamageError):
        first.masks()
    assert first.run()[-1] == "fresh"
    assert first.computed() == []
    assert first.masks() == made[1]


def silent_after(bucket: MemoryBucket, number: int, verbs: tuple[str, ...] = ()) -> WatchedBucket:
    """A store that answers no more from a request on."""

    def act(when: str, count: int, verb: str, name: str) -> None:
        if count >= number and (not verbs or verb in verbs):
            raise UnreachableError(f"s3://memory/w: cannot {verb} {name}: it does not answer. When it answers, run the same command again.")

    return WatchedBucket(bucket, act)


@pytest.mark.parametrize("number", [4, 12])
def test_a_store_that_falls_silent_costs_no_work(made, bucket, machine, number, caplog):
    first = machine("first", images=3)
    first.bucket = silent_after(bucket, number)
    with pytest.raises(UnreachableError, match=r"cannot .*: it does not answer") as told:
        first.run()
    assert told.value.exit_code == 7
    assert "The work goes on; what it makes is sent later." in caplog.text
    assert first.digests() == made[0].digests()
    first.computed()
    first.bucket = bucket
    assert first.run() == ["fresh"] * 5
    assert first.computed() == []
    for folder in ("objects/", "refs/"):
        assert bucket.names(folder) == made[0].bucket.names(folder)
    assert len(bucket.names("manifests/")) == 5


def test_a_run_does_not_begin_without_the_store(bucket, machine):
    first = machine("first", images=3)
    first.bucket = silent_after(bucket, 1)
    with pytest.raises(UnreachableError):
        first.run()
    assert first.computed() == []


def test_status_tells_what_is_known_here_while_the_store_is_silent(made, shared, machine, caplog):
    second = machine("second", images=3)
    second.run()
    second.bucket = silent_after(shared, 1)
    assert second.states() == {"fresh"}
    assert "it does not answer. When it answers, run the same command again. What follows is what is known here." in caplog.text


def test_a_part_that_cannot_be_fetched_fails_no_image(made, shared, machine):
    def silent(when: str, number: int, verb: str, name: str) -> None:
        if verb == "get" and name.startswith("objects/cam/"):
            raise UnreachableError(f"s3://memory/w: cannot read {name}: it does not answer.")

    second = machine("second", images=3)
    second.run()
    second.bucket = WatchedBucket(shared, silent)
    with pytest.raises(UnreachableError, match="cannot read objects/cam/"):
        second.run("spread", beta=2.0)
    second.bucket = shared
    second.run("spread", beta=2.0)
    assert not second.open().catalog.ref("spread", "train").failed


def test_a_part_travels_as_it_is(made, tmp_path):
    import zarr

    path = next(made[0].folder.glob("objects/cam/*/*.zarr"))
    data = pack(path)
    assert first_header(data) == (path / "zarr.json").read_bytes()
    unpack(data, tmp_path / "part")
    files = {p.relative_to(path): p.read_bytes() for p in path.rglob("*") if p.is_file()}
    assert {p.relative_to(tmp_path / "part"): p.read_bytes() for p in (tmp_path / "part").rglob("*") if p.is_file()} == files
    assert pack(tmp_path / "part") == data
    (tmp_path / "part.zip").write_bytes(data)
    with zarr.storage.ZipStore(tmp_path / "part.zip", mode="r") as store:
        assert sorted(zarr.open_group(store, mode="r")["data"].array_keys()) == ["scores.float32", "size.int32"]
    assert object_name("cam", path.stem) in made[0].bucket.objects


@pytest.mark.parametrize("name", ["../zarr.json", "/zarr.json", "data/../../x/zarr.json", "data/../c/0", "other.txt"])
def test_an_archive_with_other_names_is_refused(tmp_path, name):
    import io
    import zipfile

    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("zarr.json", "{}")
        archive.writestr(name, "x")
    with pytest.raises(ValueError, match="no archive of a part"):
        unpack(held.getvalue(), tmp_path / "part")
    assert not (tmp_path / "x").exists()
