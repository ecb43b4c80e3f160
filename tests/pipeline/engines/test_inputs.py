"""What a stage is given."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from labelseg.errors import UsageError
from labelseg.pipeline.engines.inputs import Inputs
from labelseg.pipeline.plan.decisions import Entry


def test_the_truth_is_a_source_of_the_images_learned_from_and_of_no_others():
    dataset = SimpleNamespace(mask=lambda image_id: np.full((2, 3), int(image_id), np.uint8))
    entries = {"split": [Entry("4", {}, {}), Entry("5", {}, {})], "validation": [Entry("6", {}, {})]}
    inputs = Inputs(dataset, None, truth=frozenset({"labels"}), entries=entries)
    assert [int(item.read("labels")["mask"].max()) for item in inputs.items()] == [4, 5]
    assert [item.id for item in inputs.items()[1:]] == ["5"]
    assert int(inputs.items()[1:][0].read("labels")["mask"].max()) == 5
    with pytest.raises(UsageError, match="6: nothing is read as 'labels'"):
        inputs.items("validation")[0].read("labels")
    assert int(inputs.items("validation")[0].mask().max()) == 6
    assert list(inputs.items("negatives")) == []
