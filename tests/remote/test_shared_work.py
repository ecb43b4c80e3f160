"""Two machines on one store: what one has made the other one finds, and reads when it needs it."""

from __future__ import annotations

import shutil

import pytest

from labelseg.errors import ArtifactError, DamageError
from labelseg.results import tags
from tests.pipeline import toy
from tests.remote.machines import Machine
from tests.remote.memory_bucket import MemoryBucket

CHAIN = ["fresh"] * 5


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Machine, dict]:
    """A machine that has run the chain, its bucket, and its masks; nobody changes them."""
    first = Machine(tmp_path_factory.mktemp("made") / "first", MemoryBucket())
    assert first.run() == ["trained", "computed", "computed", "trained", "computed"]
    first.computed()
    return first, first.masks()


@pytest.fixture
def first(made, shared, tmp_path) -> Machine:
    """A copy of the machine on that copy."""
    shutil.copytree(made[0].root, tmp_path / "first")
    return Machine(tmp_path / "first", shared)


def test_a_run_equals_one_without_a_store(made, tmp_path):
    toy.make(tmp_path / "alone")
    toy.ToyWorkspace(tmp_path / "alone").run(options=toy_options())
    refs = toy.ToyWorkspace(tmp_path / "alone").catalog.refs()
    assert {f"{ref.instance} {ref.split}".strip(): ref.digest for ref in refs} == made[0].digests()


def toy_options():
    from tests.remote.machines import HERE

    return HERE


def test_a_new_folder_finds_all_fresh_computes_nothing_and_reads_the_same(made, shared, machine):
    second = machine("second")
    assert second.states() == {"fresh"}
    assert second.parts() == set()
    assert second.run() == CHAIN
    assert (second.computed(), second.parts()) == ([], set())
    assert second.masks() == made[1]
    assert second.parts() == second.parts("spread") == made[0].parts("spread")
    assert second.open().store.verify() == []


def test_a_run_that_finds_all_fresh_reads_nothing_but_two_listings(first, shared):
    from tests.remote.memory_bucket import WatchedBucket

    asked = []
    first.bucket = WatchedBucket(shared, lambda when, number, verb, name: asked.append((verb, name)) if when == "before" else None)
    assert first.run() == CHAIN
    assert asked == [("list", "refs/"), ("list", "unfinished/")]


def test_a_part_is_in_the_store_before_its_manifest_and_that_before_its_ref(shared, made):
    names = list(shared.objects)  # in the order in which they were written
    for ref in made[0].open().catalog.refs():
        manifest = made[0].open().catalog.named(ref)
        at = names.index(f"refs/{ref.instance}/{ref.split or 'model'}.json")
        middle = names.index(f"manifests/{ref.stage}/{ref.key}/{manifest.seal}.json")
        parts = [names.index(f"objects/{ref.stage}/{part[:2]}/{part}.zarr.zip") for part in manifest.parts]
        assert max(parts) < middle < at


def test_new_images_are_computed_where_they_came_and_found_by_others(first, machine):
    second = machine("second")
    toy.set_image(second.root, "t900", 9)
    second.run()
    assert second.computed() == ["cam t900", "refine t900", "spread t900"]
    toy.set_image(first.root, "t900", 9)
    first.run()
    assert first.computed() == []
    assert first.masks() == second.masks()


def test_what_only_this_machine_made_is_published_by_its_next_run(first, shared, made):
    shared.objects.clear()
    assert first.run() == CHAIN
    assert set(shared.objects) == set(made[0].bucket.objects)


def test_settings_of_another_machine_made_before_are_taken_up_again(first, machine):
    """The artifact of the first settings is named by no ref any more; its manifest is found by its key."""
    first.run("spread", beta=3.0)
    first.computed()
    second = machine("second")
    second.run()
    assert second.computed() == []
    assert second.run("spread", beta=3.0)[-1] == "reused"
    assert second.computed() == []


def test_a_model_of_another_machine_that_no_ref_names_is_not_trained_again(first, machine):
    first.run("train-classifier", epochs=5)
    first.run("train-classifier", epochs=3)
    first.computed()
    second = machine("second")
    assert second.run("train-classifier", epochs=5) == ["reused"]
    assert (first.computed(), second.computed()) == ([], [])


def test_parts_of_a_killed_run_of_another_machine_are_found_by_their_keys(first, shared, machine, made):
    for name in [*shared.names("refs/spread/"), *shared.names("manifests/spread/")]:
        shared.delete(name)
    second = machine("second")
    second.run()
    assert second.computed() == []
    assert second.masks() == made[1]


def test_a_manifest_that_is_gone_here_comes_back(first, made):
    for path in first.folder.glob("manifests/cam/*.json"):
        path.unlink()
    assert first.run() == CHAIN
    assert first.digests() == made[0].digests()


def test_parts_that_were_deleted_here_come_back_when_they_are_read(first, made):
    shutil.rmtree(first.folder / "objects")
    assert first.states() == {"fresh"}
    assert first.run() == CHAIN
    assert first.masks() == made[1]


def test_a_whole_folder_that_is_gone_comes_back(first, made):
    shutil.rmtree(first.folder)
    assert first.run() == CHAIN
    assert first.masks() == made[1]


def test_tags_travel_and_go_everywhere(first, machine):
    tags.keep(first.open(), "before")
    second = machine("second")
    assert {name for name in second.digests() if name.endswith(" before")}
    second.run("spread", beta=3.0)
    assert second.digests()["spread train before"] != second.digests()["spread train"]
    tags.delete(second.open(), "before")
    first.run()
    assert not any("before" in name for name in first.digests())


def test_a_tag_that_is_only_half_there_is_not_seen(first, shared, machine):
    tags.keep(first.open(), "before")
    shared.write("unfinished/before.json", b"{}")
    shared.delete(shared.names("refs/cam/")[1])
    second = machine("second")
    assert not any("before" in name for name in second.digests())
    tags.keep(first.open(), "before")


def test_refs_of_instances_that_this_machine_does_not_know_stay_where_they_are(first, machine):
    first.open().write_config("spread@wide", {"beta": 2.0})
    first.run("spread@wide")
    assert not any("wide" in name for name in machine("second").digests())


def test_without_the_url_a_part_elsewhere_is_told_as_such(shared, machine):
    second = machine("second")
    second.run()
    with pytest.raises(ArtifactError, match=r"lies in an object store and not here.*labelseg config store.url s3://"):
        toy.ToyWorkspace(second.root)["spread", "train"]["t000"]


def test_another_url_is_refused_while_parts_lie_in_the_first_alone(shared, machine):
    from labelseg.errors import UsageError

    second = machine("second")
    second.run()
    second.bucket = MemoryBucket()
    second.bucket.url = "s3://other/w"
    with pytest.raises(UsageError, match=r"8 parts of this workspace lie in s3://memory/w and not here.*store.url s3://memory/w"):
        second.run()


def test_a_part_that_is_gone_everywhere_is_computed_again(made, shared, machine):
    second = machine("second")
    second.run()
    for name in shared.names("objects/spread/"):
        shared.delete(name)
    with pytest.raises(DamageError, match=r"s3://memory/w/objects/spread/.* is gone, and lies not in .*Repair: labelseg verify --repair"):
        second.masks()
    assert second.run()[-1] == "computed"
    assert second.computed() == [f"spread t{n:03d}" for n in range(6)]
    assert second.masks() == made[1]


def test_a_part_that_lies_nowhere_is_not_taken_for_there(first, shared, made):
    shutil.rmtree(first.folder / "objects" / "spread")
    for name in shared.names("objects/spread/"):
        shared.delete(name)
    assert first.states() == {"fresh", "failed"}
    assert first.run()[-1] == "computed"
    assert first.masks() == made[1]
