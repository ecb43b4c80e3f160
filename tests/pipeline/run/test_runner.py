"""What is computed again after which change, what is not, and what survives interruption."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from labelseg.errors import ItemsFailedError, LabelsegError, LockedError, MissingArtifactError, NotFreshError, UsageError, WaitingError
from labelseg.pipeline.files.locks import workspace_lock
from labelseg.pipeline.run.options import RunOptions
from labelseg.pipeline.run.report import Report
from tests.pipeline import toy

HERE = RunOptions(workers=0, device="cpu")
ALL_IDS = [f"t{number:03d}" for number in range(6)]


@pytest.fixture
def root(tmp_path) -> Path:
    return toy.make(tmp_path / "w")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A workspace in which everything is up to date, made once."""
    root = toy.make(tmp_path_factory.mktemp("finished") / "w")
    run(root)
    toy.computed(root)
    return root


@pytest.fixture
def done(finished, tmp_path) -> Path:
    """A copy of the finished workspace, free to be changed."""
    return Path(shutil.copytree(finished, tmp_path / "done"))


@pytest.fixture(autouse=True)
def unsynced(monkeypatch) -> None:
    """Leave flushing to the operating system: no test here cuts the power."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def run(root: Path, target: str | None = None, split: str | None = None, stages=toy.STAGES, environ=None, params=None, **options) -> Report:
    return toy.ToyWorkspace(root, stages, environ).run(target, split, options=replace(HERE, **options), **(params or {}))


def actions(report: Report) -> dict[str, str]:
    return {result.instance: result.action for result in report.results}


def result(report: Report, instance: str):
    return next(r for r in report.results if r.instance == instance)


def refs(root: Path) -> dict[str, str]:
    return {ref.instance: ref.digest for ref in toy.ToyWorkspace(root).catalog.refs()}


def tree(root: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.stat().st_mtime_ns, p.stat().st_ino) for p in root.rglob("*")}


def all_of(stage: str) -> list[str]:
    return [f"{stage} {image_id}" for image_id in ALL_IDS]


def test_a_first_run_computes_everything(root):
    report = run(root)
    assert list(actions(report).values()) == ["trained", "computed", "computed", "trained", "computed"]
    assert toy.computed(root) == sorted([*all_of("cam"), *all_of("refine"), *all_of("spread"), "train-classifier", "train-segmenter"])
    # Model 3 * 21, odd; scores 2 * 1 + 1 to 2 * 6 + 1; masks sum to 96; 3 + 96 + beta.
    assert toy.ToyWorkspace(root)["spread", "train"]["t000"]["mask"].tolist() == [[107, 107]]


def test_a_second_run_computes_nothing_and_leaves_no_trace(done):
    before = tree(done / ".labelseg" / "runs"), refs(done)
    assert set(actions(run(done)).values()) == {"fresh"}
    assert toy.computed(done) == []
    assert (tree(done / ".labelseg" / "runs"), refs(done)) == before


def test_a_parameter_reruns_its_stage_and_what_reads_it(done):
    report = run(done, "spread", params={"beta": 4})
    assert list(actions(report).values()) == ["fresh", "fresh", "fresh", "fresh", "computed"]
    assert toy.texts(result(report, "spread").reasons) == ("parameter beta: 8.0 -> 4.0",)
    assert toy.computed(done) == all_of("spread")


def test_parameters_given_on_the_call_are_written_to_the_file(done):
    run(done, "spread", params={"beta": 4})
    assert "[spread]\nbeta = 4.0" in (done / "labelseg.toml").read_text()
    assert set(actions(run(done)).values()) == {"fresh"}


def test_a_rerun_that_gives_equal_bytes_stops_there(done):
    # Every score is far below the cut, before and after.
    report = run(done, environ={"LABELSEG_REFINE__ALPHA": "5"})
    assert toy.computed(done) == all_of("refine")
    assert actions(report)["train-segmenter"] == "fresh"


def test_another_model_reruns_every_item_that_it_was_used_for(done):
    report = run(done, environ={"LABELSEG_TRAIN_CLASSIFIER__EPOCHS": "5"})
    # The model differs, though its parity and so every byte of the maps does not.
    assert toy.computed(done) == [*all_of("cam"), "train-classifier"]
    assert toy.texts(result(report, "cam").reasons) == ("train-classifier changed: parameter epochs: 3 -> 5",)
    assert actions(report)["refine"] == "fresh"


def test_an_upstream_change_without_effect_is_not_told_again(done):
    environ = {"LABELSEG_REFINE__ALPHA": "5"}
    run(done, environ=environ)
    toy.set_image(done, "t100", 9)
    assert actions(run(done, environ=environ))["train-segmenter"] == "outdated-kept"


def test_going_back_computes_nothing(done):
    before = refs(done)
    run(done, environ={"LABELSEG_CAM__SCALES": "1", "LABELSEG_TRAIN_CLASSIFIER__EPOCHS": "2"})
    assert refs(done) != before
    toy.computed(done)
    report = run(done)
    assert toy.computed(done) == []
    assert set(actions(report).values()) == {"reused"}
    assert refs(done) == before


def test_instances_with_equal_parameters_share_their_items(done):
    run(done, "refine", params={"cam": "cam"}, create=True)
    report = run(done, "refine@twin", create=True)
    assert result(report, "refine@twin").action == "reused"
    assert toy.computed(done) == []
    assert "[refine.twin]" in (done / "labelseg.toml").read_text()


def test_a_new_image_is_one_item_in_every_map_and_leaves_models_outdated(done):
    toy.set_image(done, "t100", 9)
    report = run(done)
    assert toy.computed(done) == ["cam t100", "refine t100", "spread t100"]
    assert actions(report)["train-classifier"] == actions(report)["train-segmenter"] == "outdated-kept"
    assert toy.texts(result(report, "train-segmenter").reasons) == ("trained on 6 of 7 images",)
    assert (result(report, "spread").computed, result(report, "spread").total) == (1, 7)


def test_a_changed_image_is_computed_again_alone(done):
    toy.set_image(done, "t003", 9)
    report = run(done)
    assert toy.computed(done) == ["cam t003", "refine t003", "spread t003"]
    assert toy.texts(result(report, "train-classifier").reasons) == ("trained on 6 of 6 images, 1 changed",)
    assert toy.texts(result(report, "cam").reasons) == ("1 changed",)


def test_changed_tags_reach_only_what_reads_tags(done):
    (done / "tags.json").write_text(json.dumps({"t002": [1, 2]}))
    report = run(done)
    assert toy.computed(done) == ["cam t002"]
    assert result(report, "refine").action == "fresh"


def test_a_removed_image_computes_nothing(done):
    (done / "images" / "t005.txt").unlink()
    report = run(done)
    assert toy.computed(done) == []
    assert result(report, "cam").action == "reused"
    assert toy.ToyWorkspace(done)["spread", "train"].ids == ALL_IDS[:-1]


def test_retrain_refreshes_outdated_models_and_what_they_change(done):
    toy.set_image(done, "t100", 9)
    report = run(done, retrain=True)
    assert actions(report)["train-classifier"] == actions(report)["train-segmenter"] == "trained"
    assert "train-classifier was retrained" in toy.texts(result(report, "cam").reasons)
    assert result(report, "refine").total == 7
    assert set(actions(run(done)).values()) == {"fresh"}


def test_another_weights_file_makes_the_model_stale(root):
    weights = root / "weights.bin"
    weights.write_bytes(b"one")
    (root / "labelseg.toml").write_text(toy.TOML + '[train-classifier]\nweights = "weights.bin"\n')
    run(root)
    weights.write_bytes(b"two")
    report = run(root)
    assert result(report, "train-classifier").action == "trained"
    assert toy.texts(result(report, "train-classifier").reasons) == ("weights changed",)


def test_weights_moved_elsewhere_change_nothing(root):
    (root / "weights.bin").write_bytes(b"one")
    run(root, environ={"LABELSEG_TRAIN_CLASSIFIER__WEIGHTS": "weights.bin"})
    (root / "weights.bin").rename(root / "moved.bin")
    assert set(actions(run(root, environ={"LABELSEG_TRAIN_CLASSIFIER__WEIGHTS": "moved.bin"})).values()) == {"fresh"}


def test_a_new_version_of_a_stage_makes_it_stale(done):
    stages = tuple(replace(stage, version=2) if stage.name == "spread" else stage for stage in toy.STAGES)
    report = run(done, stages=stages)
    assert toy.texts(result(report, "spread").reasons) == ("version 1 -> 2",)
    assert toy.computed(done) == all_of("spread")


def test_another_label_source_makes_the_model_stale(done):
    for image_id in ALL_IDS:
        (done / "masks" / f"{image_id}.txt").write_text("2")
    report = run(done, "train-segmenter", params={"labels": "masks"})
    assert actions(report) == {"train-segmenter": "trained"}
    assert toy.texts(result(report, "train-segmenter").reasons) == ("labels: refine -> masks",)


def test_a_training_on_ground_truth_takes_the_images_that_have_it(root):
    for image_id in ALL_IDS[:2]:
        (root / "masks" / f"{image_id}.txt").write_text("2")
    run(root, "train-segmenter", params={"labels": "masks", "unlabeled": "all"})
    # Two masks of 2 x 3 pixels of class 2, and eight images without labels.
    assert toy.ToyWorkspace(root).model("train-segmenter").tensors["w"].tolist() == [2 * 6 * 2 + 8]


def test_a_training_without_any_ground_truth_says_so(root):
    with pytest.raises(LabelsegError, match="no image with a ground truth mask"):
        run(root, "train-segmenter", params={"labels": "masks"})


def test_force_computes_again_and_stops_at_equal_bytes(done):
    report = run(done, force=frozenset({"cam"}))
    assert toy.computed(done) == all_of("cam")
    assert toy.texts(result(report, "cam").reasons) == ("forced",)
    assert actions(report)["refine"] == "fresh"


def test_force_trains_again(done):
    report = run(done, force=frozenset({"train-classifier"}))
    assert toy.computed(done) == ["train-classifier"]
    assert actions(report)["cam"] == "fresh"


def test_a_forced_result_takes_the_place_of_the_old_one(done):
    stages = tuple(replace(stage, run=other_spread) if stage.name == "spread" else stage for stage in toy.STAGES)
    run(done, stages=stages, force=frozenset({"spread"}))
    assert toy.ToyWorkspace(done)["spread", "train"]["t000"]["mask"].tolist() == [[0]]
    toy.set_image(done, "t100", 9)
    run(done)
    assert toy.ToyWorkspace(done)["spread", "train"]["t000"]["mask"].tolist() == [[0]]


def other_spread(inputs, params):
    import numpy as np

    return lambda item: {"mask": np.zeros((1, 1), np.uint8)}


def test_a_dry_run_touches_nothing_and_tells_what_would_be_done(done):
    toy.set_image(done, "t100", 9)
    before = tree(done)
    report = run(done, "spread", params={"beta": 2}, dry_run=True)
    assert tree(done) == before
    assert list(actions(report).values()) == ["outdated-kept", "computed", "computed", "outdated-kept", "computed"]
    assert (result(report, "cam").computed, result(report, "cam").total) == (1, 7)
    assert result(report, "refine").computed is None


def test_a_dry_run_in_a_new_workspace_makes_no_folder(root):
    run(root, dry_run=True)
    assert not (root / ".labelseg").exists()


def test_a_dry_run_sees_what_is_there_under_another_key(done):
    run(done, environ={"LABELSEG_SPREAD__BETA": "4"})
    assert result(run(done, dry_run=True), "spread").action == "reused"


def test_until_stops_there(root):
    assert list(actions(run(root, until="refine"))) == ["train-classifier", "cam", "refine"]


def test_until_something_that_is_not_read_is_refused(root):
    with pytest.raises(UsageError, match=re.escape("--until refin: the target does not read it. Did you mean 'refine'?")):
        run(root, until="refin")


def test_from_uses_what_comes_before_as_it_stands(done):
    run(done, environ={"LABELSEG_CAM__SCALES": "1", "LABELSEG_SPREAD__BETA": "4"}, from_="spread")
    assert toy.computed(done) == all_of("spread")
    run(done, environ={"LABELSEG_SPREAD__BETA": "4"})
    assert toy.computed(done) == []


def test_from_needs_what_comes_before(root):
    with pytest.raises(MissingArtifactError, match="never run here"):
        run(root, from_="spread")


def test_only_runs_the_target_alone(done):
    report = run(done, "spread", params={"beta": 4}, only=True)
    assert actions(report) == {"spread": "computed"}


def test_only_refuses_when_a_parent_is_stale(done):
    with pytest.raises(NotFreshError, match=re.escape("spread reads cam (train), which is stale: parameter scales")) as error:
        run(done, "spread", environ={"LABELSEG_CAM__SCALES": "1"}, only=True)
    assert error.value.exit_code == 4
    assert toy.computed(done) == []


def test_only_takes_an_outdated_model(done):
    toy.set_image(done, "t100", 9)
    run(done, "refine")
    toy.computed(done)
    run(done, "spread", only=True)
    assert toy.computed(done) == ["spread t100"]


def test_a_bad_image_is_recorded_and_the_others_go_on(root):
    run(root, "train-classifier")
    toy.set_image(root, "t002", "broken")
    toy.computed(root)
    with pytest.raises(ItemsFailedError, match=r"1 item failed, the first in cam: t002: expected .*'broken'\. All are listed in") as error:
        run(root)
    assert toy.computed(root).count("spread t002") == 0
    assert toy.ToyWorkspace(root)["spread", "train"].ids == ["t000", "t001", "t003", "t004", "t005"]
    assert result(error.value.report, "cam").failed == 1
    lines = next((root / ".labelseg" / "runs").glob("*/failed.jsonl")).read_text().splitlines()
    record = json.loads(lines[0])
    assert (record["id"], record["instance"], "Traceback" in record["traceback"]) == ("t002", "cam", True)


def test_the_next_run_retries_failed_items_only(root):
    run(root, "train-classifier")
    toy.set_image(root, "t002", "broken")
    with pytest.raises(ItemsFailedError):
        run(root)
    toy.computed(root)
    with pytest.raises(ItemsFailedError):
        run(root)
    assert toy.computed(root) == ["cam t002"]
    toy.set_image(root, "t002", 3)
    run(root)
    assert toy.computed(root) == ["cam t002", "refine t002", "spread t002"]
    assert toy.ToyWorkspace(root)["spread", "train"].ids == ALL_IDS


def test_a_stage_that_fails_on_everything_ends_the_run(root):
    run(root, "train-classifier")
    for image_id in ALL_IDS:
        toy.set_image(root, image_id, "broken")
    with pytest.raises(LabelsegError, match=re.escape("cam (train) failed on all 6 images. The first: t000: expected")) as error:
        run(root)
    assert error.value.exit_code == 1
    assert "cam" not in refs(root)


def test_a_failed_training_ends_the_run(root):
    with pytest.raises(LabelsegError, match="not finite") as error:
        run(root, params=None, environ={"LABELSEG_TRAIN_CLASSIFIER__FAIL": "true"})
    assert actions(error.value.report) == {"train-classifier": "failed"}


def test_keep_going_does_what_does_not_read_the_failed_stage(root):
    for image_id in ALL_IDS:
        (root / "masks" / f"{image_id}.txt").write_text("2")
    (root / "labelseg.toml").write_text(toy.TOML + '[train-segmenter]\nlabels = "masks"\n')
    with pytest.raises(LabelsegError, match="not finite") as error:
        run(root, environ={"LABELSEG_TRAIN_CLASSIFIER__FAIL": "true"}, keep_going=True)
    expected = {"train-classifier": "failed", "cam": "skipped", "train-segmenter": "trained", "spread": "skipped"}
    assert actions(error.value.report) == expected


def test_a_stage_that_waits_for_a_person_is_told_at_the_end(root):
    with pytest.raises(WaitingError, match="three images wait") as error:
        run(root, environ={"LABELSEG_TRAIN_CLASSIFIER__WEIGHTS": "wait"})
    assert error.value.exit_code == 6
    assert actions(error.value.report)["train-classifier"] == "waiting"


def test_an_interrupted_training_finds_its_checkpoints_again(root):
    (root / "interrupt").touch()
    with pytest.raises(KeyboardInterrupt):
        run(root, "train-classifier")
    run(root, "train-classifier")
    assert toy.ToyWorkspace(root).model("train-classifier").metrics == {"resumed": True}
    assert not list((root / ".labelseg" / "checkpoints").glob("*/*"))


def test_checkpoints_of_other_parameters_are_not_taken(root):
    (root / "interrupt").touch()
    with pytest.raises(KeyboardInterrupt):
        run(root, "train-classifier")
    (root / "interrupt").unlink()
    run(root, "train-classifier", params={"epochs": 9})
    assert toy.ToyWorkspace(root).model("train-classifier").metrics == {"resumed": False}


def test_under_a_tag_neither_main_refs_nor_the_file_move(done):
    before, text = refs(done), (done / "labelseg.toml").read_text()
    run(done, "spread", params={"beta": 4}, tag="trial")
    assert refs(done) == before
    assert (done / "labelseg.toml").read_text() == text
    tagged = toy.ToyWorkspace(done).ref("spread", "train", "trial")
    assert tagged.params["beta"] == 4.0
    toy.computed(done)
    run(done, "spread", params={"beta": 4}, tag="trial")
    assert toy.computed(done) == []


def test_a_tag_follows_when_the_main_result_is_the_right_one(done):
    run(done, "spread", params={"beta": 4}, tag="trial")
    run(done, "spread", tag="trial", replace_tag=True)
    ws = toy.ToyWorkspace(done)
    assert ws.ref("spread", "train", "trial").digest == ws.ref("spread", "train").digest


def test_a_locked_workspace_is_refused(root):
    other = subprocess.Popen([sys.executable, "-c", LOCKER, str(root / ".labelseg")], stdout=subprocess.PIPE, text=True, env=environment())
    try:
        other.stdout.readline()
        with pytest.raises(LockedError):
            run(root, wait=0)
        run(root, dry_run=True)
    finally:
        other.kill()
        other.wait()
        other.stdout.close()


def test_the_lock_is_released_after_an_error(root):
    with pytest.raises(LabelsegError):
        run(root, environ={"LABELSEG_TRAIN_CLASSIFIER__FAIL": "true"})
    with workspace_lock(root / ".labelseg", "test"):
        pass


def test_a_wrong_target_leaves_the_file_alone(done):
    text = (done / "labelseg.toml").read_text()
    with pytest.raises(UsageError):
        run(done, "refine", params={"alpha": 3.0, "cam": "nothing"})
    assert (done / "labelseg.toml").read_text() == text


def test_no_digest_depends_on_the_number_of_workers(tmp_path):
    digests = []
    for workers in (0, 1, 2):
        root = toy.make(tmp_path / str(workers), images=9)
        run(root, "cam", workers=workers)
        digests.append(refs(root))
        assert toy.computed(root) == [*(f"cam t{n:03d}" for n in range(9)), "train-classifier"]
    assert digests[0] == digests[1] == digests[2]


def test_a_killed_run_goes_on_where_it_was(tmp_path):
    root = toy.make(tmp_path / "w", images=150)
    toy.set_image(root, "t140", toy.SLEEPS)
    run(root, "train-classifier")
    toy.computed(root)
    process = subprocess.Popen([sys.executable, "-c", RUNNER, str(root)], env=environment())
    wait_for(lambda: "cam t140" in (root / "computed.log").read_text().splitlines() if (root / "computed.log").exists() else False)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert "cam" not in refs(root)
    toy.computed(root)
    toy.set_image(root, "t140", 7)
    run(root, "cam")
    # Chunks of 64: the first two were written, the third was lost.
    assert toy.computed(root) == [f"cam t{number:03d}" for number in range(128, 150)]
    assert len(toy.ToyWorkspace(root)["cam", "train"]) == 150


def test_a_run_without_changes_is_fast(tmp_path):
    root = toy.make(tmp_path / "w", images=200)
    run(root, "refine")
    started = time.process_time()
    run(root, "refine")
    assert time.process_time() - started < 0.5


def test_a_listener_hears_of_every_node(root):
    heard = []
    run(root, "cam", on_event=lambda event, result: heard.append((event, result.instance, result.computed)))
    assert heard == [("start", "train-classifier", None), ("done", "train-classifier", 1), ("start", "cam", None), ("done", "cam", 6)]


def test_a_manifest_that_is_gone_is_made_again_from_its_parts(done):
    ws = toy.ToyWorkspace(done)
    ws.catalog.manifest_path("cam", ws.ref("cam", "train").key).unlink()
    report = run(done)
    assert result(report, "cam").action == "reused"
    assert toy.computed(done) == []


def test_a_model_is_recorded_with_what_it_learned_from(done):
    ws = toy.ToyWorkspace(done)
    manifest = ws.catalog.load("train-classifier", ws.ref("train-classifier").key)
    assert [row[0] for row in manifest.meta["rows"]["split"]] == ALL_IDS
    assert manifest.meta["curves"] == [{"epoch": 1}]
    assert ws.model("train-classifier").meta == {"classes": ["background", "cat", "dog"]}
    assert ws.store.verify() == []


def test_log_lines_of_a_training_lie_with_the_run(done):
    ws = toy.ToyWorkspace(done)
    log = done / ".labelseg" / "runs" / ws.ref("train-classifier").run / "log.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert any(line.get("loss") == 0.5 and line["instance"] == "train-classifier" for line in lines)


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}


def wait_for(condition, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


LOCKER = """
import sys, time
from pathlib import Path
from labelseg.pipeline.files.locks import workspace_lock
with workspace_lock(Path(sys.argv[1]), "other"):
    print("locked", flush=True)
    time.sleep(60)
"""

RUNNER = """
import sys
from pathlib import Path
from tests.pipeline import toy
from labelseg.pipeline.run.options import RunOptions
toy.ToyWorkspace(Path(sys.argv[1])).run("cam", options=RunOptions(workers=0, device="cpu"))
"""


def test_an_outdated_model_serves_again_when_its_parameters_come_back(done):
    toy.set_image(done, "t900", 7)
    run(done)  # the models stay, on six of seven images
    run(done, "refine", "train", params={"alpha": 0.5})
    run(done)
    toy.computed(done)
    run(done, "refine", "train", params={"alpha": 4.0})
    assert actions(run(done, dry_run=True))["train-segmenter"] == "outdated-kept"
    report = run(done)
    assert actions(report)["train-segmenter"] == "outdated-kept"
    assert toy.computed(done) == []
    assert actions(run(done))["spread"] == "fresh"
    (reason,) = next(result.reasons for result in report.results if result.instance == "train-segmenter")
    assert str(reason) == "trained on 6 of 7 images"


def test_a_model_of_other_parameters_never_serves(done):
    toy.set_image(done, "t900", 7)
    run(done)
    assert actions(run(done, "train-segmenter", params={"seed": 1}))["train-segmenter"] == "trained"


@pytest.mark.parametrize("own", [False, True])
def test_the_device_is_for_maps_that_run_a_network_read_from_a_model_or_their_own(root, monkeypatch, own):
    stages = tuple(replace(stage, has_network=own) if stage.name == "refine" else stage for stage in toy.STAGES)
    workspace = toy.ToyWorkspace(root, stages)
    monkeypatch.setattr(workspace, "pick_device", lambda name: f"{name}, as picked")
    monkeypatch.setattr(workspace, "train", lambda work, inputs, params: work(inputs, params))
    workspace.run("refine", options=replace(HERE, device="cpu,cuda:1"))
    devices = {name: workspace[name, "train"].manifest.device for name in ("cam", "refine")}
    assert devices == {"cam": "cpu, as picked", "refine": "cpu, as picked" if own else "cpu"}
