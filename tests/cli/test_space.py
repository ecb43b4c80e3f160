"""What dry runs tell of the disk that work will take."""

from __future__ import annotations

import pytest

from labelseg.commands.expectations import Space, expected_space
from labelseg.pipeline.run.options import RunOptions
from labelseg.pipeline.run.runner import run
from tests.pipeline.toy import ToyWorkspace, make

HERE = RunOptions(workers=0)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    root = tmp_path_factory.mktemp("space")
    make(root)
    run(ToyWorkspace(root), options=HERE)
    return ToyWorkspace(root)


def test_as_many_images_again_take_what_stands(workspace):
    ref = next(ref for ref in workspace.catalog.refs() if ref.instance == "cam")
    files = [path for path in (workspace.folder / "objects" / "cam").rglob("*") if path.is_file()]
    manifest = workspace.catalog.manifest_path("cam", ref.key)
    expected = expected_space(workspace.catalog, {("cam", ref.split): ref.count})[("cam", ref.split)]
    assert expected.bytes == pytest.approx(sum(path.stat().st_size for path in [*files, manifest]))
    assert expected.files == len(files) + 1
    many = expected_space(workspace.catalog, {("cam@wide", "val"): 1000 * ref.count})[("cam@wide", "val")]
    assert many == Space(pytest.approx(1000 * expected.bytes), 1000 * len(files) + 1)


def test_nothing_is_told_of_what_was_never_made_or_takes_nothing(workspace):
    assert expected_space(workspace.catalog, {("nothing", "train"): 9, ("cam", "train"): 0}) == {}
