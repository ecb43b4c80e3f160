"""Images named by a URL: a folder here follows what lies there, and all else reads files."""

from __future__ import annotations

import io

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from labelseg.cli import program
from labelseg.errors import DataError, UnreachableError
from labelseg.pipeline.declare.store_url import parse_url
from labelseg.pipeline.remote.mirror import mirrored
from labelseg.workspace import Workspace
from tests.remote.memory_bucket import WatchedBucket

WHERE = parse_url("s3://memory/w", "test")


@pytest.fixture
def photos(bucket):
    for name in ("farm/a.jpg", "farm/b.PNG", "c.jpg", "notes.txt"):
        bucket.write(name, name.encode())
    return bucket


def follow(root, bucket) -> dict[str, bytes]:
    """What lies here after a look."""
    folder = mirrored(root, WHERE, {".jpg", ".png"}, bucket)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def asked(bucket):
    """The bucket, and the names of objects that are read from it."""
    names = []
    return WatchedBucket(bucket, lambda when, n, verb, name: names.append(name) if (when, verb) == ("before", "get") else None), names


def test_a_folder_here_follows_what_lies_there(photos, tmp_path):
    assert follow(tmp_path, photos) == {name: name.encode() for name in ("farm/a.jpg", "farm/b.PNG", "c.jpg")}
    watched, names = asked(photos)
    follow(tmp_path, watched)
    assert names == []
    photos.write("c.jpg", b"another")
    photos.write("d.jpg", b"new")
    photos.delete("farm/a.jpg")
    assert follow(tmp_path, watched) == {"farm/b.PNG": b"farm/b.PNG", "c.jpg": b"another", "d.jpg": b"new"}
    assert sorted(names) == ["c.jpg", "d.jpg"]


def test_a_download_that_was_killed_fetches_only_the_rest(photos, tmp_path):
    def die(when, number, verb, name):
        if verb == "get" and name == "farm/a.jpg":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        follow(tmp_path, WatchedBucket(photos, die))
    watched, names = asked(photos)
    assert len(follow(tmp_path, watched)) == 3
    assert "farm/a.jpg" in names and "c.jpg" not in names


def test_what_comes_damaged_is_not_kept(photos, tmp_path):
    class Noisy(type(photos)):
        def get(self, name):
            data, etag = super().get(name)
            return data[:-1] + b"?", etag

    noisy = Noisy()
    noisy.objects = photos.objects
    with pytest.raises(UnreachableError, match=r"s3://memory/w/.* came damaged over the network"):
        follow(tmp_path, noisy)
    assert len(follow(tmp_path, photos)) == 3


def test_a_silent_store_leaves_what_was_fetched(photos, tmp_path, caplog):
    def silent(when, number, verb, name):
        raise UnreachableError("s3://memory/w: cannot list: it does not answer.")

    with pytest.raises(UnreachableError):
        follow(tmp_path, WatchedBucket(photos, silent))
    before = follow(tmp_path, photos)
    assert follow(tmp_path, WatchedBucket(photos, silent)) == before
    assert "The 3 images that were fetched before are taken." in caplog.text


@pytest.mark.parametrize("name", ["../x.jpg", "farm/../../x.jpg", "c.jpg/d.jpg"])
def test_names_that_make_no_files_of_the_folder_are_refused(photos, tmp_path, name):
    photos.write(name, b"x")
    with pytest.raises(DataError, match="no file can be called so"):
        follow(tmp_path, photos)
    assert not list(tmp_path.rglob("x.jpg"))


def test_a_prefix_without_images_is_told(bucket, tmp_path):
    with pytest.raises(DataError, match="s3://memory/w: expected images below it, found none"):
        follow(tmp_path, bucket)


def test_a_workspace_on_images_in_a_bucket_is_one_on_the_same_files(tmp_path, server, url):
    (tmp_path / "photos").mkdir()
    prefix = url.removeprefix("s3://")
    for number, name in enumerate(("a", "b", "c", "d")):
        held = io.BytesIO()
        Image.fromarray(np.full((40, 50, 3), 50 * number, np.uint8)).save(held, "PNG")
        (tmp_path / "photos" / f"{name}.png").write_bytes(held.getvalue())
        assert server.request("PUT", f"/{prefix}/{name}.png", held.getvalue())[0] == 200
    (tmp_path / "labels.csv").write_text("image,labels\na,cat\nb,dog\nc,cat\nd,dog\n")
    found = {}
    for root, images in ((tmp_path / "there", url), (tmp_path / "here", tmp_path / "photos")):
        words = ["-C", str(root), "init", "--images", str(images), "--labels", str(tmp_path / "labels.csv"), "--anyway"]
        done = CliRunner().invoke(program, words, prog_name="labelseg")
        assert done.exit_code == 0, done.output
        data = Workspace(root).dataset
        found[root.name] = {i: (data.image(i).tolist(), data.tags(i)) for i in data.ids("train")}
    assert f'images = "{url}"' in (tmp_path / "there" / "labelseg.toml").read_text()
    assert found["there"] == found["here"]
    assert len(found["here"]) == 4
