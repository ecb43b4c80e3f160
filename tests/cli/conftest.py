"""A folder of six small images, a workspace on it, and a way to call the command line."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import toy_chain
from click.testing import CliRunner, Result
from PIL import Image

from labelseg.cli import make_program

TRAIN = {"a1": 1, "a2": 2, "a3": 1}
VAL = {"b1": 1, "b2": 2}
NAMES = ("background", "cat", "dog")


def write_data(folder: Path) -> Path:
    """Write images whose right half is the class, with every other part of a dataset."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for image_id, class_id in {**TRAIN, **VAL}.items():
        mask = np.zeros((8, 10), np.uint8)
        mask[:, 5:] = class_id
        Image.fromarray(np.repeat((mask * toy_chain.STEP)[..., None], 3, axis=2)).save(folder / "images" / f"{image_id}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{image_id}.png")
    rows = [f"{image_id},{NAMES[class_id]}" for image_id, class_id in {**TRAIN, **VAL}.items()]
    (folder / "labels.csv").write_text("\n".join(["image,labels", *rows]) + "\n")
    (folder / "classes.txt").write_text("\n".join(NAMES) + "\n")
    (folder / "train.txt").write_text("\n".join(TRAIN) + "\n")
    (folder / "val.txt").write_text("\n".join(VAL) + "\n")
    return folder


def labelseg(root: Path, *words: object, stages=toy_chain.STAGES) -> Result:
    """Call the command line on a workspace; the commands that it names are as they would be if it were the current folder."""
    if stages is toy_chain.STAGES and words[0] == "init" and "--recipe" not in words:
        words = (*words, "--recipe", "tags-one-round")  # the other chain has instances of stages that the toys lack
    result = CliRunner().invoke(make_program(stages), ["-C", str(root), *map(str, words)], prog_name="labelseg")
    for stream in ("stdout_bytes", "stderr_bytes", "output_bytes"):
        setattr(result, stream, getattr(result, stream).replace(b"labelseg -C %s " % os.fsencode(root), b"labelseg "))
    return result


@pytest.fixture(autouse=True)
def unsynced(monkeypatch) -> None:
    """Leave flushing to the operating system: no test here cuts the power."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(scope="session")
def finished_root(tmp_path_factory) -> Path:
    """A workspace in which everything is up to date, made once; nobody changes it."""
    base = tmp_path_factory.mktemp("finished")
    data = write_data(base / "data")
    assert labelseg(base / "w", "init", "--from", data).exit_code == 0
    for words in (["run"], ["spread"]):
        result = labelseg(base / "w", *words)
        assert result.exit_code == 0, result.output
    return base / "w"


@pytest.fixture
def data(tmp_path) -> Path:
    return write_data(tmp_path / "data")


@pytest.fixture
def finished(finished_root, tmp_path) -> Path:
    """A copy of the finished workspace, free to be changed."""
    return Path(shutil.copytree(finished_root, tmp_path / "w"))
