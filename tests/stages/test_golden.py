"""What the stages compute stays what it was, or their version is raised."""

from __future__ import annotations

import json

import numpy as np
import pytest

from labelseg.pipeline.instances import stage_of
from labelseg.stages import STAGES
from tests.golden import FILE, PLACES, labor_rounds, sample, summary, wilson_steps

GOLDEN = json.loads(FILE.read_text())


@pytest.fixture(scope="module")
def found(clicks_root, steps_root, few_masks_root, labor_root):
    return labor_rounds(labor_root) | summary(few_masks_root) | summary(clicks_root) | wilson_steps(steps_root)


def test_results_of_every_stage_are_recorded():
    copied = {"override", "import-features", "import-network", "import-scores"}  # give what was brought in
    assert {stage_of(instance) for instance in GOLDEN} == {stage.name for stage in STAGES} - copied


@pytest.mark.parametrize("stage", list(GOLDEN))
def test_results_are_those_recorded_for_this_version(found, stage):
    assert found[stage]["version"] == GOLDEN[stage]["version"], "record them: python -m tests.golden"
    assert found[stage]["arrays"].keys() == GOLDEN[stage]["arrays"].keys()
    for name, (size, mean, deviation, recorded) in GOLDEN[stage]["arrays"].items():
        *numbers, values = found[stage]["arrays"][name]
        # Processors round differently, and a pixel may fall to another class for it.
        assert numbers == [size, pytest.approx(mean, rel=0.01, abs=2e-3), pytest.approx(deviation, rel=0.01, abs=2e-3)]
        apart = np.abs(np.array(values.split(), float) - np.array(recorded.split(), float)) > 0.01 * deviation + 2e-3
        assert apart.mean() <= 0.05, f"{name} differs in {apart.sum()} of {apart.size} places"


def test_arrays_of_equal_mean_and_deviation_differ_in_their_samples():
    values = np.arange(1000) % 7 / 7
    assert sample(values) == sample(values.copy())
    assert sample(values) != sample(values[::-1])
    assert len(sample(values).split()) == PLACES
    assert sample(np.array([0.25, 3])) == "0.25 3"
