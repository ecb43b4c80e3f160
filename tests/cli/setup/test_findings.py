"""What is found in data is told by init, by dry runs and by doctor alike; advice that it gives leads on."""

from __future__ import annotations

import re
import shlex

import pytest
from conftest import labelseg
from PIL import Image

from labelseg.commands.running import upkeep
from labelseg.results.outlook.initial_weights import weight_findings
from labelseg.stages import STAGES


@pytest.fixture(autouse=True)
def quick_doctor(monkeypatch):
    """Let doctor time no convolutions."""
    monkeypatch.setattr(upkeep, "_torch_rows", list)


def lines(text):
    return {line for line in text.splitlines() if re.match(r"(data +)?(error|warning|note): ", line)}


def test_init_dry_runs_and_doctor_share_one_list(data, tmp_path):
    (data / "labels.csv").write_text("filename;tags\na1.jpg;Cat\na2;dog\na3;nan\nb1;cat\nb2;dog\ngone;cat\n")
    (data / "val.txt").write_text("b1\nb2\na1\n")
    (data / "notes.txt").write_text("photos of pets\n")
    root = tmp_path / "w"
    found = lines(labelseg(root, "init", "--from", data, stages=STAGES).stderr)
    assert len(found) == 9
    assert lines(labelseg(root, "run", "--dry-run", stages=STAGES).stderr) >= found
    told = {line.removeprefix("data").strip() for line in lines(labelseg(root, "doctor", stages=STAGES).stdout)}
    assert told == lines(labelseg(root, "run", "--dry-run", stages=STAGES).stderr)


def test_after_an_error_nothing_is_written_unless_asked_for(data, tmp_path):
    (data / "classes.txt").write_text("_background_\ncat\ndog\n")
    refused = labelseg(tmp_path / "w", "init", "--from", data)
    assert refused.exit_code == 1
    assert "1 error in the data, nothing was written" in refused.stderr
    assert not (tmp_path / "w" / "labelseg.toml").exists()
    assert labelseg(tmp_path / "w", "init", "--from", data, "--anyway").exit_code == 0
    assert labelseg(tmp_path / "v", "init", "--from", data, "--recipe", "few-masks").exit_code == 0


def test_images_in_folders_of_their_class_are_offered_as_tags(tmp_path):
    for name in ("cat/1", "cat/2", "dog/1"):
        (tmp_path / "p" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9)).save(tmp_path / "p" / f"{name}.png")
    refused = labelseg(tmp_path / "w", "init", "--images", tmp_path / "p")
    assert refused.exit_code == 1
    (advice,) = re.findall(r"if these are their classes: (--labels .+)", refused.stderr)
    done = labelseg(tmp_path / "w", "init", "--images", tmp_path / "p", *shlex.split(advice))
    assert done.exit_code == 0
    assert "background, cat 2, dog 1" in done.stdout


@pytest.mark.parametrize("task", ["cat;dgo", "cat;dog,bird"])
def test_a_class_of_a_later_step_that_is_not_there_is_told_before_the_first(data, tmp_path, task):
    labelseg(tmp_path / "w", "init", "--from", data, stages=STAGES)
    result = labelseg(tmp_path / "w", "wilson", "--step", "0", "--task", task, "--dry-run", stages=STAGES)
    assert "step 1: the data has no class" in result.stderr


def test_a_training_that_is_all_warm_up_is_told_and_the_advice_leads_on(data, tmp_path):
    root = tmp_path / "w"
    labelseg(root, "init", "--from", data, stages=STAGES)
    assert "warm-up" not in labelseg(root, "train-classifier", "--dry-run", stages=STAGES).stderr
    for key in ("min_updates", "warmup_share"):
        labelseg(root, "config", f"train-classifier.{key}", "--unset", stages=STAGES)
    told = labelseg(root, "train-classifier", "--dry-run", stages=STAGES).stderr
    assert "train-classifier: 3 images give 6 updates, 6 of them warm-up" in told
    (advice,) = re.findall(r"labelseg (train-classifier --epochs [^\n]*)", told)
    assert "warm-up" not in labelseg(root, *advice.split(), "--dry-run", stages=STAGES).stderr


@pytest.mark.parametrize(("warmup", "told"), [(1, False), (2, True)])
def test_warm_up_over_a_quarter_of_the_updates_is_told(data, tmp_path, warmup, told):
    root = tmp_path / "w"
    labelseg(root, "init", "--from", data, stages=STAGES)
    for key in ("min_updates", "warmup_share"):
        labelseg(root, "config", f"train-classifier.{key}", "--unset", stages=STAGES)
    labelseg(root, "config", "train-classifier.warmup", warmup, stages=STAGES)
    said = labelseg(root, "train-classifier", "--dry-run", stages=STAGES).stderr
    assert (f"3 images give 6 updates, {warmup} of them warm-up" in said) is told


def test_weights_that_are_not_there_are_told_of_all_trainings_at_once_with_the_commands_for_all():
    trainings = [stage for stage in STAGES if stage.name in ("train-classifier", "train-affinity", "train-segmenter")]
    (told,) = weight_findings([(stage, stage.params(backbone="resnet38", weights="imagenet")) for stage in trainings])
    assert told.where == "weights of train-classifier, train-affinity, train-segmenter"
    for word in ("FILE", "none"):
        assert " && ".join(f"labelseg config {stage.name}.weights {word}" for stage in trainings) in told.remedy
    classifier, _, segmenter = trainings
    nodes = [(classifier, classifier.params(backbone="resnet38")), (segmenter, segmenter.params(backbone="resnet38", weights="none"))]
    assert [finding.where for finding in weight_findings(nodes)] == ["weights of train-classifier"]
