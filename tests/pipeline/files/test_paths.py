from __future__ import annotations

import os

import pytest

from labelseg.errors import ArtifactError
from labelseg.pipeline.files.paths import below, climbing, is_key, remove, size_of, unlinked


@pytest.mark.parametrize("names", [("a",), ("a", "b.json"), ("..a", "b"), ("a", "..b"), ("a", "..", "b"), ("Übung ü",)])
def test_a_path_below_its_folder_is_joined(tmp_path, names):
    assert below(tmp_path, *names) == tmp_path.joinpath(*names)


@pytest.mark.parametrize("names", [("..",), ("a", "..", "..", "b"), ("",), (".",), ("/etc/passwd",), ("a\0b",), ("a", "../../../b")])
def test_a_path_that_leads_out_of_its_folder_is_refused(tmp_path, names):
    with pytest.raises(ArtifactError, match=r"leads out of|cannot be the name"):
        below(tmp_path / "folder", *names)


def test_links_inside_are_followed_and_the_folder_itself_may_be_one(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "folder").symlink_to(tmp_path / "disk")
    assert below(tmp_path / "folder", "x") == tmp_path / "folder" / "x"
    (tmp_path / "disk" / "out").symlink_to(tmp_path)
    with pytest.raises(ArtifactError, match="leads out of"):
        below(tmp_path / "folder", "out", "x")


def test_a_neighbour_whose_name_begins_alike_is_not_below(tmp_path):
    with pytest.raises(ArtifactError, match="leads out of"):
        below(tmp_path / "a", "../ab/x")


@pytest.mark.parametrize("value", ["0" * 31, "0" * 33, "A" * 32, "g" * 32, "0" * 32 + "\n", "../" * 8, 7, None, b"0" * 32])
def test_what_is_not_32_hex_characters_is_no_key(value):
    assert not is_key(value)
    assert is_key("0123456789abcdef" * 2)


@pytest.mark.parametrize("odd", ["../x", "a/../../x", "..", "/x", "a/..", "a\0b"])
def test_an_id_that_climbs_is_found_among_many(odd):
    plain = ["a", "a/b", "a..b", "...", "caf\udce9", "..a"]
    assert climbing(plain) == ""
    assert climbing([*plain, odd, "z"]) == odd
    assert climbing([]) == ""


def test_listing_goes_through_no_link(tmp_path):
    (tmp_path / "real" / "x").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert list(unlinked(tmp_path, "*/*")) == [tmp_path / "real" / "x"]
    assert list(unlinked(tmp_path, "*")) == [tmp_path / "link", tmp_path / "real"]


def test_removing_a_link_leaves_what_it_leads_to(tmp_path):
    (tmp_path / "real" / "x").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert size_of(tmp_path / "link") == len(os.readlink(tmp_path / "link"))
    for name in ("link", "nothing"):
        remove(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["real"]
    remove(tmp_path / "real")
    assert list(tmp_path.iterdir()) == []
