"""Shares on machines that have nothing in common but a bucket: what one run makes, whatever is killed, damaged or silent."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from labelseg import RunOptions
from labelseg.errors import DamageError, ItemsFailedError, LockedError, MissingArtifactError, NotFreshError, UnreachableError, UsageError
from labelseg.pipeline.declare.store_url import parse_url
from labelseg.pipeline.files.locks import workspace_lock
from labelseg.pipeline.files.share_folders import begun_shares
from labelseg.pipeline.remote.bucket import Bucket
from labelseg.pipeline.remote.packing import first_header
from labelseg.pipeline.remote.remote_parts import part_of
from labelseg.pipeline.remote.s3_bucket import S3Bucket
from labelseg.pipeline.shares import share_finish
from labelseg.pipeline.shares.share_finish import finish_shares, forget_shares
from labelseg.pipeline.shares.share_work import work_share
from labelseg.pipeline.shares.shared_folder import bring_shares
from tests.pipeline import toy
from tests.remote.machines import HERE, Machine
from tests.remote.memory_bucket import FolderBucket, MemoryBucket, WatchedBucket

IMAGES, SHARES = 6, 3
FORKS = multiprocessing.get_context("forkserver")  # a process that speaks to S3 cannot be forked
FORKS.set_forkserver_preload(["tests.remote.machines", "labelseg.pipeline.shares.share_finish"])


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Machine, dict[str, str]]:
    """A machine that has trained alone, its bucket, and the digests of a run of all without one."""
    folder = tmp_path_factory.mktemp("made")
    first = Machine(folder / "first", MemoryBucket(), IMAGES)
    first.run("train-classifier")
    first.computed()
    alone = Machine(folder / "alone", MemoryBucket(), IMAGES)
    alone.run("refine")
    return first, alone.digests()


@pytest.fixture
def place(shared, tmp_path) -> Callable[..., Machine]:
    """Make machines on a copy of the bucket in which the classifier is."""
    return lambda name, bucket=shared: Machine(tmp_path / name, bucket, IMAGES)


def work(machine: Machine, share: int, shares: int = SHARES, instance: str = "cam", options: RunOptions = HERE) -> int:
    return work_share(machine.open(), instance, "train", share, shares, options).computed


def finish(machine: Machine, instance: str = "cam", **more):
    return finish_shares(machine.open(), instance, "train", HERE, **more)


def work_all(place: Callable[..., Machine], instance: str = "cam") -> None:
    for share in range(SHARES):
        work(place(f"worker{share}"), share, SHARES, instance)


def items_of(bucket: MemoryBucket, name: str) -> int:
    """How many items a part in the bucket holds."""
    return len(json.loads(first_header(bucket.objects[name][0]))["attributes"]["items"])


def silenced(bucket: Bucket, when: Callable[[int, str, str], bool]) -> WatchedBucket:
    """A bucket that does not answer certain requests."""

    def act(moment: str, number: int, verb: str, name: str) -> None:
        if moment == "before" and when(number, verb, name):
            raise UnreachableError("it is silent.")

    return WatchedBucket(bucket, act)


def test_shares_of_machines_that_share_a_bucket_alone_make_what_one_run_makes(place, shared, made):
    for instance in ("cam", "refine"):
        work_all(place, instance)
        result = finish(place("finisher"), instance)
        assert (result.total, result.failed, shared.names("shares/")) == (IMAGES, 0, [])
    last = place("last")
    assert last.digests() == made[1]
    assert last.run("refine") == ["fresh"] * 3
    assert [place(name).computed() for name in ("finisher", "last")] == [[], []]
    computed = sorted(line for k in range(SHARES) for line in place(f"worker{k}").computed())
    assert computed == sorted(f"{stage} t{n:03d}" for stage in ("cam", "refine") for n in range(IMAGES))
    assert begun_shares(place("finisher").folder) == []


def test_holes_are_named_on_any_machine_and_nothing_is_published(place, shared):
    work(place("worker"), 1)
    with pytest.raises(NotFreshError, match=r"4 of 6 images are neither .*--shard 0 --shards 3; .*--shard 2 --shards 3\. Then") as told:
        finish(place("finisher"))
    assert told.value.exit_code == 4
    assert shared.names("refs/cam/") == []
    with pytest.raises(UsageError, match=r"begun in 3 shares on .*, and this is one of 8\. Go on with --shards 3"):
        work(place("other"), 0, 8)


def test_what_failed_is_published_as_failed_by_a_machine_that_computed_nothing(place, shared):
    toy.set_image(place("worker1").root, "t001", "x")
    for name in ("worker0", "worker2", "finisher", "alone"):
        shutil.copytree(place("worker1").root / "images", place(name).root / "images", dirs_exist_ok=True)
    other = MemoryBucket()
    other.objects = dict(shared.objects)
    alone = place("alone", other)
    with pytest.raises(ItemsFailedError):
        alone.run("cam")
    for share in range(SHARES):
        try:
            work(place(f"worker{share}"), share)
        except ItemsFailedError:
            assert share == 1
    records = shared.names("shares/")
    with pytest.raises(UnreachableError):
        finish(place("finisher", silenced(shared, lambda number, verb, name: name == "refs/cam/train.json")))
    assert shared.names("shares/") == records  # until what they are of is published
    with pytest.raises(ItemsFailedError):
        finish(place("finisher"))
    assert place("finisher").digests()["cam train"] == alone.digests()["cam train"]
    assert shared.names("shares/") == []


class Killed(BaseException):
    """Stands in for SIGKILL: nothing below handles it."""


@pytest.mark.cluster
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_share_killed_at_any_request_loses_nothing(place, shared, made, moment):
    """Each time on a machine that is never seen again."""
    kills, places = 0, shared.objects
    while True:
        shared.objects = dict(places)

        def act(when: str, number: int, verb: str, name: str, at: int = kills + 1) -> None:
            if (when, number) == (moment, at):
                raise Killed

        try:
            work(place(f"killed{kills}", WatchedBucket(shared, act)), 0, 1)
        except Killed:
            kills += 1
        else:
            break
        sent = sum(items_of(shared, name) for name in shared.names("objects/cam/"))
        assert work(place(f"next{kills}"), 0, 1) == IMAGES - sent
        assert finish(place(f"finisher{kills}")).total == IMAGES
        assert place(f"finisher{kills}").digests()["cam train"] == made[1]["cam train"]
    assert kills > 8


@pytest.mark.cluster
def test_a_finish_killed_at_any_request_is_done_by_another_one(place, shared, made):
    work_all(place)
    kills, before = 0, dict(shared.objects)
    while True:
        shared.objects = dict(before)

        def act(when: str, number: int, verb: str, name: str, at: int = kills + 1) -> None:
            if (when, number) == ("after", at):
                raise Killed

        try:
            finish(place(f"killed{kills}", WatchedBucket(shared, act)))
        except Killed:
            kills += 1
        else:
            break
        assert finish(place(f"next{kills}")).total == IMAGES
        assert (shared.names("shares/"), place(f"next{kills}").digests()["cam train"]) == ([], made[1]["cam train"])
    assert kills > 12


@pytest.mark.parametrize("at", ["here", "elsewhere"])
def test_a_part_that_is_damaged_in_the_bucket_is_told_and_made_again_wherever_its_share_runs(place, shared, made, at):
    work_all(place)
    name = shared.names("objects/cam/")[0]
    data, lost = bytearray(shared.objects[name][0]), items_of(shared, name)
    data[data.index(b"c/0") + 8] ^= 1  # an array: the header is intact
    shared.write(name, bytes(data))
    with pytest.raises(NotFreshError, match=f"{lost} of 6 images are neither computed nor failed, in 1 of 3 shares"):
        finish(place("finisher"))
    machines = [place(f"worker{share}" if at == "here" else f"new{share}") for share in range(SHARES)]
    assert sum(work(machine, share) for share, machine in enumerate(machines)) == (0 if at == "here" else lost)
    assert finish(place("finisher")).total == IMAGES
    assert place("last").digests()["cam train"] == made[1]["cam train"]


def test_damaged_records_in_the_bucket_give_way_to_sound_ones(place, shared, caplog):
    work_all(place)
    for name in shared.names("shares/"):
        shared.write(name, shared.objects[name][0].replace(b'"shares": 3', b'"shares": 4'))
    with pytest.raises(MissingArtifactError, match=r"no share of cam \(train\) is begun as it is asked for now\. Begin:"):
        finish(place("finisher"))
    assert {f"s3://memory/w/{name} is not what was written, and is not used." in caplog.text for name in shared.names("shares/")} == {True}
    assert [work(place(f"new{share}"), share) for share in range(SHARES)] == [0, 0, 0]
    assert {json.loads(shared.objects[name][0])["shares"] for name in shared.names("shares/")} == {SHARES}
    assert finish(place("finisher")).total == IMAGES


def test_a_bucket_that_is_silent_at_first_keeps_a_share_from_beginning(place, shared):
    with pytest.raises(UnreachableError) as told:
        work(place("worker", silenced(shared, lambda number, verb, name: True)), 0)
    assert (told.value.exit_code, place("worker").computed()) == (7, [])


def test_what_a_share_made_while_the_bucket_was_silent_is_sent_by_the_same_command(place, shared):
    worker = place("worker", silenced(shared, lambda number, verb, name: verb == "create" and name.startswith("objects/")))
    with pytest.raises(UnreachableError):
        work(worker, 0)
    assert len(worker.computed()) == 2
    assert [name for name in shared.names("shares/") if not name.endswith("job.json")] == []
    assert work(place("worker"), 0) == 0
    assert {part_of(name) for name in shared.names("objects/cam/")} == place("worker").parts("cam") != set()
    assert len(shared.names("shares/")) == 2
    assert place("worker").computed() == []


def test_a_part_that_goes_from_the_bucket_meanwhile_is_told_and_computed_again(place, shared):
    work(place("worker"), 0)
    part = shared.names("objects/cam/")[0]

    def act(when: str, number: int, verb: str, name: str) -> None:
        if name.endswith("job.json"):
            shared.delete(part)

    with pytest.raises(DamageError, match=rf"{part} went away meanwhile\. Run the same command again\."):
        work(place("other", WatchedBucket(shared, act)), 0)
    assert work(place("other"), 0) == 1


def test_shares_that_begin_in_one_folder_at_once_wait_for_what_one_of_them_fetches(place, shared):
    worker = place("worker")
    with workspace_lock(worker.folder, "another share"), pytest.raises((NotFreshError, MissingArtifactError)):
        work(worker, 0, options=RunOptions(workers=0, wait=0.0))
    waited = []

    def other(folder, purpose, wait):
        waited.append(wait)
        raise LockedError("another share.")

    from labelseg.pipeline.remote import remote

    original, remote.workspace_lock = remote.workspace_lock, other
    try:
        with pytest.raises((NotFreshError, MissingArtifactError)):
            work(worker, 0)
    finally:
        remote.workspace_lock = original
    assert waited == [HERE.wait]


def test_finish_waits_for_shares_of_other_machines(place, shared, monkeypatch):
    work(place("worker0"), 0)
    work(place("worker1"), 1)
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        work(place("worker2"), 2)

    monkeypatch.setattr(share_finish.time, "sleep", sleep)
    assert finish(place("finisher"), wait=50.0).total == IMAGES
    assert slept == [share_finish.STORE_POLL_SECONDS]


def test_copies_of_records_go_when_another_machine_has_published_and_give_way_to_shares_begun_anew(place, shared):
    work_all(place)
    first, second = place("worker0"), place("worker1")
    bring_shares(first.open())
    assert begun_shares(first.folder) == begun_shares(second.folder) != []
    assert len(list(first.folder.glob("shares/cam/*/*.json"))) == 1 + SHARES
    assert forget_shares(place("other").open(), "cam", "train") == 1
    assert shared.names("shares/") == []
    assert work(second, 0, 2) == 0  # of two, and what three have computed is there
    work(first, 1, 2)
    assert sorted(path.name for path in first.folder.glob("shares/cam/*/*.json")) == ["1.json", "job.json"]
    assert finish(second).total == IMAGES
    assert begun_shares(first.folder) != []
    first.open().status()
    bring_shares(first.open())
    assert begun_shares(first.folder) == []


def test_nothing_goes_from_the_bucket_of_a_stage_that_shares_work_on_unless_asked(place, shared):
    shared.age = 48.0
    work(place("worker"), 0)
    shared.age, count = 0.0, len(shared.names("objects/cam/"))
    finisher = place("finisher").open()
    told = finisher.remote.clear([], hours=24)
    assert told.parts == 0
    assert told.kept[0].startswith("Nothing of cam goes from s3://memory/w, because shares of it are not finished.")
    assert finisher.remote.clear([], hours=24, shares=True).parts == count > 0
    assert (shared.names("shares/"), shared.names("objects/cam/")) == ([], [])


def _in_process(root: Path, bucket: Bucket, share: int | None, kill: tuple[str, int], environ: dict[str, str]) -> None:
    """Work on a share, or finish, in a process that kills itself before or after a request."""
    os.environ.update(environ)
    os.fsync = lambda descriptor: None

    def act(when: str, number: int, verb: str, name: str) -> None:
        if (when, number) == kill:
            os.kill(os.getpid(), signal.SIGKILL)

    machine = Machine(root, WatchedBucket(bucket, act), IMAGES)
    finish(machine) if share is None else work(machine, share)


def killed(root: Path, bucket: Bucket, share: int | None, kill: tuple[str, int] = ("never", 0)) -> int:
    """Do that; whether it was killed."""
    child = FORKS.Process(target=_in_process, args=(root, bucket, share, kill, {**os.environ}))
    child.start()
    child.join()
    assert child.exitcode in (0, -signal.SIGKILL)
    return child.exitcode != 0


@pytest.mark.cluster
@pytest.mark.parametrize("again", ["same", "new"])
@pytest.mark.parametrize("kind", ["folder", "server"])
def test_nothing_is_lost_by_kills_of_shares_and_of_finish(tmp_path, request, made, again, kind):
    if kind == "server":
        request.getfixturevalue("server")
    bucket = S3Bucket(parse_url(request.getfixturevalue("url"), "test")) if kind == "server" else FolderBucket(tmp_path / "bucket")
    for name, (data, _) in made[0].bucket.objects.items():
        bucket.create(name, data)
    kills = 0
    for share in (*range(SHARES), None):
        for attempt, kill in enumerate([("after", 6), ("before", 9), ("after", 9), ("after", 11), ("before", 13)]):
            kills += killed(tmp_path / f"{share}-{attempt if again == 'new' else ''}", bucket, share, kill)
        assert killed(tmp_path / f"{share}-{9 if again == 'new' else ''}", bucket, share) == 0
    assert kills > 12
    last = Machine(tmp_path / "last", bucket, IMAGES)
    assert last.digests()["cam train"] == made[1]["cam train"]
    assert list(bucket.list("shares/")) == []
    for item in last.open().catalog.named(last.open().catalog.ref("cam", "train")).items:
        last.open().store.read_item("cam", item)
