"""Which items parts hold: every field of an item counts."""

from __future__ import annotations

import pytest

from labelseg.pipeline.store.headers import HeaderItem
from labelseg.pipeline.store.items.items_there import ItemsThere
from labelseg.pipeline.store.manifests import ManifestItem

HELD = [ManifestItem(f"image{k}", f"key{k}", "one", k, f"digest{k}") for k in range(50)]


@pytest.fixture
def there():
    found = ItemsThere()
    found.add("cam", "one", (HeaderItem(item.id, item.key, item.index, item.digest, {}) for item in HELD))
    found.add("cam", "empty", [])
    return found


def test_every_item_is_held_by_its_part_and_by_no_other(there):
    assert all(there.holds("cam", item) for item in HELD)
    elsewhere = (("cam", "empty"), ("cam", "two"), ("refine", "one"))
    assert not any(there.holds(stage, item._replace(part=part)) for stage, part in elsewhere for item in HELD)
    assert set(there) == {("cam", "one"), ("cam", "empty")}


@pytest.mark.parametrize("change", [{"index": 8}, {"id": "image8"}, {"key": "key8"}, {"digest": "digest8"}])
def test_an_item_that_differs_in_anything_is_another(there, change):
    assert there.holds("cam", HELD[7])
    assert not there.holds("cam", HELD[7]._replace(**change))
