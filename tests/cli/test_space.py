"""What dry runs tell of the disk that work will take."""

from __future__ import annotations

import pytest

from labelseg.commands.expectations import Space, expected_parts, expected_space
from labelseg.pipeline.engines.engine import chunks
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
    expected = expected_space(workspace.catalog, {("cam", ref.split): ref.count}, 0)[("cam", ref.split)]
    assert expected.bytes == pytest.approx(sum(path.stat().st_size for path in [*files, manifest]))
    assert expected.files == len(files) + 1
    many = expected_space(workspace.catalog, {("cam@wide", "val"): 1000 * ref.count}, 2)[("cam@wide", "val")]
    stood = len({*(workspace.folder / "objects" / "cam").glob("*/*.zarr")})
    parts = len(chunks([None] * 1000 * ref.count, 2))
    leaves = -(-1000 * ref.count // 4096) if 1000 * ref.count > 4096 else 0
    assert many == Space(pytest.approx(1000 * expected.bytes), parts * len(files) // stood + 1 + leaves)


@pytest.mark.parametrize(
    ("processes", "item_bytes", "seconds", "most"),
    [(1, 8, 0.0, 4096), (2, 8, 0.0, 4096), (2, 640_000, 0.0, 104), (1, 8, 0.25, 240), (2, 8, 0.25, 120), (0, 1 << 30, 9.0, 1)],
)
def test_parts_end_with_a_chunk_or_when_they_are_full_or_after_a_minute(processes, item_bytes, seconds, most):
    parts = 0
    for chunk in chunks([None] * 30_000, processes):  # as a worker writes them, item by item
        held = 0
        for _ in chunk:
            parts, held = (parts + 1, 1) if held == most else (parts, held + 1)
        parts += held > 0
    assert expected_parts(30_000, processes, item_bytes, seconds) == parts


def test_nothing_is_told_of_what_was_never_made_or_takes_nothing(workspace):
    assert expected_space(workspace.catalog, {("nothing", "train"): 9, ("cam", "train"): 0}) == {}
