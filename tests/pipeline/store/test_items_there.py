"""Which items parts hold: every field of an item counts."""

from __future__ import annotations

import pytest

from labelseg.pipeline.store.items.items_there import ItemsThere, Place

HELD = [Place(k, f"image{k}", f"key{k}", f"digest{k}") for k in range(50)]


@pytest.fixture
def there():
    found = ItemsThere()
    found.add("cam", "one", iter(HELD))
    found.add("cam", "empty", [])
    return found


def test_every_item_is_held_by_its_part_and_by_no_other(there):
    assert all(there.holds("cam", "one", place) for place in HELD)
    assert not any(
        there.holds(stage, part, place) for stage, part in (("cam", "empty"), ("cam", "two"), ("refine", "one")) for place in HELD
    )
    assert set(there) == {("cam", "one"), ("cam", "empty")}


@pytest.mark.parametrize("change", [{"index": 8}, {"id": "image8"}, {"key": "key8"}, {"digest": "digest8"}])
def test_an_item_that_differs_in_anything_is_another(there, change):
    assert there.holds("cam", "one", HELD[7])
    assert not there.holds("cam", "one", HELD[7]._replace(**change))
