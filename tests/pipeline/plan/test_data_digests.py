"""Digests of the data: what changes that of a split."""

from __future__ import annotations

from types import SimpleNamespace

from labelseg.pipeline.plan.data_digests import DataDigests


def digest_of(names, contents, kinds=("image",)):
    """Digest of a split of images with these contents, whose tags are all unknown."""
    dataset = SimpleNamespace(
        ids=lambda split: names,
        image_files=lambda image_ids: None,
        has=lambda image_id, kind: kind == "image",
        identity=lambda image_id, kind: contents[names.index(image_id)],
    )
    return DataDigests(dataset, None).split("train", kinds)


def test_names_contents_order_and_kinds_of_the_images_change_the_digest_of_a_split():
    digests = [
        digest_of(["a", "b"], ["1", "2"]),
        digest_of(["a", "c"], ["1", "2"]),
        digest_of(["a", "b"], ["1", "3"]),
        digest_of(["b", "a"], ["2", "1"]),
        digest_of(["a"], ["1"]),
        digest_of(["a", "b"], ["1", "2"], ("image", "tags")),
        digest_of(["a", "b"], ["1", "2"], ("tags",)),
        digest_of(["a", "b"], ["1", "2"], ("mask",)),  # unknown as well
    ]
    assert digests[0] == digest_of(["a", "b"], ["1", "2"])
    assert len(set(digests)) == len(digests)
