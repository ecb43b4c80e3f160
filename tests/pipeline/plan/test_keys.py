from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from labelseg.data.folder.folder_dataset import FolderDataset
from labelseg.errors import DataError, UsageError
from labelseg.pipeline.declare.stage import Stage, file_option, option, source, split_option
from labelseg.pipeline.files.digests import Digesting, canonical_json, digest
from labelseg.pipeline.files.fingerprint import FileIndex
from labelseg.pipeline.plan.data_digests import DataDigests
from labelseg.pipeline.plan.keys import ItemKeys, KeyTable, compare, item_key, key_params, params_json
from labelseg.pipeline.store.items.item_rows import ManifestItem
from labelseg.pipeline.store.items.leaf_items import LeafItems
from labelseg.pipeline.store.items.leaf_writing import write_rows


@dataclass(frozen=True, kw_only=True)
class Params:
    beta: float = option(8.0, help="")
    scales: tuple[float, ...] = option((0.5, 1.0), help="")
    weights: str = file_option("imagenet", help="")
    labels: str = source("refine", help="", kind="labels")
    split: str = split_option("train", help="")


def run(inputs, params):
    """Do nothing."""


STAGE = Stage("toy", version=1, kind="map", params=Params, run=run, uses=lambda params: ("image",))


def fingerprint(path):
    return f"content of {path.name}: {path.read_text()}"


def test_canonical_json_does_not_depend_on_the_order_of_keys():
    assert canonical_json({"b": 1, "a": [1, 2.5, None]}) == canonical_json({"a": [1, 2.5, None], "b": 1}) == b'{"a":[1,2.5,null],"b":1}'


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, [1, math.nan], {"a": object()}, {1, 2}])
def test_what_json_cannot_hold_is_a_usage_error(value):
    with pytest.raises(UsageError, match="cannot enter a key"):
        canonical_json(value)


def test_a_digest_is_32_hex_characters_and_does_not_change_between_releases():
    assert digest("a", b"b") == "c540ac220ba168994d81f62f7893f5dc"


@pytest.mark.parametrize("one, other", [(("ab", "c"), ("a", "bc")), (("a",), (b"a",)), (("a", ""), ("a",)), (("1", "2"), ("2", "1"))])
def test_digests_of_different_parts_differ(one, other):
    assert digest(*one) != digest(*other)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.text() | st.binary(), max_size=4), st.lists(st.text() | st.binary(), max_size=4))
def test_digests_are_equal_exactly_for_equal_parts(one, other):
    assert (digest(*one) == digest(*other)) == (one == other)


def test_a_file_name_that_is_not_utf8_has_a_digest():
    assert digest("caf\udce9") != digest("café")
    assert canonical_json("caf\udce9") == b'"caf\\udce9"'


def test_params_survive_a_json_round_trip_with_tuples_as_lists():
    values = params_json(Params())
    assert values == {"beta": 8.0, "scales": [0.5, 1.0], "weights": "imagenet", "labels": "refine", "split": "train"}


def test_key_params_leave_out_sources_and_splits():
    values = key_params(STAGE, Params(labels="masks", split="val"), fingerprint)
    assert values == {"beta": 8.0, "scales": [0.5, 1.0], "weights": "imagenet"}


def test_a_file_enters_the_key_by_its_content_and_not_by_its_path(tmp_path):
    (tmp_path / "a.pth").write_text("x")
    (tmp_path / "b.pth").write_text("x")
    by_absolute_path = key_params(STAGE, Params(weights=str(tmp_path / "a.pth")), fingerprint)
    by_relative_path = key_params(STAGE, Params(weights="a.pth"), fingerprint, root=tmp_path)
    assert by_absolute_path["weights"] == by_relative_path["weights"] == "blake3:content of a.pth: x"
    (tmp_path / "a.pth").write_text("y")
    assert key_params(STAGE, Params(weights="a.pth"), fingerprint, root=tmp_path)["weights"] == "blake3:content of a.pth: y"


KEY = {"stage": "cam", "version": 1, "params": {"beta": 8.0}, "inputs": {"image": "i", "tags": "t"}}


@pytest.mark.parametrize(
    "change",
    [
        {"stage": "refine"},
        {"version": 2},
        {"params": {"beta": 4.0}},
        {"params": {"gamma": 8.0}},
        {"inputs": {"image": "j", "tags": "t"}},
        {"inputs": {"image": "t", "tags": "i"}},
        {"inputs": {"image": "i"}},
    ],
)
def test_everything_that_goes_in_changes_the_key_of_an_item(change):
    assert item_key(**{**KEY, **change}) != item_key(**KEY)


def test_the_order_of_inputs_does_not_change_the_key_of_an_item():
    assert item_key(**{**KEY, "inputs": {"tags": "t", "image": "i"}}) == item_key(**KEY)


def test_two_masks_of_one_image_are_told_and_not_taken_for_none(tmp_path):
    for name in ("images/a.png", "masks/a.png", "masks/a.bmp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / name)
    data = DataDigests(
        FolderDataset(tmp_path / "images", ("background", "cat"), masks=tmp_path / "masks"), FileIndex(tmp_path / "files.json")
    )
    assert data.item("a", "tags") == "absent"
    with pytest.raises(DataError, match=r"are masks of one image\. Keep one"):
        data.item("a", "mask")


NAMES = st.sampled_from(["image", "tags", "@look", "@cam", "a%sb", '"', "é"])
VALUES = st.sampled_from(["absent", "0" * 32, "f3" * 16]) | st.text(max_size=3)


@settings(deadline=None)
@given(
    shared=st.dictionaries(NAMES, VALUES, max_size=3), inputs=st.lists(st.dictionaries(NAMES, VALUES, max_size=4), min_size=1, max_size=4)
)
def test_keys_made_together_are_those_made_one_by_one(shared, inputs):
    params = {"beta": 8.0, "note": "50 % of %s", "scales": [0.5, 1]}
    keys = ItemKeys("toy", 3, params, shared)
    assert [keys.key(one) for one in inputs] == [item_key("toy", 3, params, {**shared, **one}) for one in inputs]


@settings(deadline=None)
@given(
    shared=st.dictionaries(NAMES, VALUES, max_size=2),
    columns=st.dictionaries(NAMES, st.lists(VALUES, min_size=5, max_size=5), min_size=1, max_size=3),
    times=st.sampled_from([1, 1000]),
)
def test_keys_of_columns_are_those_made_one_by_one(shared, columns, times):
    """Also where a thousand others stand before one that is no digest."""
    params = {"beta": 8.0, "note": "50 % of %s"}
    columns = {name: ["f" * 32] * times + values for name, values in columns.items()}
    keys = ItemKeys("toy", 3, params, shared)
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)][-7:]
    assert [*keys.column(columns)][-7:] == [item_key("toy", 3, params, {**shared, **row}) for row in rows]


ROWS = st.lists(st.tuples(st.text(max_size=3), VALUES, VALUES), max_size=5)


@settings(deadline=None)
@given(batches=st.lists(ROWS, max_size=3), columns=st.integers(0, 2))
def test_rows_enter_a_digest_as_their_texts_do_one_by_one(batches, columns):
    digesting, texts = Digesting(), ["image"]
    digesting.take(["image"])
    for rows in batches:
        digesting.take_rows([row[0] for row in rows], *([row[k + 1] for row in rows] for k in range(columns)))
        texts += [text for row in rows for text in row[: columns + 1]]
    assert digesting.digest() == digest(*texts)


def test_a_leaf_that_was_the_same_is_not_read_again_but_where_other_items_would_lie_in_it(tmp_path):
    items = [ManifestItem(f"{k:02d}", f"{k:032x}", "a" * 32, k, f"{k:032x}") for k in range(6)]
    halves = [write_rows(tmp_path / "leaves" / "look", half) for half in (items[:3], items[3:])]
    keys = KeyTable([item.id for item in items], (item.key for item in items))
    whole = LeafItems(tmp_path, "look", halves)
    assert [(s.start, s.stop, s.is_same, s.parts) for s in compare(keys, whole)] == [(0, 3, True, ["a" * 32]), (3, 6, True, ["a" * 32])]
    for leaf in halves:
        whole.path(leaf).unlink()
    assert [s.is_same for s in compare(keys, LeafItems(tmp_path, "look", halves))] == [True, True]
    (stretch,) = compare(keys, LeafItems(tmp_path, "look", halves[:1]))
    assert (stretch.start, stretch.stop, stretch.is_same, stretch.parts) == (0, 6, False, ())


@given(parts=st.lists(st.text(max_size=3) | st.binary(max_size=3), max_size=5), times=st.sampled_from([1, 700, 5000]))
@settings(max_examples=30, deadline=None)
def test_a_digest_of_many_parts_is_that_of_type_length_and_bytes_of_each(parts, times):
    hasher = blake3()
    for part in parts * times:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        hasher.update((b"s" if isinstance(part, str) else b"b") + str(len(data)).encode() + b":" + data)
    assert digest(*parts * times) == hasher.hexdigest(length=16)
