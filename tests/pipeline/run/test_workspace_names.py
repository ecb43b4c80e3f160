"""Names given from Python: what is wrong with one is told with what there is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from labelseg.errors import LabelsegError, MissingArtifactError, UsageError
from labelseg.pipeline.run.options import RunOptions
from tests.pipeline import toy


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    """A workspace that is up to date as far as ``refine``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        root = toy.make(tmp_path_factory.mktemp("names") / "w", images=3)
        toy.ToyWorkspace(root).run("refine", options=RunOptions(workers=0, device="cpu"))
    return root


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("cam", UsageError, "ws['cam']: expected a split too. Write ws['cam', 'train']."),
        ("cma", UsageError, "'cma' is no stage. Did you mean 'cam'?"),
        ("xy", UsageError, "'xy' is no stage. Known: train-classifier, cam,"),
        (("cma", "train"), UsageError, "'cma' is no stage. Did you mean 'cam'?"),
        (("cam@b", "train"), UsageError, "'cam@b' has no table [cam.b]"),
        (("cam", "trian"), UsageError, "ws['cam', 'trian']: the data has no split 'trian'. Did you mean 'train'?"),
        (("cam", "val"), MissingArtifactError, "cam has never run here on val. There is 'train'. Run: labelseg cam --split val"),
        (("spread", "train"), MissingArtifactError, "spread has never run here on train. Run: labelseg spread --split train"),
        ("train-classifier", UsageError, "makes a model. Read it with ws.model('train-classifier'). Items are made by cam,"),
        (("train-classifier", ""), UsageError, "Read it with ws.model('train-classifier')."),
        (("cam", "train", 3), UsageError, "expected the name of an instance and of a split, such as ws['propagate', 'train']."),
        (3, UsageError, "ws[3]: expected the name of an instance"),
    ],
)
def test_a_wrong_name_of_items_is_told(done, name, error, message):
    with pytest.raises(error) as caught:
        toy.ToyWorkspace(done)[name]
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("cam", UsageError, "cam makes items, not a model. Read them with ws['cam', 'train']. Models: train-classifier, train-segmenter."),
        ("train-clasifier", UsageError, "Did you mean 'train-classifier'?"),
        ("train-segmenter", MissingArtifactError, "train-segmenter has never run here. Run: labelseg train-segmenter"),
    ],
)
def test_a_wrong_name_of_a_model_is_told(done, name, error, message):
    with pytest.raises(error) as caught:
        toy.ToyWorkspace(done).model(name)
    assert message in str(caught.value)


def test_an_image_that_is_not_there_is_told_with_the_instance_and_with_what_is(done):
    items = toy.ToyWorkspace(done)["cam", "train"]
    with pytest.raises(LabelsegError, match=r"cam \(train\) holds no image 't0001'\. Did you mean 't001'\?"):
        items["t0001"]
    with pytest.raises(LabelsegError, match=r"cam \(train\) holds no image 'zz'\. It holds: t000, t001, t002\."):
        items["zz"]
    assert items.get("zz") is None
    assert ("zz" in items, "t000" in items) == (False, True)
