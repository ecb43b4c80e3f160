"""What the status says, and that it reads nothing but JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from labelseg.errors import LabelsegError, WaitingError
from labelseg.pipeline.plan.graph import NodeId
from labelseg.pipeline.plan.runlog import Marker, Markers
from labelseg.pipeline.run.options import RunOptions
from labelseg.pipeline.run.status import StatusRow
from tests.pipeline import toy

HERE = RunOptions(workers=0, device="cpu")


@pytest.fixture
def root(tmp_path) -> Path:
    return toy.make(tmp_path / "w")


@pytest.fixture
def cams(root) -> Path:
    """A workspace that is up to date as far as ``refine``."""
    run(root, "refine")
    (root / "labelseg.toml").write_text(toy.TOML.replace('"spread"', '"refine"'))
    return root


@pytest.fixture(autouse=True)
def unsynced(monkeypatch) -> None:
    """Leave flushing to the operating system: no test here cuts the power."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def run(root: Path, target: str | None = None, split: str | None = None, environ=None, **options):
    return toy.ToyWorkspace(root, environ=environ).run(target, split, options=replace(HERE, **options))


def rows(root: Path, environ=None, stages=toy.STAGES) -> dict[str, StatusRow]:
    return {row.instance: row for row in toy.ToyWorkspace(root, stages, environ).status()}


def states(root: Path, environ=None) -> dict[str, str]:
    return {name: row.state for name, row in rows(root, environ).items()}


def test_everything_is_missing_at_first(root):
    assert states(root) == dict.fromkeys(["train-classifier", "cam", "refine", "train-segmenter", "spread"], "missing")
    assert not (root / ".labelseg").exists()


def test_everything_is_fresh_after_a_run(cams):
    assert states(cams) == {"train-classifier": "fresh", "cam": "fresh", "refine": "fresh"}
    row = rows(cams)["cam"]
    assert (row.split, row.items, row.failed, toy.texts(row.reasons), row.fresh) == ("train", 6, 0, (), True)
    assert row.created


def test_a_parameter_makes_stale_what_it_belongs_to_and_what_reads_it(cams):
    found = rows(cams, {"LABELSEG_CAM__FLIP": "false"})
    assert found["train-classifier"].state == "fresh"
    assert (found["cam"].state, toy.texts(found["cam"].reasons)) == ("stale", ("parameter flip: true -> false",))
    assert (found["refine"].state, toy.texts(found["refine"].reasons)) == ("stale", ("cam changed: parameter flip: true -> false",))


def test_a_new_image_leaves_the_model_outdated_and_the_maps_stale(cams):
    toy.set_image(cams, "t100", 9)
    found = rows(cams)
    assert (found["train-classifier"].state, toy.texts(found["train-classifier"].reasons)) == ("outdated", ("trained on 6 of 7 images",))
    assert (found["cam"].state, toy.texts(found["cam"].reasons)) == ("stale", ("1 new image",))
    assert (found["refine"].state, toy.texts(found["refine"].reasons)) == ("stale", ("cam will change",))


def test_a_model_below_a_changing_map_is_outdated(root):
    run(root)
    toy.set_image(root, "t100", 9)
    row = rows(root)["train-segmenter"]
    assert (row.state, toy.texts(row.reasons)) == ("outdated", ("refine will change",))


def test_failed_items_are_counted(root):
    run(root, "train-classifier")
    toy.set_image(root, "t002", "broken")
    with pytest.raises(LabelsegError):
        run(root, "cam")
    row = rows(root)["cam"]
    assert (row.state, row.items, row.failed, toy.texts(row.reasons)) == ("failed", 5, 1, ("1 of 6 items failed",))


def test_a_failed_run_is_told_until_it_succeeds(root):
    with pytest.raises(LabelsegError):
        run(root, environ={"LABELSEG_TRAIN_CLASSIFIER__FAIL": "true"})
    row = rows(root)["train-classifier"]
    assert (row.state, toy.texts(row.reasons)) == ("failed", ("the last run failed: the loss is not finite.", "never ran"))
    run(root, "train-classifier")
    assert states(root)["train-classifier"] == "fresh"


def test_a_question_is_told(root):
    environ = {"LABELSEG_TRAIN_CLASSIFIER__WEIGHTS": "wait"}
    with pytest.raises(WaitingError):
        run(root, environ=environ)
    row = rows(root, environ)["train-classifier"]
    assert (row.state, toy.texts(row.reasons)[0]) == ("waiting", "three images wait for an answer.")


def test_a_run_that_goes_on_is_told_from_one_that_was_killed(root):
    markers = Markers(root / ".labelseg")
    markers.write(NodeId("cam", "train"), Marker("running"))
    assert states(root)["cam"] == "running"
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True)
    markers.write(NodeId("cam", "train"), Marker("running", pid=int(ended.stdout)))
    row = rows(root)["cam"]
    assert (row.state, toy.texts(row.reasons)[0]) == ("failed", "the last run was killed")


def test_of_a_process_on_another_machine_nothing_is_known(root):
    Markers(root / ".labelseg").write(NodeId("cam", "train"), replace(Marker("running"), host="node7", pid=2**22 - 1))
    row = rows(root)["cam"]
    assert row.state == "running"
    assert toy.texts(row.reasons)[0].endswith("on node7")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux tells when a process began")
def test_a_process_that_got_the_number_of_a_killed_one_is_not_that_one(root):
    markers = Markers(root / ".labelseg")
    markers.write(NodeId("cam", "train"), replace(Marker("running"), birth="another boot 12345"))
    assert states(root)["cam"] == "failed"


def test_named_instances_and_other_splits_are_listed(cams):
    run(cams, "cam", "val")
    with (cams / "labelseg.toml").open("a") as file:
        file.write("[refine.soft]\nalpha = 1.0\n")
    listed = [(row.instance, row.split, row.state) for row in toy.ToyWorkspace(cams).status()]
    assert ("cam", "val", "fresh") in listed
    assert ("refine@soft", "train", "missing") in listed


def test_an_instance_that_left_the_file_is_told(cams):
    run(cams, "refine@soft", create=True)
    text = (cams / "labelseg.toml").read_text().replace("[refine.soft]", "")
    (cams / "labelseg.toml").write_text(text)
    row = rows(cams)["refine@soft"]
    assert row.state == "stale"
    assert "has no table [refine.soft]" in toy.texts(row.reasons)[0]
    assert toy.texts(row.reasons)[0].endswith("To remove what it made: labelseg gc")


def test_an_instance_that_reads_one_that_left_the_file_is_told_and_the_rest_is_shown(cams):
    with (cams / "labelseg.toml").open("a") as file:
        file.write('[refine.soft]\ncam = "cam@gone"\n')
    found = rows(cams)
    assert found["refine@soft"].state == "missing"
    assert "cam@gone" in toy.texts(found["refine@soft"].reasons)[0]
    assert found["refine"].state == "fresh"


def test_a_missing_split_is_told_and_the_rest_is_shown(cams):
    (cams / "labelseg.toml").write_text(toy.TOML + '[train-classifier]\nsplit = "nowhere"\n')
    found = rows(cams)
    assert (found["train-classifier"].state, toy.texts(found["train-classifier"].reasons)) == ("stale", ("no split 'nowhere'.",))
    assert toy.texts(found["cam"].reasons) == ("something it reads cannot be checked",)


def test_what_reads_a_result_that_the_next_run_takes_up_again_is_fresh(root):
    run(root)
    run(root, "refine", environ={"LABELSEG_REFINE__ALPHA": "0"})
    found = rows(root)
    assert {name: row.state for name, row in found.items()} == {**dict.fromkeys(found, "fresh"), "refine": "stale"}
    assert toy.texts(found["refine"].reasons) == ("parameter alpha: 0.0 -> 4.0",)


def test_what_reads_a_result_that_will_be_another_one_is_not_fresh(root):
    run(root)
    found = rows(root, {"LABELSEG_REFINE__ALPHA": "0"})
    assert (found["refine"].state, found["train-segmenter"].state) == ("stale", "stale")


def test_status_writes_nothing(cams):
    before = {str(p): p.stat().st_mtime_ns for p in cams.rglob("*")}
    rows(cams)
    assert {str(p): p.stat().st_mtime_ns for p in cams.rglob("*")} == before


def test_status_loads_neither_numpy_nor_zarr_nor_torch():
    modules = ("numpy", "zarr", "torch", "tomlkit", "tqdm")
    code = f"import sys, labelseg.workspace, labelseg.pipeline.run.status; print([m for m in {modules} if m in sys.modules])"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env).stdout == "[]\n"


def test_a_row_can_be_written_as_json(cams):
    assert json.loads(json.dumps(vars(rows(cams)["cam"])))["state"] == "fresh"


def test_status_of_many_images_is_fast(tmp_path):
    root = toy.make(tmp_path / "w", images=1000)
    ws = toy.ToyWorkspace(root)
    started = time.process_time()
    ws.status()
    assert time.process_time() - started < 1.0
