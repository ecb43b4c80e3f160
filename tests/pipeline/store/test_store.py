from __future__ import annotations

import inspect
import os
import pickle
import shutil
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from labelseg.errors import ArtifactError
from labelseg.pipeline.files.digests import digest
from labelseg.pipeline.store import parts, store
from labelseg.pipeline.store.headers import DTYPES, part_path
from labelseg.pipeline.store.manifests import Manifest, ManifestItem, Ref
from labelseg.pipeline.store.parts import PartItem, array_digest
from labelseg.pipeline.store.shards import Shard
from labelseg.pipeline.store.store import PartWriter, Store

F00D = "f00d" * 8
REPOSITORY = Path(store.__file__).parents[3]

IMPORTS = """
from __future__ import annotations
import sys
from pathlib import Path
import numpy as np
from labelseg.pipeline.store.parts import PartItem
from labelseg.pipeline.store.store import PartWriter, Store
"""

WRITE_FOR_EVER = """
from itertools import count
artifacts = Store(Path(sys.argv[1]))
artifacts.write_part("warm-up", {}, [noise("0", "warm")])
print("ready", flush=True)
for number in count():
    artifacts.write_part("cam", {}, [noise(f"{number}-{k}", sys.argv[2]) for k in range(8)])
"""

WRITE_SHARED_AND_OWN = """
writer = PartWriter(Store(Path(sys.argv[1])), "cam", {"writer": sys.argv[2]}, max_items=4)
print("ready", flush=True)
sys.stdin.readline()
for group in ("shared", sys.argv[2]):
    for number in range(20):
        writer.add(noise(str(number), group))
    print([location.part for location in writer.flush()], flush=True)
"""


def noise(name, group):
    """An item whose arrays follow from its id, so that a reader knows what to expect."""
    rng = np.random.default_rng([*f"{group}/{name}".encode()])
    arrays = {
        "scores": rng.random((2, 180, 240)).astype(np.float16),
        "class_ids": rng.integers(0, 20, 2).astype(np.int16),
        "mask": rng.integers(0, 255, (180, 240)).astype(np.uint8),
    }
    return PartItem(f"{group}/{name}", f"key {group}/{name}", arrays)


def start(code, *arguments):
    """Start a Python process that knows the store and ``noise``, and wait until it is ready."""
    command = [sys.executable, "-c", IMPORTS + inspect.getsource(noise) + code, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name in expected:
        assert found[name].dtype == expected[name].dtype
        np.testing.assert_array_equal(found[name], expected[name], strict=True)


def part_folder(artifacts, location, stage="cam"):
    return part_path(artifacts.root, stage, location.part)


def publish(artifacts, stage, items, locations, **changes):
    rows = [ManifestItem(item.id, item.key, *location) for item, location in zip(items, locations, strict=True)]
    artifacts.catalog.publish(Manifest(**{"stage": stage, "version": 1, "key": F00D, "params": {}, "items": rows, **changes}))


def flip(path, position):
    """Change one byte of a file."""
    data = bytearray(path.read_bytes())
    data[position] ^= 0x10
    path.write_bytes(data)


@pytest.fixture
def artifacts(tmp_path):
    return Store(tmp_path / ".labelseg")


@pytest.fixture
def written(artifacts):
    """Three items written as one part, with their locations."""
    items = [noise(str(k), "toy") for k in range(3)]
    return items, artifacts.write_part("cam", {"version": 1, "device": "cpu"}, items)


def test_items_read_back_as_they_were_written(artifacts, written):
    items, locations = written
    for item, location in zip(items, locations, strict=True):
        assert_same(artifacts.read("cam", location.part, location.index), item.arrays)
        assert location.digest == array_digest(item.arrays)
    assert [location.index for location in locations] == [0, 1, 2]
    assert len({location.part for location in locations}) == 1


ANY_ARRAY = st.sampled_from(DTYPES).flatmap(
    lambda dtype: arrays_of.arrays(dtype, arrays_of.array_shapes(min_dims=0, min_side=0, max_side=5))
)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    st.lists(
        st.dictionaries(st.sampled_from(["mask", "scores", "layer1.0.weight", "x-y"]), ANY_ARRAY),
        min_size=1,
        max_size=5,
    )
)
def test_any_arrays_read_back_bit_by_bit(tmp_path_factory, several):
    artifacts = Store(tmp_path_factory.mktemp("any"))
    locations = artifacts.write_part("any", {}, [PartItem(str(k), "key", arrays) for k, arrays in enumerate(several)])
    for location, expected in zip(locations, several, strict=True):
        found = artifacts.read("any", location.part, location.index)
        assert {name: (a.dtype, a.shape, a.tobytes()) for name, a in found.items()} == {
            name: (a.dtype, a.shape, a.tobytes()) for name, a in expected.items()
        }
    assert artifacts.verify() == []


def test_items_longer_than_a_chunk_read_back(artifacts):
    rng = np.random.default_rng(0)
    sizes = (parts.CHUNK_BYTES - 1, 1, 3 * parts.CHUNK_BYTES + 7, parts.CHUNK_BYTES)
    items = [PartItem(str(n), "key", {"a": rng.integers(0, 255, n).astype(np.uint8), "b": rng.random(n // 4)}) for n in sizes]
    locations = artifacts.write_part("long", {}, items)
    for item, location in reversed(list(zip(items, locations, strict=True))):
        assert_same(artifacts.read("long", location.part, location.index), item.arrays)


def test_a_read_fetches_only_the_chunks_of_its_item(artifacts, monkeypatch):
    rng = np.random.default_rng(0)
    items = [PartItem(str(k), "key", {"scores": rng.random(parts.CHUNK_BYTES // 8)}) for k in range(16)]
    locations = artifacts.write_part("cam", {}, items)
    fetched = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda file, size, offset: fetched.append(size) or pread(file, size, offset))
    artifacts.read("cam", locations[5].part, 5)
    assert 0.8 * parts.CHUNK_BYTES < sum(fetched) < 1.1 * parts.CHUNK_BYTES


@pytest.mark.parametrize("dtype", ["uint8", "bool", "int16", "float16", "float64"])
def test_shards_read_as_zarr_reads_them(artifacts, dtype):
    rng = np.random.default_rng(0)
    values = (rng.random(700_001) * 100).astype(dtype)
    (location,) = artifacts.write_part("cam", {}, [PartItem("x", "key", {"a": values})])
    folder = part_folder(artifacts, location) / "data" / f"a.{dtype}"
    expected, shard = zarr.open_array(folder, mode="r")[:], Shard(folder)
    for start, stop in ((0, len(values)), (0, 1), (shard.chunk - 1, shard.chunk + 1), (5, 5), (len(values) - 1, len(values))):
        np.testing.assert_array_equal(shard.read(start, stop), expected[start:stop], strict=True)


def test_what_is_read_may_be_changed_without_harm(artifacts, written):
    items, locations = written
    first = artifacts.read("cam", *locations[0][:2])
    for array in first.values():
        array[...] = 1
    assert_same(artifacts.read("cam", *locations[0][:2]), items[0].arrays)


def test_arrays_of_any_memory_layout_and_byte_order_are_taken(artifacts):
    plain = np.arange(12, dtype=np.float32).reshape(3, 4)
    variants = [plain, np.asfortranarray(plain), plain.astype(">f4"), np.repeat(plain, 2, axis=1)[:, ::2]]
    locations = artifacts.write_part("cam", {}, [PartItem(str(k), "key", {"a": a}) for k, a in enumerate(variants)])
    for location in locations:
        np.testing.assert_array_equal(artifacts.read("cam", *location[:2])["a"], plain, strict=True)
    assert len({location.digest for location in locations}) == 1


def test_the_digest_depends_on_name_dtype_shape_and_values():
    a = np.arange(6, dtype=np.int32)
    variants = [
        {"a": a},
        {"b": a},
        {"a": a.astype(np.int64)},
        {"a": a.view(np.float32)},
        {"a": a.reshape(2, 3)},
        {"a": a.reshape(3, 2)},
        {"a": a[:5]},
        {"a": a + 1},
        {"a": a, "b": a},
        {"a": a[:3], "b": a[3:]},
        {},
        {"a": a[:0]},
    ]
    assert len({array_digest(variant) for variant in variants}) == len(variants)
    assert array_digest({"a": a, "b": a + 1}) == array_digest({"b": a + 1, "a": a})


def test_a_digest_does_not_change_between_releases():
    assert array_digest({"mask": np.zeros((2, 2), np.uint8), "ids": np.array([3], np.int16)}) == "862bba70ad484f9f7d6ea743625685c5"


@pytest.mark.parametrize("array", [np.array(["a"]), np.array([1j]), np.array([None]), np.array([1], np.uint32)])
def test_an_array_that_a_part_cannot_hold_is_refused_and_leaves_nothing(artifacts, array):
    with pytest.raises(ArtifactError, match=r"cam for 7: array x is .*, expected one of bool, uint8"):
        artifacts.write_part("cam", {}, [PartItem("7", "key", {"x": array})])
    assert [path for path in artifacts.root.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("name", ["", "a/b", "../x", ".x", "__x"])
def test_a_name_that_is_no_name_is_refused(artifacts, name):
    with pytest.raises(ArtifactError, match="cannot be the name of an array"):
        artifacts.write_part("cam", {}, [PartItem("7", "key", {name: np.zeros(1)})])


def test_a_part_is_a_zarr_group_with_few_files_and_the_codecs_of_the_design(artifacts, written):
    _, locations = written
    path = part_folder(artifacts, locations[0])
    group = zarr.open_group(path, mode="r")
    assert sorted(group["data"].array_keys()) == ["class_ids.int16", "mask.uint8", "scores.float16"]
    assert group.attrs["header"] == {"version": 1, "device": "cpu"}
    assert sum(file.is_file() for file in path.rglob("*")) == 8
    codecs = {name: group["data"][name].metadata.to_dict()["codecs"][0]["configuration"]["codecs"] for name in group["data"]}
    assert [codec["name"] for codec in codecs["scores.float16"]] == ["bytes", "blosc", "crc32c"]
    assert codecs["scores.float16"][1]["configuration"]["typesize"] == 2
    assert codecs["mask.uint8"][1] == {"name": "zstd", "configuration": {"level": 1, "checksum": True}}
    assert group["data/scores.float16"].chunks == (parts.CHUNK_BYTES // 2,)


def test_headers_tell_what_parts_hold(artifacts, written):
    items, locations = written
    (header,) = artifacts.part_headers("cam")
    assert (header.part_id, header.stage, header.header) == (locations[0].part, "cam", {"version": 1, "device": "cpu"})
    assert [item[:4] for item in header.items] == [(i.id, i.key, at.index, at.digest) for i, at in zip(items, locations, strict=True)]
    assert list(artifacts.part_headers("refine")) == []


def test_a_part_without_items_is_no_part(artifacts):
    assert artifacts.write_part("cam", {}, []) == []
    assert not artifacts.root.exists()


def test_writing_the_same_items_again_changes_nothing(artifacts, written):
    items, locations = written
    before = part_folder(artifacts, locations[0]).stat().st_ino
    assert artifacts.write_part("cam", {"device": "cuda"}, items) == locations
    assert part_folder(artifacts, locations[0]).stat().st_ino == before
    assert list((artifacts.root / "tmp").iterdir()) == []


def test_a_store_travels_to_another_process_without_its_open_files(artifacts, written):
    items, locations = written
    artifacts.read("cam", *locations[0][:2])
    copy = pickle.loads(pickle.dumps(artifacts))
    assert_same(copy.read("cam", *locations[0][:2]), items[0].arrays)
    assert len(pickle.dumps(artifacts)) < 500


def test_only_a_few_parts_stay_open(artifacts):
    locations = [artifacts.write_part("cam", {}, [PartItem(str(k), "key", {"a": np.array([k])})])[0] for k in range(40)]
    assert [int(artifacts.read("cam", *location[:2])["a"][0]) for location in locations] == list(range(40))
    assert len(artifacts._open) == store.OPEN_PARTS


# Writers


def test_the_writer_cuts_parts_by_items_and_reports_locations_in_order(artifacts):
    writer = PartWriter(artifacts, "cam", {}, max_items=4)
    for number in range(10):
        writer.add(PartItem(str(number), "key", {"a": np.array([number])}))
    locations = writer.flush()
    assert [int(artifacts.read("cam", at.part, at.index)["a"][0]) for at in locations] == list(range(10))
    assert [at.index for at in locations] == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]
    assert writer.flush() == []


def test_the_writer_cuts_parts_by_bytes_and_a_larger_item_stands_alone(artifacts):
    writer = PartWriter(artifacts, "cam", {}, max_bytes=100)
    for number, size in enumerate((40, 40, 40, 500, 10, 90)):
        writer.add(PartItem(str(number), "key", {"a": np.full(size, number, np.uint8)}))
    assert [at.index for at in writer.flush()] == [0, 1, 0, 0, 0, 1]


# Interruptions


def test_nothing_is_visible_when_a_write_fails_before_its_rename(artifacts, monkeypatch):
    def full(folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "sync_tree", full)
    with pytest.raises(OSError, match="No space left"):
        artifacts.write_part("cam", {}, [noise("0", "toy")])
    assert list(artifacts.part_headers("cam")) == []
    assert list((artifacts.root / "tmp").iterdir()) == []


def test_a_writer_killed_at_any_moment_leaves_only_whole_parts(artifacts):
    leftovers = 0
    for attempt in range(8):
        process = start(WRITE_FOR_EVER, artifacts.root, attempt % 4)
        before, deadline = len(list(artifacts.part_headers("cam"))), time.monotonic() + 30
        while attempt < 2 and len(list(artifacts.part_headers("cam"))) == before and time.monotonic() < deadline:
            time.sleep(0.01)  # on a busy machine the first part may take long
        time.sleep(0.02 + 0.011 * attempt)
        process.kill()
        process.communicate()
        leftovers += len(list((artifacts.root / "tmp").iterdir()))
    headers = list(artifacts.part_headers("cam"))
    assert leftovers > 0, "no kill came in the middle of a write"
    assert len(headers) > 0, "no part was finished before a kill"
    for part, item in ((header.part_id, item) for header in headers for item in header.items):
        group, name = item.id.split("/")
        assert_same(artifacts.read("cam", part, item.index), noise(name, group).arrays)
    assert {len(header.items) for header in headers} == {8}
    assert artifacts.verify() == []
    artifacts.sweep(keep=())
    assert [path for path in artifacts.root.rglob("*") if path.is_file()] == []


def test_two_writers_at_once_lose_nothing(artifacts):
    processes = [start(WRITE_SHARED_AND_OWN, artifacts.root, name) for name in ("left", "right")]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    reports = [process.communicate()[0].splitlines() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert reports[0][0] == reports[1][0]
    found = {item.id: (header.part_id, item.index) for header in artifacts.part_headers("cam") for item in header.items}
    assert found.keys() == {f"{group}/{number}" for group, number in product(("shared", "left", "right"), range(20))}
    for name, location in found.items():
        group, number = name.split("/")
        assert_same(artifacts.read("cam", *location), noise(number, group).arrays)
    assert list((artifacts.root / "tmp").iterdir()) == []


# Damage


def shard(artifacts, location, stack):
    return part_folder(artifacts, location) / "data" / stack / "c" / "0"


@pytest.mark.parametrize("stack", ["scores.float16", "mask.uint8", "class_ids.int16"])
@pytest.mark.parametrize("place", [0.02, 0.5, 0.95, 1.0])
def test_a_changed_byte_is_never_read_as_data(artifacts, written, stack, place):
    _, locations = written
    path = shard(artifacts, locations[0], stack)
    flip(path, int(place * (path.stat().st_size - 1)))
    assert any("is damaged" in problem and "Repair: labelseg verify --repair cam" in problem for problem in artifacts.verify())


@pytest.mark.parametrize("size", [0, 1, 1000])
def test_a_truncated_file_is_reported(artifacts, written, size):
    _, locations = written
    os.truncate(shard(artifacts, locations[0], "mask.uint8"), size)
    with pytest.raises(ArtifactError, match=r"cam/.*zarr: mask is damaged .*Repair: labelseg verify --repair cam"):
        artifacts.read("cam", *locations[0][:2])


def test_a_missing_file_is_never_read_as_zeros(artifacts, written):
    _, locations = written
    shard(artifacts, locations[0], "scores.float16").unlink()
    with pytest.raises(ArtifactError, match=r"scores is damaged .*No such file"):
        artifacts.read("cam", *locations[0][:2])


def test_a_file_that_goes_missing_after_it_was_opened_is_never_read_as_zeros(artifacts):
    items = [PartItem(str(k), "key", {"a": np.full(parts.CHUNK_BYTES, 7 + k, np.uint8)}) for k in range(2)]
    first, second = artifacts.write_part("cam", {}, items)
    artifacts.read("cam", *first[:2])
    shard(artifacts, first, "a.uint8").unlink()
    with pytest.raises(ArtifactError, match=r"a is damaged .*No such file"):
        artifacts.read("cam", *second[:2])
    assert_same(artifacts.read("cam", *first[:2]), items[0].arrays)  # decoded before


def test_a_missing_part_and_a_missing_item_are_reported(artifacts, written):
    _, locations = written
    with pytest.raises(ArtifactError, match="has 3 items, expected an item 3"):
        artifacts.read("cam", locations[0].part, 3)
    with pytest.raises(ArtifactError, match="has 3 items, expected an item -1"):
        artifacts.read("cam", locations[0].part, -1)
    with pytest.raises(ArtifactError, match=r"is missing\. Repair: labelseg verify --repair cam"):
        artifacts.read("cam", "0" * 32, 0)


NO_HEADERS = (b"", b"{", b"[]", b'{"attributes": {}}', b'{"attributes": {"format": 9}}', b'{"attributes": {"format": 1, "items": 3}}')


@pytest.mark.parametrize("content", NO_HEADERS)
def test_a_part_with_a_damaged_header_covers_nothing_and_is_reported(artifacts, written, content):
    _, locations = written
    (part_folder(artifacts, locations[0]) / "zarr.json").write_bytes(content)
    assert list(artifacts.part_headers("cam")) == []
    assert len(artifacts.verify()) == 1
    with pytest.raises(ArtifactError, match="Repair: labelseg verify --repair cam"):
        artifacts.read("cam", *locations[0][:2])


def test_a_header_of_another_part_is_reported(artifacts, written):
    items, locations = written
    (other,) = artifacts.write_part("cam", {}, items[:1])
    shutil.copy(part_folder(artifacts, locations[0]) / "zarr.json", part_folder(artifacts, other) / "zarr.json")
    assert any("it is the header of another part" in problem for problem in artifacts.verify())


def test_content_that_is_sound_zarr_but_not_what_was_written_is_reported(artifacts, written):
    _, locations = written
    zarr.open_array(part_folder(artifacts, locations[0]) / "data" / "mask.uint8", mode="r+")[5] = 254
    assert ["the content is not what was written" in problem for problem in artifacts.verify()] == [True]


def test_writing_the_items_again_heals_a_damaged_part(artifacts, written):
    items, locations = written
    shard(artifacts, locations[0], "mask.uint8").unlink()
    assert artifacts.write_part("cam", {}, items) == locations
    assert Store(artifacts.root).verify() == []
    assert_same(Store(artifacts.root).read("cam", *locations[0][:2]), items[0].arrays)


def test_verify_reports_manifests_that_lie(artifacts, written):
    items, locations = written
    publish(artifacts, "cam", items, locations)
    assert artifacts.verify() == artifacts.verify("cam") == []
    publish(artifacts, "cam", items, locations, key="beef" * 8, digest="wrong")
    publish(artifacts, "cam", items[:1], [locations[0]._replace(part="0" * 32)], key="cafe" * 8)
    artifacts.catalog.manifest_path("cam", "dead" * 8).write_bytes(b"{")
    problems = artifacts.verify("cam")
    assert len(problems) == 3
    assert "beef.json is damaged: its digest is not that of its items" in problems[0]
    assert "names item 0 of part 00000000" in problems[1]
    assert "dead.json is damaged" in problems[2]
    assert artifacts.verify("refine") == []


# Sweeping


@pytest.fixture
def swept_store(artifacts):
    """Two parts under manifests with refs, one part without manifest, a manifest without ref, rubbish."""
    for key, tag in (("main", None), ("tagged", "t")):
        items = [noise(key, "toy")]
        publish(artifacts, "cam", items, artifacts.write_part("cam", {}, items), key=digest(key))
        made = artifacts.catalog.load("cam", digest(key))
        artifacts.catalog.set_ref(Ref(instance="cam@wide", split="train", key=made.key, digest=made.digest, count=1), tag=tag)
    items = [noise("old", "toy")]
    publish(artifacts, "cam", items, artifacts.write_part("cam", {}, items), key=digest("old"))
    artifacts.write_part("cam", {}, [noise("alone", "toy")])
    (artifacts.root / "tmp" / "dead").mkdir(parents=True)
    (artifacts.root / "tmp" / "dead" / "half").write_bytes(b"123")
    (artifacts.root / "manifests" / "cam" / ".x.json.1.tmp").write_bytes(b"12")
    return artifacts


def ids(artifacts):
    return {item.id for header in artifacts.part_headers("cam") for item in header.items}


def test_a_sweep_keeps_what_refs_name_and_removes_the_rest(swept_store):
    swept = swept_store.sweep()
    assert (swept.manifests, swept.parts) == (1, 2)
    assert ids(swept_store) == {"toy/main", "toy/tagged"}
    assert swept_store.catalog.manifests() == sorted([("cam", digest("main")), ("cam", digest("tagged"))])
    assert swept_store.verify() == []
    assert [path.name for path in swept_store.root.rglob("*") if path.suffix == ".tmp" or path.parent.name == "tmp"] == []
    again = swept_store.sweep()
    assert (again.manifests, again.parts, again.bytes) == (0, 0, 0)


def test_a_sweep_may_be_told_what_to_keep(swept_store):
    swept_store.sweep(keep={("cam", digest("old"))})
    assert ids(swept_store) == {"toy/old"}


def test_a_dry_sweep_counts_and_removes_nothing(swept_store):
    before = sorted(swept_store.root.rglob("*"))
    swept = swept_store.sweep(dry_run=True)
    assert sorted(swept_store.root.rglob("*")) == before
    assert swept == swept_store.sweep()
    assert swept.bytes > 5


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_bytes(b"{")], ids=["gone", "damaged"])
def test_a_sweep_keeps_all_of_a_stage_whose_kept_manifest_cannot_be_read(swept_store, harm):
    harm(swept_store.catalog.manifest_path("cam", digest("main")))
    swept = swept_store.sweep()
    assert ids(swept_store) == {"toy/main", "toy/tagged", "toy/old", "toy/alone"}
    assert (swept.parts, swept.manifests) == (0, 0)
    assert swept_store.catalog.sound("cam", digest("old")) is not None
    assert "Nothing of cam goes, because" in swept.kept[0]


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"[1]"])
def test_a_sweep_that_cannot_read_a_ref_removes_no_artifact(swept_store, content):
    swept_store.catalog.ref_path("cam@wide", "train", "t").write_bytes(content)
    swept = swept_store.sweep()
    assert ids(swept_store) == {"toy/main", "toy/tagged", "toy/old", "toy/alone"}
    assert len(swept_store.catalog.manifests()) == 3
    assert "No artifact goes, because" in swept.kept[0]
    assert "Repair: labelseg verify --repair cam" in swept.kept[0]


@pytest.mark.parametrize("name", ["tmp", "checkpoints", "objects", "manifests", "runs"])
def test_a_sweep_follows_no_link(swept_store, tmp_path, name):
    scratch, folder = tmp_path / "scratch", swept_store.root / name
    shutil.move(folder, scratch) if folder.exists() else scratch.mkdir()
    (scratch / "cam" / ("0" * 32)).mkdir(parents=True, exist_ok=True)
    (scratch / "precious.zarr").write_text("1")
    before = sorted(scratch.rglob("*"))
    folder.symlink_to(scratch)
    swept = swept_store.sweep(keep_checkpoints=())
    assert sorted(scratch.rglob("*")) == before
    assert any(f"{name} is a link" in line for line in swept.kept)


def test_a_link_inside_goes_without_what_it_leads_to(swept_store, tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "x").write_text("1")
    for place in ("tmp/link", "tmp/dead/link", "checkpoints/train/link", f"objects/cam/00/{'0' * 32}.zarr", "manifests/cam/link.json"):
        link = swept_store.root / place
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(precious)
    swept_store.sweep(keep_checkpoints=())
    assert [path for path in swept_store.root.rglob("*") if path.is_symlink()] == []
    assert (precious / "x").read_text() == "1"
