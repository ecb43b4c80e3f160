from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from blake3 import blake3

from labelseg.errors import DataError
from labelseg.pipeline.files import fingerprint
from labelseg.pipeline.files.fingerprint import FileIndex

LONG_AGO = 1_000_000_000


@pytest.fixture
def image(tmp_path):
    return write(tmp_path / "a.jpg", b"pixels")


def write(path, data, mtime=LONG_AGO):
    path.write_bytes(data)
    os.utime(path, (mtime, mtime))
    return path


def without_reading(monkeypatch):
    """Make any read of a file's content fail."""
    monkeypatch.setattr(fingerprint.FileIndex, "_hash", lambda self, name: pytest.fail(f"{name} was read again"))


def test_the_digest_is_the_blake3_of_the_content(tmp_path, image):
    assert FileIndex(tmp_path / "files.json").digest(image) == blake3(b"pixels").hexdigest(length=16)


def test_an_unchanged_file_is_not_read_again_by_the_next_process(tmp_path, image, monkeypatch):
    index = FileIndex(tmp_path / "state" / "files.json")
    expected = index.digest(image)
    index.save()
    reopened = FileIndex(tmp_path / "state" / "files.json")
    without_reading(monkeypatch)
    assert reopened.digest(image) == expected


def test_a_change_of_content_is_seen_by_size_by_time_and_by_inode(tmp_path, image):
    index = FileIndex(tmp_path / "files.json")
    seen = [index.digest(image)]
    seen.append(index.digest(write(image, b"more pixels")))
    seen.append(index.digest(write(image, b"MORE PIXELS", mtime=LONG_AGO + 1)))
    os.replace(write(tmp_path / "other", b"new  pixels", mtime=LONG_AGO + 1), image)
    seen.append(index.digest(image))
    assert len(set(seen)) == 4


def test_a_file_modified_just_now_is_hashed_again_next_time(tmp_path, image):
    index = FileIndex(tmp_path / "files.json")
    now = time.time()
    before = index.digest(write(image, b"first!", mtime=now))
    # The same size, time and inode: only reading tells.
    after = index.digest(write(image, b"second", mtime=now))
    assert before != after


def test_a_modification_time_in_the_future_is_never_trusted(tmp_path, image):
    index = FileIndex(tmp_path / "files.json")
    later = time.time() + 3600
    assert index.digest(write(image, b"first!", mtime=later)) != index.digest(write(image, b"second", mtime=later))


def test_an_old_record_does_not_outlive_a_file_that_is_being_changed(tmp_path, image):
    index = FileIndex(tmp_path / "files.json")
    index.digest(image)
    index.digest(write(image, b"second", mtime=time.time()))
    index.save()
    assert json.loads((tmp_path / "files.json").read_bytes())["files"] == {}


def test_save_writes_only_when_something_changed(tmp_path, image):
    path = tmp_path / "files.json"
    index = FileIndex(path)
    index.save()
    assert not path.exists()
    index.digest(image)
    index.save()
    stamp = path.stat().st_ino
    index.digest(image)
    index.save()
    assert path.stat().st_ino == stamp
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".tmp"] == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": 99, "files": {"a": []}}', b'{"format": 1}'])
def test_a_damaged_index_only_costs_time(tmp_path, image, content):
    (tmp_path / "files.json").write_bytes(content)
    assert FileIndex(tmp_path / "files.json").digest(image) == blake3(b"pixels").hexdigest(length=16)


@pytest.mark.parametrize("name", ["missing.jpg", "."])
def test_what_is_no_file_is_a_data_error_that_names_it(tmp_path, name):
    with pytest.raises(DataError, match=f"{tmp_path / name}: cannot be read"):
        FileIndex(tmp_path / "files.json").digest(tmp_path / name)


def test_an_unchanged_file_costs_one_stat_and_nothing_is_read_or_written(tmp_path, monkeypatch):
    paths = [write(tmp_path / f"{i:02d}.jpg", b"%d" % i) for i in range(20)]
    index = FileIndex(tmp_path / "files.json")
    expected = [index.digest(path) for path in paths]
    index.save()
    reopened, calls, stat = FileIndex(tmp_path / "files.json"), [], os.stat
    monkeypatch.setattr(os, "stat", lambda name: calls.append(name) or stat(name))
    monkeypatch.setattr("builtins.open", None)
    found = [reopened.digest(path) for path in paths]
    reopened.save()
    assert (found, calls) == (expected, [str(path) for path in paths])


def test_a_file_has_one_name_from_wherever_the_index_is_opened(tmp_path, image, monkeypatch):
    monkeypatch.chdir(image.parent.parent)
    first = FileIndex(tmp_path / "files.json")
    first.digest(image.relative_to(image.parent.parent))
    first.save()
    monkeypatch.chdir(image.parent)
    without_reading(monkeypatch)
    assert FileIndex(tmp_path / "files.json").digest(Path(image.name)) == FileIndex(tmp_path / "files.json").digest(image)
