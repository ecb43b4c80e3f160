"""One contract for S3 and for what stands in for it in other tests; and what S3 says when it does not do what is asked."""

from __future__ import annotations

import pickle

import pytest

from labelseg.errors import UnreachableError, UsageError
from labelseg.pipeline.declare.store_url import parse_url
from labelseg.pipeline.remote.s3_bucket import S3Bucket
from tests.remote.memory_bucket import MemoryBucket

NAME = "refs/cam@b16/a%2Fb@tag x.json"


@pytest.fixture(params=["memory", "s3"])
def any_bucket(request):
    if request.param == "memory":
        return MemoryBucket()
    request.getfixturevalue("server")
    return S3Bucket(parse_url(request.getfixturevalue("url"), "test"))


def test_what_is_written_is_read(any_bucket):
    assert any_bucket.get(NAME) is None
    tag = any_bucket.create(NAME, b"one")
    assert any_bucket.get(NAME) == (b"one", tag)
    assert any_bucket.beginning(NAME, 2) == b"on"
    assert any_bucket.beginning(NAME, 9) == b"one"
    assert any_bucket.beginning("none", 9) == b""


def test_only_the_first_creates(any_bucket):
    assert any_bucket.create("a/b", b"one")
    assert any_bucket.create("a/b", b"two") is None
    assert any_bucket.get("a/b")[0] == b"one"


def test_only_who_saw_what_is_there_replaces_it(any_bucket):
    first = any_bucket.create("a/b", b"one")
    second = any_bucket.replace("a/b", b"two", first)
    assert second not in (None, first)
    assert any_bucket.replace("a/b", b"three", first) is None
    assert any_bucket.replace("a/none", b"three", first) is None
    assert any_bucket.get("a/b") == (b"two", second)
    assert any_bucket.get("a/none") is None


def test_a_listing_tells_what_lies_below_a_prefix(any_bucket):
    tags = {name: any_bucket.create(name, name.encode()) for name in ("b/2", "b/1/x", "bc/3", NAME)}
    assert [(found.name, found.size, found.etag) for found in any_bucket.list("b/")] == [
        ("b/1/x", 5, tags["b/1/x"]),
        ("b/2", 3, tags["b/2"]),
    ]
    assert [found.name for found in any_bucket.list("")] == ["b/1/x", "b/2", "bc/3", NAME]
    any_bucket.delete("b/2")
    any_bucket.delete("b/2")
    assert [found.name for found in any_bucket.list("b/")] == ["b/1/x"]
    assert list(any_bucket.list("none/")) == []


def test_a_bucket_travels_to_other_processes(server, url):
    bucket = S3Bucket(parse_url(url, "test"))
    bucket.create("a", b"one")
    assert pickle.loads(pickle.dumps(bucket)).get("a")[0] == b"one"


def test_a_bucket_that_is_not_there_is_told(server):
    bucket = S3Bucket(parse_url("s3://nowhere/w", "test"))
    for ask in (lambda: list(bucket.list("refs/")), lambda: bucket.get("a"), lambda: bucket.create("a", b"")):
        with pytest.raises(
            UnreachableError, match=r"s3://nowhere/w: cannot (list|read|write) .*: there is no such bucket\. What is finished"
        ):
            ask()


def test_a_server_that_is_not_there_is_told_after_a_few_tries(server, url, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(UnreachableError, match=rf"{url}: cannot list refs/: it does not answer\. .*run the same command again"):
        list(S3Bucket(parse_url(url, "test")).list("refs/"))


@pytest.mark.parametrize(
    ("text", "read"),
    [("s3://bucket/a/b", "s3://bucket/a/b"), ("s3://bucket", "s3://bucket"), ("s3://bucket/a/", "s3://bucket/a")],
)
def test_a_url_is_read(text, read):
    assert str(parse_url(text, "test")) == read


@pytest.mark.parametrize(
    "text", ["", 7, "/data", "gs://bucket/a", "s3://", "s3://B/a", "s3://bucket/a/../b", "s3://bucket/a b", "s3://bucket//a"]
)
def test_another_url_is_refused(text):
    with pytest.raises(UsageError, match=r"labelseg.toml \[store\] url: expected s3://BUCKET/PREFIX of letters"):
        parse_url(text, "labelseg.toml [store] url")


@pytest.mark.parametrize("text", ["s3://key:secret@bucket/a", "s3://bucket/a?endpoint=http://x"])
def test_keys_do_not_belong_into_the_file(text):
    with pytest.raises(UsageError, match="They come from the environment: AWS_ACCESS_KEY_ID") as told:
        parse_url(text, "labelseg.toml [store] url")
    assert "secret" not in str(told.value)
