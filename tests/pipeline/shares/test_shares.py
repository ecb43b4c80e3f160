"""Shares of a map: in whatever order, killed or not, they make what one run makes; and what is told where they cannot."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from labelseg.errors import ItemsFailedError, MissingArtifactError, NotFreshError, UsageError
from labelseg.pipeline.run.options import RunOptions
from labelseg.pipeline.shares.share_finish import finish_shares, forget_shares
from labelseg.pipeline.shares.share_records import ShareFolder, share_of, unfinished_shares
from labelseg.pipeline.shares.share_work import work_share
from labelseg.pipeline.store.headers import PartHeader, part_paths
from tests.pipeline.toy import ToyWorkspace, computed, make, set_image

HERE = RunOptions(workers=0)
KILLED = """
import os, sys
from tests.pipeline import toy
from labelseg.pipeline.engines import worker
from labelseg.pipeline.shares.share_work import work_share
from labelseg.pipeline.run.options import RunOptions
from labelseg.pipeline.store.store import PartWriter
root, share, after = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
worker.FLUSH_SECONDS = 0.0
write, count = PartWriter._write, 0
def dying(self):
    global count
    write(self)
    count += 1
    if count == after:
        os.kill(os.getpid(), 9)
PartWriter._write = dying
work_share(toy.ToyWorkspace(root), "cam", "train", share, 4, RunOptions(workers=0))
"""


@pytest.fixture
def root(tmp_path) -> Path:
    """A toy of which the classifier is trained."""
    root = make(tmp_path / "w", images=20)
    ToyWorkspace(root).run("train-classifier", options=HERE)
    computed(root)
    return root


def work(root: Path, share: int, shares: int = 4, instance: str = "cam"):
    return work_share(ToyWorkspace(root), instance, "train", share, shares, HERE)


def finish(root: Path, instance: str = "cam", **more):
    return finish_shares(ToyWorkspace(root), instance, "train", HERE, **more)


def made(root: Path, instance: str = "cam"):
    """All of an artifact that does not tell when and where it was made."""
    catalog = ToyWorkspace(root).catalog
    ref = catalog.ref(instance, "train")
    manifest = catalog.named(ref)
    items = [(item.id, item.key, item.digest) for item in manifest.items]
    said = {
        k: getattr(manifest, k) for k in ("stage", "version", "key", "params", "recipe", "failed", "digest", "meta", "libraries", "device")
    }
    return items, said, (ref.key, ref.digest, ref.count, ref.failed, ref.recipe, ref.params)


def folder(root: Path) -> ShareFolder:
    (unfinished,) = unfinished_shares(root / ".labelseg")
    return unfinished.folder


@pytest.mark.parametrize(("count", "shares"), [(1, 1), (7, 3), (5, 8), (1000, 7), (100_000, 16)])
def test_every_item_belongs_to_one_share_and_shares_are_even(count, shares):
    owners = [share_of(position, count, shares) for position in range(count)]
    assert set(owners) <= set(range(shares))
    sizes = Counter(owners)
    assert max(sizes.values()) - min(sizes[k] for k in range(shares)) <= max(1, count // (8 * shares))
    if count > 64 * 8 * shares:
        assert len(set(owners[:64])) == 1  # neighbours, which lie in one part of what is read
    assert set(owners[-(count // 2) :]) == set(owners) or count < 16 * shares  # new images at the end are spread over all


def test_shares_in_any_order_make_what_one_run_makes(root, tmp_path):
    shutil.copytree(root, tmp_path / "alone")
    ToyWorkspace(tmp_path / "alone").run("refine", options=HERE)
    for instance in ("cam", "refine"):
        order = list(range(8))
        random.Random(1).shuffle(order)
        for share in order:
            work(root, share, 8, instance)
        result = finish(root, instance)
        assert (result.total, result.failed) == (20, 0)
        assert made(root, instance) == made(tmp_path / "alone", instance)
    assert computed(root) == sorted(f"{name} t{n:03d}" for n in range(20) for name in ("cam", "refine"))
    assert unfinished_shares(root / ".labelseg") == []
    assert not (root / ".labelseg" / "shares" / "cam").exists() or not list((root / ".labelseg" / "shares" / "cam").iterdir())
    assert ToyWorkspace(root).run("refine", options=HERE).work == []


def test_a_share_that_ran_runs_again_without_computing_and_leaves_its_record(root):
    assert work(root, 1).computed == 5
    path = folder(root).path / "1.json"
    before, _ = path.read_bytes(), computed(root)
    assert work(root, 1).computed == 0
    assert computed(root) == []
    assert path.read_bytes() == before


@pytest.mark.parametrize("after", [1, 3])
def test_a_share_that_is_killed_goes_on_where_it_was(root, after):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-c", KILLED, str(root), "2", str(after)], env=env, capture_output=True, timeout=100)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert folder(root).done(4) == []
    first = computed(root)
    assert work(root, 2).computed == 5 - after
    assert len(computed(root)) == 5 - after
    assert len(first) in (after, after + 1)


def test_failed_images_are_recorded_told_and_published_as_by_a_run(root, tmp_path):
    set_image(root, "t004", "x")
    set_image(root, "t011", "y")
    shutil.copytree(root, tmp_path / "alone")
    with pytest.raises(ItemsFailedError) as alone:
        ToyWorkspace(tmp_path / "alone").run("cam", options=HERE)
    told = []
    for share in range(4):
        try:
            work(root, share)
        except ItemsFailedError as error:
            told.append(str(error))
    assert [text.split(":")[0] for text in told] == [
        "1 of 5 images of share 0 of cam (train) failed, t004 the first",
        "1 of 5 images of share 3 of cam (train) failed, t011 the first",
    ] or len(told) == 2
    with pytest.raises(ItemsFailedError) as shared:
        finish(root)
    assert str(shared.value).split(" All are")[0] == str(alone.value).split(" All are")[0]
    assert made(root) == made(tmp_path / "alone")
    # Tried again by one share, the other one's failure stays known.
    with pytest.raises(ItemsFailedError):
        work(root, share_of(4, 20, 4))
    with pytest.raises(ItemsFailedError):
        finish(root)
    assert made(root) == made(tmp_path / "alone")


def test_missing_images_are_told_with_the_commands_that_compute_them_and_nothing_is_published(root):
    work(root, 0)
    work(root, 3)
    with pytest.raises(NotFreshError) as told:
        finish(root)
    assert str(told.value) == (
        "cam (train): 10 of 20 images are neither computed nor failed, in 2 of 4 shares. Nothing is published. Run: labelseg work cam "
        "--split train --shard 1 --shards 4; labelseg work cam --split train --shard 2 --shards 4. Then: labelseg finish cam --split train"
    )
    assert ToyWorkspace(root).catalog.ref("cam", "train") is None
    assert ToyWorkspace(root).status()[1].state == "missing"


def test_a_record_that_went_is_a_hole_where_an_image_had_failed_and_costs_nothing_elsewhere(root):
    set_image(root, "t004", "x")
    broken = share_of(4, 20, 4)
    for share in range(4):
        try:
            work(root, share)
        except ItemsFailedError:
            assert share == broken
    for path in folder(root).path.glob("[0-9].json"):
        path.unlink()
    computed(root)
    with pytest.raises(NotFreshError) as told:
        finish(root)
    assert str(told.value).startswith(
        "cam (train): 1 of 20 images are neither computed nor failed, in 1 of 4 shares. Nothing is published. "
        f"Run: labelseg work cam --split train --shard {broken} --shards 4. Then: labelseg finish cam --split train"
    )
    with pytest.raises(ItemsFailedError):
        work(root, broken)
    with pytest.raises(ItemsFailedError):
        finish(root)
    assert (computed(root), ToyWorkspace(root).catalog.ref("cam", "train").failed) == (["cam t004"], 1)


def test_parts_that_are_gone_or_damaged_are_not_published(root):
    for share in range(4):
        work(root, share)
    store = root / ".labelseg"
    first, second = list(part_paths(store, "cam"))[:2]
    lost = len(PartHeader.read(first).items) + len(PartHeader.read(second).items)
    shutil.rmtree(first)
    data = next(path for path in second.rglob("*") if "scores" in str(path) and path.is_file() and path.name != "zarr.json")
    whole = bytearray(data.read_bytes())
    whole[3] ^= 1
    data.write_bytes(whole)
    with pytest.raises(NotFreshError, match=f"{lost} of 20 images are neither"):
        finish(root)
    assert not second.exists()
    computed(root)
    for share in range(4):
        work(root, share)
    assert len(computed(root)) == lost
    assert finish(root).total == 20


def test_what_share_cannot_be_is_told(root):
    with pytest.raises(UsageError, match="--shard 4: expected 0 to 3"):
        work(root, 4)
    work(root, 0)
    with pytest.raises(UsageError, match=r"begun in 4 shares on .*, and this is one of 8\. Go on with --shards 4, or begin anew"):
        work(root, 1, 8)
    with pytest.raises(UsageError, match=r"train-classifier is a training, which is not cut into shares\. .*: labelseg train-classifier$"):
        work(root, 0, 4, "train-classifier")
    with pytest.raises((NotFreshError, MissingArtifactError), match="labelseg cam --split train"):
        work(root, 0, 4, "refine")
    assert forget_shares(ToyWorkspace(root), "cam", "train") == 1
    assert (work(root, 0, 8).computed, work(root, 1, 8).computed) == (0, 3)  # what one of four had is there already


def test_shares_of_another_key_are_told_and_not_used(root):
    work(root, 0)
    ToyWorkspace(root).write_config("cam", {"flip": False})
    with pytest.raises(MissingArtifactError, match=r"shares of 1 other keys lie there.*labelseg finish cam --split train --forget"):
        finish(root)
    for share in range(4):
        work(root, share)
    assert finish(root).total == 20
    assert len(unfinished_shares(root / ".labelseg")) == 1


def test_finish_waits_for_shares_that_are_not_done(root, monkeypatch):
    from labelseg.pipeline.shares import share_finish

    for share in range(3):
        work(root, share)
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        work(root, 3)

    monkeypatch.setattr(share_finish.time, "sleep", sleep)
    assert finish(root, wait=50.0).total == 20
    assert len(slept) == 1


def test_a_finished_map_leaves_nothing_to_shares_and_to_finish(root):
    for share in range(4):
        work(root, share)
    finish(root)
    assert work(root, 2).total == 0
    assert finish(root).action == "fresh"
    assert unfinished_shares(root / ".labelseg") == []


def test_other_commands_leave_shares_at_work_alone(root):
    work(root, 0)
    aside = root / ".labelseg" / "tmp" / "of-a-share"
    aside.mkdir(parents=True)
    ToyWorkspace(root).run("train-classifier", epochs=4, options=HERE)
    assert aside.exists()
    swept = ToyWorkspace(root).store.sweep()
    assert aside.exists()
    assert "shares of it are not finished" in " ".join(swept.kept)
    assert list(part_paths(root / ".labelseg", "cam"))
    swept = ToyWorkspace(root).store.sweep(shares=True)
    assert not aside.exists()
    assert not list(part_paths(root / ".labelseg", "cam"))
    assert unfinished_shares(root / ".labelseg") == []


@pytest.mark.parametrize("shares", [0, -1, 10**7, 10**400])
def test_a_job_of_so_many_shares_is_told_and_nobody_counts_to_it(root, shares):
    from labelseg.errors import DamageError
    from labelseg.pipeline.files.seals import BLANK, seal

    work(root, 0)
    path = folder(root).path / "job.json"
    path.write_bytes(seal(json.dumps({**json.loads(path.read_text()), "shares": shares, "seal": BLANK}).encode()))
    with pytest.raises(DamageError, match=r"it speaks of (no|too many) shares\. Remove it: labelseg verify --repair cam"):
        finish(root)
    assert folder(root).done(10**400) == [0]


def test_a_record_that_is_not_what_its_place_says_is_refused(root):
    work(root, 0)
    work(root, 1)
    path = folder(root).path
    good = (path / "1.json").read_bytes()
    (path / "1.json").write_bytes((path / "0.json").read_bytes())  # another share's
    (path / "2.json").write_bytes(good.replace(b'"share": 1', b'"share": 2'))  # its seal does not fit
    (path / "odd.json").write_bytes(good)
    found = folder(root).damages()
    assert [place.name for place, _ in found] == ["1.json", "2.json", "odd.json"]
    assert "cannot be" in found[0][1]
    other = path.parent / ("0" * 32)
    shutil.copytree(path, other)
    assert "under the key" in ShareFolder(root / ".labelseg", "cam", "0" * 32).damages()[0][1]
    shutil.rmtree(other)
    # Nothing that was computed is lost by it.
    computed(root)
    for share in range(4):
        work(root, share)
    assert len(computed(root)) == 10
    assert [place.name for place, _ in folder(root).damages()] == ["odd.json"]
    assert finish(root).total == 20


def test_a_link_in_place_of_the_records_leads_nowhere_else(root, tmp_path):
    work(root, 0)
    path = folder(root).path
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "job.json").write_text("mine")
    shutil.rmtree(path)
    path.symlink_to(elsewhere)
    from labelseg.errors import ArtifactError

    with pytest.raises(ArtifactError, match="leads out of"):
        work(root, 1)
    assert (elsewhere / "job.json").read_text() == "mine"
