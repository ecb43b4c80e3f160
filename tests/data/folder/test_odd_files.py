"""What stands where a file should: it is named in one line, and never opened, which might not end."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labelseg.data.dataset import open_dataset
from labelseg.data.folder.images import image_size, read_image, read_mask
from labelseg.data.folder.labels import read_classes, read_labels, read_text, read_voc_annotation
from labelseg.errors import DataError
from labelseg.file_kinds import odd_kind
from labelseg.pipeline.files.fingerprint import FileIndex

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes")


def pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def device(path: Path) -> Path:
    path.symlink_to("/dev/zero")
    return path


def socket_file(path: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path))
    return path


KINDS = [(pipe, "a named pipe"), (folder, "a folder"), (device, "a device"), (socket_file, "a socket")]
READERS = [
    read_image,
    image_size,
    lambda path: read_mask(path, 3),
    read_text,
    read_classes,
    lambda path: read_labels(path, ("background", "cat")),
    lambda path: read_voc_annotation(path, ("background", "cat")),
    lambda path: FileIndex(path.parent / "index.json").digest(path),
]


@pytest.mark.parametrize(("make", "kind"), KINDS, ids=[kind for _, kind in KINDS])
def test_the_kind_of_what_is_no_file_is_told(tmp_path, monkeypatch, make, kind):
    monkeypatch.chdir(tmp_path)
    assert odd_kind(make(tmp_path / "x.png")) == kind


@pytest.mark.parametrize("there", ["file.png", "missing.png", "file.png/x", "x" * 300])
def test_a_file_and_what_opening_tells_is_not_odd(tmp_path, there):
    (tmp_path / "file.png").write_bytes(b"")
    assert odd_kind(tmp_path / there) == ""


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(("make", "kind"), KINDS[:3], ids=[kind for _, kind in KINDS[:3]])
def test_every_reader_names_it_and_does_not_wait(tmp_path, read, make, kind):
    with pytest.raises(DataError, match=rf"x\.png: .*found {kind}"):
        read(make(tmp_path / "x.png"))


@pytest.mark.parametrize(
    "content",
    [
        b"{" * 100_000,
        b"[" * 100_000,
        b'{"format": 1, "files": 3}',
        b'{"format": 1, "files": {"%s": 7}}',
        b'{"format": 1, "files": {"%s": [1, 2, 3, 4]}}',
    ],
)
def test_an_index_of_other_content_is_an_empty_one(tmp_path, content):
    (tmp_path / "a.png").write_bytes(b"abc")
    name = str(tmp_path / "a.png").encode()
    (tmp_path / "index.json").write_bytes(content.replace(b"%s", name))
    assert FileIndex(tmp_path / "index.json").digest(tmp_path / "a.png") == FileIndex(tmp_path / "none.json").digest(tmp_path / "a.png")


def test_a_digest_is_not_taken_from_an_entry_that_holds_something_else(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"abc")
    os.utime(path, (1, 1))
    status = path.stat()
    good = FileIndex(tmp_path / "none.json").digest(path)
    (tmp_path / "index.json").write_text(
        f'{{"format": 1, "files": {{"{path}": [{status.st_size}, {status.st_mtime_ns}, {status.st_ino}, 5]}}}}'
    )
    assert FileIndex(tmp_path / "index.json").digest(path) == good


def test_a_folder_with_the_name_of_an_image_holds_images(tmp_path):
    (tmp_path / "images" / "x.jpg").mkdir(parents=True)
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "images" / "x.jpg" / "a.png")
    assert open_dataset(tmp_path, {"images": "images", "classes": ["background", "cat"]}).ids("all") == ["x.jpg/a"]


def test_an_image_without_the_right_to_read_it_is_told(nobody):
    (nobody / "a.png").write_bytes(b"abc")
    (nobody / "a.png").chmod(0)
    with pytest.raises(DataError, match=r"a\.png: expected an image, found one that cannot be read: permission denied\."):
        read_image(nobody / "a.png")


def test_names_of_255_bytes_and_names_that_are_no_text_are_names(tmp_path):
    (tmp_path / "images").mkdir()
    for name in (b"x" * 251 + b".png", b"caf\xe9.png"):
        Image.fromarray(np.full((4, 4, 3), 7, np.uint8)).save(tmp_path / "a.png")
        os.rename(tmp_path / "a.png", os.path.join(os.fsencode(tmp_path / "images"), name))
    dataset = open_dataset(tmp_path, {"images": "images", "classes": ["background", "cat"]})
    assert dataset.ids("all") == ["caf\udce9", "x" * 251]
    assert [int(dataset.image(image_id).max()) for image_id in dataset.ids("all")] == [7, 7]


def test_a_pipe_among_the_images_costs_that_image_only(tmp_path):
    """As a command, with a limit on the time: what opens it waits for ever."""
    for name in ("a", "b"):
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "images" / f"{name}.png")
    pipe(tmp_path / "images" / "p.png")
    (tmp_path / "labels.csv").write_text("image,labels\na,cat\nb,cat\np,cat\n")
    (tmp_path / "labelseg.toml").write_text('[data]\nimages = "images"\nlabels = "labels.csv"\n[run]\ntarget = "cam"\nsplit = "train"\n')
    found = subprocess.run(
        [sys.executable, "-m", "labelseg", "-C", tmp_path, "status"], timeout=60, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    assert "Traceback" not in found.stderr
