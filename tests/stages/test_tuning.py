"""``labelseg tune`` through the command line, on scenes whose activation maps are drawn: broad blobs on the true objects."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from scipy.ndimage import gaussian_filter

from labelseg.cli import make_program
from labelseg.data.scenes.drawing import write_scenes
from labelseg.pipeline.declare.stage import option
from labelseg.results.scores import score
from labelseg.stages import STAGES
from labelseg.workspace import Workspace
from tests.stages.scene_files import data_table

SETTINGS = """
[refine]
crf_iters = 3

[propagate]
affinity_kind = "colour"
iters = 64
threshold = 0.05  # far too low

[run]
target = "propagate"
split = "train"
"""
STEPS = ["cam", "refine", "propagate"]
HERE = ("--workers", "0", "--device", "cpu")


@dataclass(frozen=True, kw_only=True)
class DrawnParams:
    """Parameters of drawn maps."""

    tags: str = option("given", help="Classes to map.", choices=("given",))


def drawn_cam(inputs, params):
    """Maps of the tagged classes: the true object blurred, over its maximum."""

    def compute(item):
        item.image()  # read as the stage reads it
        truth, ids = item.dataset.mask(item.id), np.array(item.tags, np.int16)
        maps = [gaussian_filter((truth == k).astype(np.float32), 6)[::4, ::4] for k in ids]
        scores = np.stack([one / (one.max() + 1e-5) for one in maps]).astype(np.float16)
        return {"scores": scores, "class_ids": ids, "size": np.array(truth.shape, np.int32)}

    return compute


PROGRAM = make_program(tuple(replace(s, run=drawn_cam, params=DrawnParams) if s.name == "cam" else s for s in STAGES))


def call(root, *words):
    return CliRunner().invoke(PROGRAM, ["-C", str(root), *map(str, words)])


@pytest.fixture(scope="module")
def drawn_root(tmp_path_factory):
    """A workspace of scenes; what is tuned in it stays."""
    root = tmp_path_factory.mktemp("drawn")
    table = write_scenes(root, train=12, val=2, seed=3)
    (root / "labelseg.toml").write_text(data_table(table) + SETTINGS)
    return root


@pytest.fixture(scope="module")
def tuned(drawn_root):
    """What tuning the whole chain printed, after it wrote."""
    done = call(drawn_root, "tune", "--json", *HERE)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout), done.stderr


@pytest.fixture
def root(drawn_root, tuned, tmp_path):
    """A copy of the tuned workspace that a test may change."""
    return shutil.copytree(drawn_root, tmp_path / "w")


def test_no_step_scores_lower_than_before_and_all_hold_on_masks_held_out(tuned):
    found, told = tuned
    assert [choice["step"] for choice in found["choices"]] == STEPS
    assert (found["by"], found["score"]) == ("masks", "mIoU")
    assert (len(found["chosen_on"]), len(found["held_out"])) == (6, 6)
    assert "Chosen on 6 images of train, by their masks; 6 images held out (seed 0)." in told
    for choice in found["choices"]:
        assert choice["score"] >= choice["score_before"]
        if choice["changes"]:
            assert choice["gain"] > choice["error"] >= 0
            assert choice["held"] > choice["held_before"]
    assert found["choices"][2]["score"] > found["choices"][2]["score_before"] + 0.1


def test_what_was_chosen_is_in_the_file_beside_its_comments(tuned, root):
    found, told = tuned
    config = Workspace(root, stages=PROGRAM.stages).config
    assert "# far too low" in (root / "labelseg.toml").read_text()
    for choice in found["choices"]:
        for name, value in choice["changes"].items():
            held = config.evaluate if choice["table"] == "evaluate" else vars(config.params(choice["table"]))
            assert held[name] == value
    assert f"Wrote {sum(len(choice['changes']) for choice in found['choices'])} values to" in told


def test_the_scores_told_are_those_of_evaluate(tuned, root):
    """Masks made with what was written score as was told, on the images chosen on and on those held out."""
    found, _ = tuned
    for side in ("chosen_on", "held_out"):
        (root / "splits" / f"{side}.txt").write_text("\n".join(found[side]) + "\n")
    for step in ("refine", "propagate"):
        assert call(root, step, *HERE).exit_code == 0
    workspace = Workspace(root, stages=PROGRAM.stages)
    assert {*found["chosen_on"], *found["held_out"]} == {*workspace.dataset.ids("train")}
    for choice in found["choices"]:
        for side, told in (("chosen_on", "score"), ("held_out", "held")):
            assert score(workspace, workspace.ref(choice["step"], "train"), side).miou == pytest.approx(choice[told], abs=1e-9)


def test_what_is_tuned_stands_the_second_time_and_a_dry_run_writes_nothing(root):
    (root / "labelseg.toml").write_text((root / "labelseg.toml").read_text().replace("[propagate]", "[propagate]\nflip = false"))
    assert call(root, "config", "propagate.threshold", "0.02").exit_code == 0
    before = (root / "labelseg.toml").read_bytes()
    done = call(root, "tune", "--of", "propagate", "--dry-run", *HERE)
    assert done.exit_code == 0, done.output
    assert (root / "labelseg.toml").read_bytes() == before
    assert "propagate.threshold  0.02" in done.stdout
    assert "nothing was written" in done.stderr


def test_a_few_of_a_list_are_warned_of(root, tmp_path):
    (tmp_path / "few.txt").write_text("train_0001\ntrain_0002\ntrain_0003\nval_0000\n")
    done = call(root, "tune", "--of", "propagate", "--dry-run", "--list", tmp_path / "few.txt", *HERE)
    assert done.exit_code == 0, done.output
    assert "Chosen on 2 images of train, by their masks; 1 image held out" in done.stderr
    assert "3 masks are few" in done.stderr


def test_a_photo_that_cannot_be_read_costs_the_tuning_that_image(root, tmp_path):
    (tmp_path / "four.txt").write_text("train_0000\ntrain_0001\ntrain_0002\ntrain_0003\n")
    photo = next((root / "images").glob("train_0001.*"))
    photo.write_bytes(photo.read_bytes()[:100])
    done = call(root, "tune", "--of", "refine", "--list", tmp_path / "four.txt", *HERE)
    assert done.exit_code == 0, done.output
    assert "1 item failed, the first in cam" in done.stderr
    assert "Chosen on 2 images of train, by their masks; 1 image held out" in done.stderr
    assert "1 image left out, of which cam has nothing: train_0001." in done.stderr
    assert "DONE " not in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--of", "cam"], "tune --of cam: expected an instance of refine or propagate"),
        (["--of", "refine@x"], "'refine@x' has no table"),
        (["--on", "trian"], "the data has no split 'trian'. Did you mean 'train'?"),
        (["--by", "tags", "--of", "refine"], "without masks a classifier of tags judges, and there is none behind it"),
    ],
)
def test_what_cannot_be_tuned_is_refused(root, words, told):
    done = call(root, "tune", "--dry-run", *words, *HERE)
    assert done.exit_code != 0
    assert told in done.stderr


def test_masks_that_were_learned_from_are_refused_and_left_out(root, monkeypatch):
    ids = Workspace(root, stages=PROGRAM.stages).dataset.ids("train")
    learned = set(ids)
    monkeypatch.setattr("labelseg.tuning.images.learned_images", lambda workspace, recipe: learned)
    done = call(root, "tune", "--of", "refine", "--dry-run", *HERE)
    assert done.exit_code == 1
    assert "the masks of all 12 images of 'train' were learned from" in done.stderr
    learned -= {*ids[:4]}
    done = call(root, "tune", "--of", "propagate", "--dry-run", *HERE)
    assert "8 images left out, whose masks were learned from." in done.stderr


def test_images_of_which_nothing_is_known_are_refused(root):
    shutil.rmtree(root / "masks")
    (root / "masks").mkdir()
    (root / "labels.csv").write_text("image,labels\nval_0000,star\n")
    done = call(root, "tune", *HERE)
    assert done.exit_code == 1
    assert "no image of 'train' has a mask or tags" in done.stderr


def test_grey_masks_are_refused(root):
    for path in (root / "masks").iterdir():
        mask = np.asarray(Image.open(path))
        Image.fromarray(np.where(mask % 255 > 0, 255, 0).astype(np.uint8)).save(path)
    for words in (["tune", "--of", "refine", "--dry-run"], ["evaluate", "cam"], ["train-segmenter", "--labels", "masks"]):
        done = call(root, *words)
        assert done.exit_code == 1, words
        assert "hold grey values, 0 and 255 alone" in done.stderr, words


def test_a_walk_over_features_is_tuned_and_scores_as_told(root):
    walk = ("propagate", "--as", "alike", "--affinity-kind", "features", "--threshold", "0.05", "--iters", "16")
    assert call(root, "config", "features.backbone", "tiny").exit_code == 0
    assert call(root, "config", "features.weights", "none").exit_code == 0
    assert call(root, *walk, *HERE).exit_code == 0
    done = call(root, "tune", "--of", "propagate@alike", "--json", *HERE)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    (choice,) = [choice for choice in found["choices"] if choice["step"] == "propagate@alike"]
    assert choice["score"] > choice["score_before"] + 0.1
    assert call(root, "propagate", "--as", "alike", *HERE).exit_code == 0
    (root / "splits" / "chosen_on.txt").write_text("\n".join(found["chosen_on"]) + "\n")
    workspace = Workspace(root, stages=PROGRAM.stages)
    assert score(workspace, workspace.ref("propagate@alike", "train"), "chosen_on").miou == pytest.approx(choice["score"], abs=1e-9)


def swept(root, *words):
    done = call(root, "evaluate", *words, "--json")
    assert done.exit_code == 0, done.output
    return {found["step"]: found for found in json.loads(done.stdout)}, done.stderr


def test_a_sweep_chooses_on_the_named_masks_alone_and_scores_the_others_as_evaluate_does(root):
    ids = Workspace(root, stages=PROGRAM.stages).dataset.ids("train")
    (root / "splits" / "known.txt").write_text("\n".join(ids[:5]) + "\n")
    (root / "splits" / "others.txt").write_text("\n".join(ids[5:]) + "\n")
    before = (root / "labelseg.toml").read_bytes()
    found, told = swept(root, "--sweep", "known")
    assert list(found) == ["cam", "refine", "propagate"]
    assert [list(choice["values"]) for choice in found.values()] == [["threshold"], ["alpha"], ["threshold"]]
    for choice in found.values():
        assert (choice["chosen_on"]["images"], choice["scored_on"]["images"]) == (ids[:5], ids[5:])
        assert choice["score"] >= choice["score_before"]
    best = found["cam"]["values"]["threshold"]
    for split, key in (("known", "score"), ("others", "held")):
        (alone,) = json.loads(call(root, "evaluate", "cam", "--on", split, "--threshold", best, "--json").stdout)
        assert alone["miou"] == pytest.approx(found["cam"][key], abs=1e-9)
    assert "Nothing was written." in told
    assert (root / "labelseg.toml").read_bytes() == before
    assert call(root, "refine", "--alpha", found["refine"]["values"]["alpha"], *HERE).exit_code == 0
    (alone,) = json.loads(call(root, "evaluate", "refine", "--on", "others", "--json").stdout)
    assert alone["miou"] == pytest.approx(found["refine"]["held"], abs=1e-9)


def test_a_sweep_reads_what_was_made_for_any_split_and_never_scores_what_it_chose_on(root, tmp_path):
    assert call(root, "cam", "--split", "val", *HERE).exit_code == 0
    ids = Workspace(root, stages=PROGRAM.stages).dataset.ids("train")
    (tmp_path / "some.txt").write_text("\n".join(ids[:3]) + "\n")
    found, _ = swept(root, "cam", "--sweep", tmp_path / "some.txt", "--on", "train")
    assert (found["cam"]["chosen_on"]["images"], found["cam"]["scored_on"]["images"]) == (ids[:3], ids[3:])
    found, _ = swept(root, "cam", "--sweep", "train", "--on", "val")
    assert (len(found["cam"]["chosen_on"]["images"]), len(found["cam"]["scored_on"]["images"])) == (12, 2)
    table = call(root, "evaluate", "cam", "--sweep", "train", "--on", "val").stdout.splitlines()
    assert table[0].split()[:4] == ["STAGE", "KEY", "WAS", "BEST"]
    assert table[1].split()[0:2] == ["cam", "evaluate.threshold"]
    assert table[1].split()[4::3] == ["12", "2"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--sweep", "val"), 1, "of the images to choose on, none of them has a mask and what cam reads"),
        (("--sweep", "trian"), 2, "the data has no split 'trian'. Did you mean 'train'?"),
        (("--sweep", "train"), 1, "of the images to score, none of them has a mask and what cam reads"),
        (("affinity-labels", "--sweep", "train"), 2, "it has no threshold and no alpha. Name activation maps, refine or propagate."),
        (("--sweep", "train", "--per-class"), 2, "goes with STAGE, --on, --split and --json alone."),
    ],
)
def test_what_cannot_be_swept_is_told(root, words, code, message):
    done = call(root, "evaluate", *words)
    assert (done.exit_code, message in " ".join(done.stderr.split())) == (code, True), done.stderr


def test_masks_that_were_learned_from_count_in_neither_set(root, monkeypatch):
    ids = Workspace(root, stages=PROGRAM.stages).dataset.ids("train")
    monkeypatch.setattr("labelseg.tuning.named_sets.learned_images", lambda workspace, recipe: {ids[0], ids[4]})
    (root / "splits" / "known.txt").write_text("\n".join(ids[:4]) + "\n")
    found, told = swept(root, "cam", "--sweep", "known")
    assert (found["cam"]["chosen_on"]["images"], found["cam"]["scored_on"]["images"]) == (ids[1:4], ids[5:])
    assert "cam: 1 image to score left out, whose masks were learned from or cannot be used." in told
