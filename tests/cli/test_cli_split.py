"""What split chooses, writes and refuses."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from conftest import labelseg

from labelseg.cli import STAGES
from labelseg.data.dataset import open_dataset


def run(root: Path, *words: object):
    return labelseg(root, *words, stages=STAGES)


@pytest.fixture
def root(data, tmp_path) -> Path:
    assert run(tmp_path / "w", "init", "--from", data).exit_code == 0
    return tmp_path / "w"


def tables(root: Path) -> dict:
    return tomllib.loads((root / "labelseg.toml").read_text())


def ids(root: Path, split: str) -> list[str]:
    return open_dataset(root, tables(root)["data"]).ids(split)


def test_a_split_becomes_two_lists_named_by_their_origin(root, data):
    result = run(root, "split", "--labelled", 2)
    assert result.exit_code == 0, result.output
    labelled, rest = ids(root, "train_2_seed0"), ids(root, "train_2_seed0_rest")
    assert len(labelled) == 2
    assert sorted(labelled + rest) == ids(root, "train") == ["a1", "a2", "a3"]
    assert "a2" in labelled  # the only dog
    assert tables(root)["data"]["splits"] == [str(data), "splits"]
    assert "cat 1, dog 1" in result.stdout
    assert run(root, "split", "--labelled", 2).exit_code == 0
    assert run(root, "status").exit_code == 0


def test_labelled_images_without_any_mask_are_told(root):
    assert "has a mask" not in run(root, "split", "--labelled", 2).stderr
    assert run(root, "config", "data.masks", "--unset").exit_code == 0
    assert "warning: no image of bare has a mask" in run(root, "split", "--labelled", 1, "--name", "bare").stderr


def test_stages_that_learn_from_few_masks_use_the_lists_unless_told_not_to(root):
    assert run(root, "split", "--labelled", 1, "--name", "few", "--no-use").exit_code == 0
    assert "unlabelled" not in tables(root).get("train-unimatch", {})
    assert run(root, "split", "--labelled", 1, "--name", "few").exit_code == 0
    for stage in ("train-unimatch", "train-pseudoseg"):
        assert tables(root)[stage].items() >= {"split": "few", "unlabelled": "few_rest"}.items()


def test_without_tags_masks_tell_the_classes(data, tmp_path):
    words = ["--images", data / "images", "--masks", data / "masks", "--classes", data / "classes.txt", "--splits", data]
    (data / "labels.csv").unlink()
    root = tmp_path / "w"
    table = "\n".join(f'{key[2:]} = "{path}"' for key, path in zip(words[::2], words[1::2], strict=True))
    root.mkdir()
    (root / "labelseg.toml").write_text(f"[data]\n{table}\n")
    assert run(root, "split", "--labelled", 2).exit_code == 0
    assert "a2" in ids(root, "train_2_seed0")


def test_only_images_with_masks_are_chosen_and_the_rest_needs_none(root, data):
    (data / "masks" / "a1.png").unlink()
    assert run(root, "split", "--labelled", 1, "--seed", 1, "--name", "one").exit_code == 0
    assert ids(root, "one") != ["a1"]
    assert "a1" in ids(root, "one_rest")
    result = run(root, "split", "--labelled", 3)
    assert result.exit_code == 2
    assert "expected 1 to 2, got 3" in result.stderr


def test_a_published_list_names_images_beside_their_masks(root, tmp_path):
    listed = tmp_path / "voc_hq_92.txt"
    listed.write_text("images/a3.png masks/a3.png\n\na1\n")
    assert run(root, "split", "--list", listed, "--rest", "all").exit_code == 0
    assert ids(root, "voc_hq_92") == ["a1", "a3"]
    assert ids(root, "voc_hq_92_rest") == ["a2", "b1", "b2"]


def test_a_published_list_never_takes_another_image(root, data, tmp_path):
    for folder in ("p", "q"):
        (data / "images" / folder).mkdir()
        (data / "images" / folder / "z.png").write_bytes(next((data / "images").glob("a1.*")).read_bytes())
    (data / "images" / "q" / "only.png").write_bytes((data / "images" / "q" / "z.png").read_bytes())
    for line, message in {
        "z": "'z' may mean p/z, q/z",
        "JPEGImages/z.png": "no image 'JPEGImages/z.png'",
        "p/only.png": "no image 'p/only.png'",
        "r/z.png q/z.png": "no image 'r/z.png'",
    }.items():
        (tmp_path / "few.txt").write_text(f"{line}\n")
        result = run(root, "split", "--list", tmp_path / "few.txt", "--rest", "all")
        assert result.exit_code == 1
        assert f"few.txt line 1: {message}" in result.stderr
    (tmp_path / "few.txt").write_text("JPEGImages/q/z.png SegmentationClass/q/z.png\nonly\n")
    assert run(root, "split", "--list", tmp_path / "few.txt", "--rest", "all").exit_code == 0
    assert ids(root, "few") == ["q/only", "q/z"]


def test_a_damaged_mask_is_left_out_of_the_choice(root, data):
    (data / "labels.csv").unlink()
    (root / "labelseg.toml").write_text(
        "\n".join(line for line in (root / "labelseg.toml").read_text().splitlines() if not line.startswith("labels"))
    )
    mask = data / "masks" / "a1.png"
    mask.write_bytes(mask.read_bytes()[:40])
    result = run(root, "split", "--labelled", 2)
    assert result.exit_code == 0, result.output
    assert "left out of the choice: " in result.stderr
    assert "a1.png" in result.stderr
    assert ids(root, "train_2_seed0") == ["a2", "a3"]
    assert ids(root, "train_2_seed0_rest") == ["a1"]


def test_nothing_is_written_where_one_of_both_lists_stands(root):
    assert run(root, "split", "--labelled", 1, "--name", "few").exit_code == 0
    (root / "splits" / "few.txt").unlink()
    assert run(root, "split", "--labelled", 2, "--name", "few").exit_code == 2
    assert not (root / "splits" / "few.txt").exists()


def test_scenes_have_lists_too(tmp_path):
    root = tmp_path / "w"
    assert run(root, "init", "--scenes", 6).exit_code == 0
    assert run(root, "split", "--labelled", 2, "--nested").exit_code == 0
    assert len(ids(root, "train_2_nested0")) == 2
    assert len(ids(root, "train_2_nested0_rest")) == 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "either --labelled N or --list FILE"),
        (["--labelled", "3"], "no image of 'train' is left unlabelled"),
        (["--labelled", "1", "--from", "tarin"], "no split 'tarin'"),
        (["--labelled", "1", "--name", "val"], "a split 'val' already"),
    ],
)
def test_wrong_words_are_refused(root, words, message):
    result = run(root, "split", *words)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_list_of_other_images_is_refused(root, tmp_path):
    (tmp_path / "few.txt").write_text("a1\nzebra\n")
    result = run(root, "split", "--list", tmp_path / "few.txt")
    assert result.exit_code == 1
    assert "few.txt line 2: no image 'zebra'" in result.stderr


def test_a_list_that_stands_is_not_overwritten(root):
    assert run(root, "split", "--labelled", 1, "--name", "few").exit_code == 0
    before = ids(root, "few")
    assert run(root, "split", "--labelled", 2, "--name", "few").exit_code == 2
    assert ids(root, "few") == before


def test_two_folders_may_not_list_one_split(root, data):
    assert run(root, "split", "--labelled", 1, "--name", "few").exit_code == 0
    (data / "few.txt").write_text("a1\n")
    result = run(root, "run", "--dry-run")
    assert result.exit_code == 1
    assert "lists this split too" in result.stderr


@pytest.mark.parametrize("name", ["../../climbs", "/climbs", "deep/name", "..", ".hidden", "a\nb", "a\0b", "x" * 300])
def test_a_list_is_written_nowhere_but_in_the_folder_of_lists(root, name):
    before = sorted(path for path in root.parent.rglob("*") if ".labelseg" not in path.parts)
    result = run(root, "split", "--labelled", 2, "--name", name)
    assert result.exit_code == 2, result.output
    assert "expected a plain name of a file" in result.stderr
    assert sorted(path for path in root.parent.rglob("*") if ".labelseg" not in path.parts) == before
