"""Items without files, for the samples and steps of trainings from few masks."""

from __future__ import annotations

import numpy as np

from labelseg.pipeline.engines.inputs import Item


class Pictures:
    """Images of noise whose mask is a rectangle of one class; images named ``u...`` have no mask and no tags."""

    classes = ("background", "cat", "dog")
    has_background = True

    def has(self, image_id, kind):
        return kind == "image" or not image_id.startswith("u")

    def image(self, image_id):
        rng = np.random.default_rng(abs(hash_of(image_id)))
        height, width = 40 + 4 * (hash_of(image_id) % 3), 56
        return (rng.integers(0, 60, (height, width, 3)) + 60 * self.true(image_id, height, width)[..., None]).astype(np.uint8)

    def true(self, image_id, height, width):
        mask = np.zeros((height, width), np.uint8)
        mask[8:30, 10:40] = 1 + hash_of(image_id) % 2
        return mask

    def mask(self, image_id):
        return self.true(image_id, *self.image(image_id).shape[:2])

    def tags(self, image_id):
        return (1 + hash_of(image_id) % 2,)


def hash_of(image_id):
    return int(image_id[1:])


def items(*names):
    return [Item(name, Pictures(), None, truth=frozenset({"labels"})) for name in names]
