from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from labelseg.errors import ArtifactError
from labelseg.pipeline.store import manifests
from labelseg.pipeline.store.manifests import Catalog, Manifest, ManifestItem, Ref, content_digest

F00D, BEEF, OTHER = ("f00d" * 8, "beef" * 8, "0" * 32)
PART = "abcd" * 8
ITEMS = [ManifestItem("b", "k1", PART, 0, "d1"), ManifestItem("caf\udce9/a", "k2", PART, 1, "d2")]


@pytest.fixture
def catalog(tmp_path):
    return Catalog(tmp_path / ".labelseg")


def manifest(**changes):
    values = {
        "stage": "cam",
        "version": 2,
        "key": F00D,
        "params": {"scales": [0.5, 1.0]},
        "recipe": {"stage": "cam"},
        "items": ITEMS,
        "failed": [{"id": "c", "error": "truncated"}],
        "meta": {"classes": ["background", "Kätzchen"]},
        "libraries": {"torch": "2.6"},
        "device": "cpu",
        "seconds": 1.5,
        "created": "2025-01-01T00:00:00+00:00",
    }
    return Manifest(**{**values, **changes})


def ref(**changes):
    return Ref(**{"instance": "cam", "split": "train", "key": F00D, "digest": BEEF, "count": 2, **changes})


def test_a_manifest_reads_back_as_it_was_published(catalog):
    assert catalog.publish(manifest())
    assert catalog.load("cam", F00D) == manifest()


def test_there_is_no_manifest_before_one_is_published(catalog):
    assert catalog.load("cam", F00D) is None
    assert catalog.manifests() == []


def test_the_first_manifest_of_a_key_stands(catalog):
    assert catalog.publish(manifest(device="cpu"))
    assert not catalog.publish(manifest(device="cuda"))
    assert catalog.load("cam", F00D).device == "cpu"


def test_a_manifest_is_replaced_when_asked_for(catalog):
    catalog.publish(manifest())
    assert catalog.publish(manifest(failed=[]), replace=True)
    assert catalog.load("cam", F00D).failed == []


def test_of_many_publishers_exactly_one_succeeds(catalog):
    start = Barrier(8)

    def publish(number):
        start.wait()
        return catalog.publish(manifest(device=str(number)))

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(publish, range(8)))
    assert sum(won) == 1
    assert catalog.load("cam", F00D).device == str(won.index(True))
    assert [path.name for path in (catalog.root / "manifests" / "cam").iterdir()] == [f"{F00D}.json"]


def test_put_if_absent_holds_where_hard_links_do_not_exist(catalog, monkeypatch):
    def no_links(source, target):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", no_links)
    assert catalog.publish(manifest(device="cpu"))
    assert not catalog.publish(manifest(device="cuda"))
    assert catalog.load("cam", F00D).device == "cpu"


def test_a_failed_write_leaves_the_old_manifest_and_no_rubbish(catalog, monkeypatch):
    catalog.publish(manifest())

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        catalog.publish(manifest(failed=[]), replace=True)
    assert catalog.load("cam", F00D) == manifest()
    assert len(list((catalog.root / "manifests" / "cam").iterdir())) == 1


def test_the_content_digest_follows_ids_digests_and_order_and_nothing_else():
    moved = [item._replace(key=OTHER, part=OTHER, index=7) for item in ITEMS]
    assert content_digest(moved) == content_digest(ITEMS) == manifest().digest
    assert content_digest(ITEMS[::-1]) != content_digest(ITEMS)
    assert content_digest([ITEMS[0]._replace(digest="x"), ITEMS[1]]) != content_digest(ITEMS)
    assert content_digest([ITEMS[0]._replace(id="x"), ITEMS[1]]) != content_digest(ITEMS)


def test_manifests_are_listed_without_being_read(catalog):
    catalog.publish(manifest(key="b" * 32))
    catalog.publish(manifest(stage="refine", key="a" * 32))
    catalog.publish(manifest(key="a" * 32))
    catalog.manifest_path("cam", "a" * 32).write_bytes(b"")
    (catalog.root / "manifests" / "cam" / ".c.json.123.tmp").write_bytes(b"")
    assert catalog.manifests() == [("cam", "a" * 32), ("cam", "b" * 32), ("refine", "a" * 32)]


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9])
def test_a_truncated_manifest_is_reported_with_path_and_next_command(catalog, keep):
    catalog.publish(manifest())
    path = catalog.manifest_path("cam", F00D)
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    with pytest.raises(ArtifactError, match=r"manifests/cam/(f00d){8}\.json is damaged: .*Repair: labelseg verify --repair cam"):
        catalog.load("cam", F00D)


@pytest.mark.parametrize("change", [{"items": [["a", "k"]]}, {"items": None}, {"items": [1]}, {"surprise": 1}])
def test_json_that_is_no_manifest_is_reported(catalog, change):
    catalog.publish(manifest())
    path = catalog.manifest_path("cam", F00D)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ArtifactError, match="is damaged"):
        catalog.load("cam", F00D)


@pytest.mark.parametrize("found", [0, 4, "1", True])
def test_another_format_is_reported_with_both_versions(catalog, found):
    catalog.publish(manifest())
    path = catalog.manifest_path("cam", F00D)
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": found}))
    with pytest.raises(ArtifactError, match=rf"f00d\.json is format {found}, expected 3\. Repair: labelseg verify --repair cam"):
        catalog.load("cam", F00D)


def test_nan_never_reaches_a_manifest(catalog):
    with pytest.raises(ValueError, match="Out of range float"):
        catalog.publish(manifest(seconds=float("nan")))
    assert catalog.load("cam", F00D) is None


def test_a_ref_reads_back_and_moves(catalog):
    assert catalog.ref("cam", "train") is None
    catalog.set_ref(ref())
    assert catalog.ref("cam", "train") == ref()
    catalog.set_ref(ref(key=BEEF))
    assert catalog.ref("cam", "train").key == BEEF
    assert catalog.ref("cam", "val") is None
    assert catalog.ref("cam@wide", "train") is None


def test_a_tagged_ref_never_moves_the_main_one(catalog):
    catalog.set_ref(ref())
    catalog.set_ref(ref(key=BEEF), tag="sweep/beta=4")
    assert catalog.ref("cam", "train") == ref()
    assert catalog.ref("cam", "train", tag="sweep/beta=4") == ref(key=BEEF, tag="sweep/beta=4")
    assert catalog.refs() == [ref()]
    assert catalog.refs(tagged=True) == [ref(), ref(key=BEEF, tag="sweep/beta=4")]


@pytest.mark.parametrize("split", ["train", "train@x", "2012/train aug", "..", "Übung", "%40"])
def test_any_name_of_a_split_gives_a_ref_of_its_own(catalog, split):
    catalog.set_ref(ref(split="train", key=OTHER), tag="x")
    catalog.set_ref(ref(split=split))
    assert catalog.ref("cam", split) == ref(split=split)
    assert catalog.refs() == [ref(split=split)]
    assert {path.parent.parent.name for path in catalog.root.rglob("*.json")} == {"refs"}


def test_refs_are_sorted_and_a_models_ref_has_no_split(catalog):
    every = [ref(), ref(split="val"), ref(instance="cam@wide"), ref(instance="train-classifier", split="")]
    for one in reversed(every):
        catalog.set_ref(one)
    assert catalog.refs() == every
    assert catalog.ref("train-classifier") == every[-1]
    assert (catalog.root / "refs" / "train-classifier" / "model.json").exists()


@pytest.mark.parametrize("content", [b"", b"[]", b'{"format": 1}', b'{"format": 7}'])
def test_a_damaged_ref_is_reported_with_path_and_next_command(catalog, content):
    catalog.set_ref(ref())
    catalog.ref_path("cam", "train").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"refs/cam/train\.json is .*Repair: labelseg verify --repair cam"):
        catalog.ref("cam", "train")


def test_the_catalog_needs_neither_numpy_nor_zarr():
    modules = "labelseg.pipeline.store.manifests, labelseg.pipeline.store.sweeping, labelseg.pipeline.files.fingerprint"
    code = f"import sys, {modules}; print({{'numpy', 'zarr'}} & set(sys.modules))"
    root = Path(manifests.__file__).parents[3]
    found = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
