"""Two machines publish at once: one wins, the other is told, and neither loses what it made."""

from __future__ import annotations

import pytest

from labelseg import RunOptions
from labelseg.errors import OvertakenError
from tests.remote.memory_bucket import MemoryBucket, WatchedBucket


def meets(bucket: MemoryBucket, verb: str, name: str, other) -> WatchedBucket:
    """A bucket on which another machine does something right before one asks something for the first time."""
    waiting = [other]

    def act(when: str, number: int, asked: str, of: str) -> None:
        if (when, asked, of) == ("before", verb, name) and waiting:
            waiting.pop()()

    return WatchedBucket(bucket, act)


def test_of_two_first_publishers_of_the_same_work_both_go_on(bucket, machine):
    second = machine("second")
    first = machine("first")
    first.bucket = meets(bucket, "create", "refs/cam/train.json", lambda: second.run("cam"))
    assert first.run()[1] == "computed"
    assert first.digests()["cam train"] == second.digests()["cam train"]
    assert second.run()[0:2] == ["fresh", "fresh"]
    assert [machine.open().store.verify() for machine in (first, second)] == [[], []]


def test_of_two_publishers_of_other_settings_one_wins_and_the_other_keeps_its_work(bucket, machine, caplog):
    first = machine("first")
    first.run()
    first.computed()
    second = machine("second")
    second.run()
    second.bucket = meets(bucket, "list", "objects/spread/", lambda: first.run("spread", beta=2.0))
    with pytest.raises(
        OvertakenError, match=r"another machine has published spread \(train\).*is kept, here and there.*labelseg run"
    ) as told:
        second.run("spread", beta=3.0)
    assert told.value.exit_code == 5
    assert first.computed() == second.computed() == [f"spread t{n:03d}" for n in range(6)]
    winner = first.digests()["spread train"]
    assert machine("third").digests()["spread train"] == winner
    assert len(bucket.names("objects/spread/")) == 6, "parts of both, and those of before"

    caplog.clear()
    assert second.run("spread", beta=3.0)[-1] == "reused"
    assert second.computed() == []
    assert "takes the place of what was made here meanwhile" in caplog.text
    assert first.states() == {"fresh", "stale"}
    assert first.run("spread", beta=2.0)[-1] == "reused"
    assert first.digests()["spread train"] == winner


def test_an_answer_that_was_lost_is_no_defeat(bucket, machine):
    """The store has taken the ref, and its answer never came: asked again it says that there is one already."""
    first = machine("first")

    class Forgetful(MemoryBucket):
        def create(self, name, data):
            found = super().create(name, data)
            return None if name.startswith(("refs/", "objects/")) else found

    forgetful = Forgetful()
    forgetful.objects = bucket.objects
    first.bucket = forgetful
    assert first.run()[-1] == "computed"
    first.bucket = bucket
    assert first.run() == ["fresh"] * 5


def test_a_ref_that_was_removed_meanwhile_is_told(bucket, machine):
    first = machine("first")
    first.run()
    first.bucket = meets(bucket, "replace", "refs/spread/train.json", lambda: bucket.delete("refs/spread/train.json"))
    with pytest.raises(OvertakenError, match=r"refs/spread/train.json was removed while this machine worked. Publish it: labelseg run"):
        first.run("spread", beta=2.0)
    assert first.run("spread") == ["fresh"] * 5
    assert machine("second").digests()["spread train"] == first.digests()["spread train"]


def test_what_a_tag_tries_is_published_beside(bucket, machine):
    first = machine("first")
    first.run()
    before = bucket.objects["refs/spread/train.json"]
    first.run("spread", options=RunOptions(workers=0, tag="trial"), beta=2.0)
    assert bucket.objects["refs/spread/train.json"] == before
    assert "refs/spread/train@trial.json" in bucket.objects
