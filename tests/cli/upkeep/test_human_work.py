"""verify looks at what people said and corrected too: what is no longer what was written, or about nothing there is, is told and mended."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import toy_chain
from conftest import labelseg
from PIL import Image

from labelseg.answers.answer_files import Answer, answers_path, append_answers, read_answers
from labelseg.answers.correction_files import corrections_path, mask_path, read_corrections
from labelseg.answers.marks import add_mark, marks_path, read_marks
from labelseg.stages.clicks import override

STAGES = (*toy_chain.STAGES, override.STAGE)
SOUND = "All artifacts are what was written."


def call(root, *words):
    return labelseg(root, *words, stages=STAGES)


@pytest.fixture
def told(finished, tmp_path) -> Path:
    """A workspace in which people answered, marked and corrected."""
    lines = [Answer(image=name, y=1, x=x, label="cat", who="anna") for name in ("a1", "a2") for x in (2, 3)]
    append_answers(answers_path(finished, "ask"), lines)
    for name in ("a1", "a2"):
        add_mark(marks_path(finished, "spread", "train"), name, "fix", "anna")
    (tmp_path / "masks").mkdir()
    for name, class_id in (("a1", 1), ("a2", 2)):
        Image.fromarray(np.full((8, 10), class_id, np.uint8)).save(tmp_path / "masks" / f"{name}.png")
    assert call(finished, "import-masks", tmp_path / "masks").exit_code == 0
    assert call(finished, "verify").output == SOUND + "\n"
    return finished


FILES = {
    "answers": lambda root: answers_path(root, "ask"),
    "marks": lambda root: marks_path(root, "spread", "train"),
    "corrections": lambda root: corrections_path(root, "override"),
}


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: [*lines[:-1], lines[-1][:30]], "the file ends in the middle of it"),
        (lambda lines: [lines[0].replace(b'"a1"', b'"a2"'), *lines[1:]], "it was changed after it was written"),
        (lambda lines: [b"\0" + lines[0], *lines[1:]], "it is no JSON"),
    ],
)
def test_a_line_that_is_not_what_was_written_is_told_and_set_aside(told, name, change, message):
    path = FILES[name](told)
    before = lines_of(path)
    path.write_bytes(b"".join(change(before)))
    damaged = path.read_bytes()
    found = call(told, "verify")
    assert found.exit_code == 1
    assert f"{path} line " in found.stdout and message in found.stdout
    assert "labelseg verify --repair" in found.stdout
    assert path.read_bytes() == damaged
    repaired = call(told, "verify", "--repair")
    assert repaired.exit_code == 0, repaired.output
    assert f"{path}: moved 1 of its lines to {path.name}.damaged." in repaired.stderr
    assert call(told, "verify").output == SOUND + "\n"
    kept = lines_of(path)
    assert len(kept) == len(before) - 1 and set(kept) < set(before)
    aside = path.with_name(f"{path.name}.damaged").read_bytes()
    assert {*aside.splitlines(), *b"".join(kept).splitlines()} == {*damaged.splitlines()}


def test_a_line_that_somebody_wrote_without_a_seal_counts(told):
    path = answers_path(told, "ask")
    line = {"image": "a3", "y": 0, "x": 0, "class": "dog"}
    path.write_bytes(path.read_bytes() + json.dumps(line).encode() + b"\n")
    assert call(told, "verify").output == SOUND + "\n"
    assert read_answers(path).current()["a3", 0, 0].label == "dog"


def test_what_is_said_of_a_line_to_count_it_again_does(told):
    path = answers_path(told, "ask")
    path.write_bytes(path.read_bytes().replace(b'"class": "cat"', b'"class": "dog"', 1))
    assert "take its 'seal' out" in call(told, "verify").stdout
    first = json.loads(lines_of(path)[0])
    del first["seal"]
    path.write_bytes(b"".join([json.dumps(first).encode() + b"\n", *lines_of(path)[1:]]))
    assert call(told, "verify").output == SOUND + "\n"
    assert read_answers(path).current()["a1", 1, 2].label == "dog"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"class": "cow"}, "'cow' is no class of the data"),
        ({"image": "zebra"}, "'zebra' is no image of the data"),
        ({"y": 8}, "row 8, column 0 lies outside of 'a1', which has 8 rows and 10 columns"),
    ],
)
def test_an_answer_about_nothing_there_is_is_told_and_stays(told, values, message):
    path = answers_path(told, "ask")
    line = {"image": "a1", "y": 0, "x": 0, "class": "dog", **values}
    path.write_bytes(path.read_bytes() + json.dumps(line).encode() + b"\n")
    before = path.read_bytes()
    for words in (("verify",), ("verify", "--repair")):
        found = call(told, *words)
        assert found.exit_code == 1
        assert f"{path} line 5: expected an answer, but {message}" in found.stdout
        assert "take the line out" in found.stdout
        assert path.read_bytes() == before


def damage(path):
    path.write_bytes(path.read_bytes()[:-1] + b"x")


@pytest.mark.parametrize("harm", [Path.unlink, damage])
def test_a_mask_that_is_gone_or_changed_is_told_and_comes_back_with_its_import(told, tmp_path, harm):
    line = read_corrections(corrections_path(told, "override")).current()["a2"]
    path = mask_path(told, line.mask)
    sound = path.read_bytes()
    harm(path)
    found = call(told, "verify")
    assert found.exit_code == 1 and "the mask of a2 cannot be used" in found.stdout and str(path) in found.stdout
    assert call(told, "import-masks", tmp_path / "masks", "--to", "override").exit_code == 0
    assert path.read_bytes() == sound
    assert call(told, "verify").output == SOUND + "\n"


def test_masks_that_were_exchanged_are_told(told):
    path = corrections_path(told, "override")
    one, other = (line.mask for line in read_corrections(path).lines)
    text = path.read_text().replace(one, "x").replace(other, one).replace("x", other, 1)
    path.write_text(text)
    assert call(told, "verify").stdout.count("it was changed after it was written") == 2


@pytest.mark.parametrize(
    ("key", "value", "message"), [("image", "zebra", "'zebra' is no image"), ("classes", ["background", "cow", "cow"], "'cow' is no class")]
)
def test_a_mask_of_nothing_there_is_is_told_and_can_be_withdrawn(told, key, value, message):
    path = corrections_path(told, "override")
    line = {name: text for name, text in json.loads(lines_of(path)[0]).items() if name != "seal"} | {key: value}
    path.write_text(json.dumps(line) + "\n")
    found = call(told, "verify")
    assert found.exit_code == 1 and message in found.stdout
    command = found.stdout.partition("count no longer: labelseg ")[2].splitlines()[0]
    assert call(told, *shlex.split(command)).exit_code == 0
    assert call(told, "verify").output == SOUND + "\n"


def test_a_file_that_cannot_be_read_is_told(told):
    path = marks_path(told, "spread", "train")
    path.unlink()
    path.mkdir()
    found = call(told, "verify")
    assert found.exit_code == 1 and f"{path}: expected a file of marks, found a folder. Move it away." in found.stdout


def test_a_stage_that_is_named_is_looked_at_alone(told):
    answers_path(told, "ask").write_bytes(b"{\n")
    assert call(told, "verify", "override").output == SOUND + "\n"
    assert call(told, "verify", "spread").output == SOUND + "\n"
    assert call(told, "verify").exit_code == 1


def test_marks_are_read_as_before(told):
    assert read_marks(marks_path(told, "spread", "train")) == ({"a1": "fix", "a2": "fix"}, ())
