"""Imported masks: kept by what they hold, in lines that are only appended to."""

from __future__ import annotations

import json

import pytest

from labelseg.answers.correction_files import (
    Correction,
    append_corrections,
    corrections_path,
    demand_mask,
    mask_path,
    read_corrections,
    store_mask,
)
from labelseg.answers.given_corrections import GivenCorrections
from labelseg.errors import DataError

NAMES = ("background", "cat")


def test_the_last_line_of_an_image_counts_and_earlier_ones_stay(tmp_path):
    path = corrections_path(tmp_path, "override")
    first, second = store_mask(tmp_path, b"one"), store_mask(tmp_path, b"two")
    append_corrections(path, [Correction("a", first, NAMES, who="anna"), Correction("b", first, NAMES)])
    before = path.read_bytes()
    append_corrections(path, [Correction("a", second, NAMES, when="2026-01-31T10:00:00+00:00"), Correction("b", None, ())])
    assert path.read_bytes().startswith(before)
    found = read_corrections(path)
    assert {image: line.mask for image, line in found.current().items()} == {"a": second}
    assert [line.who for line in found.lines] == ["anna", "", "", ""]
    assert found.lines[0].when > "2026" and found.lines[2].when == "2026-01-31T10:00:00+00:00"
    assert mask_path(tmp_path, first).read_bytes() == b"one"


def test_equal_masks_are_kept_once(tmp_path):
    assert store_mask(tmp_path, b"one") == store_mask(tmp_path, b"one") != store_mask(tmp_path, b"two")
    assert len(list((tmp_path / "corrections/masks").rglob("*.png"))) == 2


def test_a_mask_that_is_gone_or_damaged_is_told(tmp_path):
    path = mask_path(tmp_path, store_mask(tmp_path, b"one"))
    demand_mask(path)
    path.write_bytes(b"One")
    with pytest.raises(DataError, match="is damaged"):
        demand_mask(path)
    path.unlink()
    with pytest.raises(DataError, match="cannot be read"):
        demand_mask(path)


@pytest.mark.parametrize(
    "line",
    [
        "[]", "no json",
        '{"mask": null, "classes": []}', '{"image": "a", "classes": []}', '{"image": "a", "mask": "../x", "classes": []}',
        '{"image": "a", "mask": null}',
        '{"image": "a", "mask": null, "classes": [1]}', '{"image": "a", "mask": null, "classes": [], "who": 1}',
    ],
)  # fmt: skip
def test_a_line_that_is_none_costs_no_other(tmp_path, line):
    path = corrections_path(tmp_path, "override")
    digest = store_mask(tmp_path, b"one")
    append_corrections(path, [Correction("a", digest, NAMES)])
    path.write_text(f"{line}\n{path.read_text()}{json.dumps({'image': 'b'})[:5]}")
    found = read_corrections(path)
    assert list(found.current()) == ["a"]
    assert [(bad.line, bad.cut) for bad in found.bad] == [(1, False), (3, True)]
    assert "line 1: expected a correction, but" in str(found.bad[0])


def test_a_digest_of_corrections_is_that_of_the_images_alone(tmp_path):
    path = corrections_path(tmp_path, "override")
    none = GivenCorrections(tmp_path).digest("override", ("a", "b"))
    first, second = store_mask(tmp_path, b"one"), store_mask(tmp_path, b"two")
    append_corrections(path, [Correction("a", first, NAMES)])
    given = GivenCorrections(tmp_path)
    assert given.of("override", "a").path == mask_path(tmp_path, first) and given.of("override", "b") is None
    assert given.digest("override", ("b",)) == none == given.digest("override@other", ("a", "b"))
    one = given.digest("override", ("a",))
    assert one != none
    append_corrections(path, [Correction("b", first, NAMES)])
    assert GivenCorrections(tmp_path).digest("override", ("a",)) == one
    append_corrections(path, [Correction("a", second, NAMES)])
    assert GivenCorrections(tmp_path).digest("override", ("a",)) != one
    append_corrections(path, [Correction("a", first, (*NAMES, "dog"))])
    assert GivenCorrections(tmp_path).digest("override", ("a",)) != one
