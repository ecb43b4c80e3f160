"""``labelseg answers`` and ``labelseg annotate``: what they show, take and refuse; and what a program that is killed leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request

import numpy as np
import pytest
from click.testing import CliRunner

from labelseg.answers.answer_files import Answer, answers_path, append_answers, read_answers
from labelseg.answers.desk import Desk
from labelseg.answers.known_answers import Unknown
from labelseg.answers.questions import Question
from labelseg.cli import program
from labelseg.data.dataset import open_dataset
from labelseg.data.scenes.drawing import write_scenes
from labelseg.errors import DataError
from labelseg.pages.annotation.answer_sources import table_answers
from labelseg.pages.annotation.asked_items import read_questions
from labelseg.workspace import Workspace
from tests.stages.scene_files import data_table

MANY = 40


@pytest.fixture(scope="module")
def asked_root(tmp_path_factory):
    """A workspace of two scenes in which forty pixels were asked about in each."""
    root = tmp_path_factory.mktemp("asked")
    table = write_scenes(root, train=2, val=1, seed=0)
    (root / "labelseg.toml").write_text(data_table(table))
    ask = ["ask", "--of", "masks", "--choose", "random", "--budget", str(MANY), "--workers", "0"]
    assert call(root, *ask).exit_code == 0
    return root


@pytest.fixture
def root(asked_root):
    for path in (asked_root / "answers").glob("*"):
        path.unlink()
    return asked_root


def call(root, *words):
    return CliRunner().invoke(program, ["-C", str(root), *words])


def facts(root, *words):
    done = call(root, "answers", "--json", *words)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def questions(root):
    """Image -> rows and columns that were asked."""
    return {image: item["points"].tolist() for image, item in Workspace(root)["ask", "train"].items()}


def truth(root, image, place):
    """Name of the true class of a pixel; None where nobody knows."""
    dataset = Workspace(root).dataset
    return dict(enumerate(dataset.classes)).get(int(dataset.mask(image)[tuple(place)]))


def table(root, *rows, header="image,y,x,class"):
    path = root / "given.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_the_truth_answers_all_open_questions_once(root):
    first = facts(root, "--truth")
    assert facts(root, "--truth") == first
    found = read_answers(answers_path(root, "ask")).lines
    known = sum(line.label is not None for line in found)
    assert (first["asked"], first["answered"], first["labelled"]) == (2 * MANY, 2 * MANY, known)
    assert 60 < known < 80
    assert len(found) == 2 * MANY
    assert all(line.label == truth(root, line.image, (line.y, line.x)) == line.guess and line.who == "truth" for line in found)
    assert (first["people"][0]["right"], first["people"][0]["unknown"]) == (known, 2 * MANY - known)


def test_noise_is_the_share_of_wrong_answers_and_always_the_same(root):
    wrong = facts(root, "--truth", "--noise", "0.3", "--seed", "4")["people"][0]
    assert 0.15 < 1 - wrong["right"] / wrong["guessed"] < 0.45
    before = answers_path(root, "ask").read_text().split('"when"')[0]
    answers_path(root, "ask").unlink()
    facts(root, "--truth", "--noise", "0.3", "--seed", "4")
    assert answers_path(root, "ask").read_text().split('"when"')[0] == before


def test_a_table_is_taken_whole_and_once(root):
    image, points = next(iter(questions(root).items()))
    rows = [f"{image},{y},{x},{name}" for (y, x), name in zip(points[:3], ("cross", "?", "star"), strict=True)]
    done = facts(root, "--import", str(table(root, *rows)), "--who", "anna")
    assert (done["answered"], done["labelled"], done["classes"]) == (3, 2, {"cross": 1, "star": 1})
    assert facts(root, "--import", str(root / "given.csv"), "--who", "anna")["people"][0]["answers"] == 3
    assert len(read_answers(answers_path(root, "ask")).lines) == 3


@pytest.mark.parametrize("before", [(), ("star",)])
def test_of_several_rows_about_a_pixel_the_last_one_counts(root, before):
    image, points = next(iter(questions(root).items()))
    y, x = points[0]
    for names in (before, ("star", "cross", "star"), ("star", "cross")):
        if names:
            facts(root, "--import", str(table(root, *(f"{image},{y},{x},{name}" for name in names))))
            assert read_answers(answers_path(root, "ask")).current()[image, y, x].label == names[-1]


def test_a_cell_without_end_is_told_with_its_line(root):
    path = table(root, "a,1,2,star", "b,1,2," + "c" * 200_000)
    done = call(root, "answers", "--import", str(path))
    assert done.exit_code == 1
    assert "given.csv line 3: expected a CSV table" in done.output
    assert len(done.output) < 500


@pytest.mark.parametrize(("row", "told"), [
    ("nowhere,1,2,star", "nowhere"),
    ("{image},{y},{x},cow", "'cow' is no class of the data"),
    ("{image},99999,0,star", "nobody asked about row 99999, column 0"),
    ("{image},-1,0,star", "y: expected a whole number of at least 0, got '-1'"),
    ("{image},1.5,0,star", "y: expected a whole number of at least 0, got '1.5'"),
    ("{image},{y}", "x: expected a whole number of at least 0, got None"),
])  # fmt: skip
def test_a_bad_row_is_told_with_its_line_and_nothing_of_the_table_is_taken(root, row, told):
    image, points = next(iter(questions(root).items()))
    good = f"{image},{points[1][0]},{points[1][1]},star"
    path = table(root, good, row.format(image=image, y=points[0][0], x=points[0][1]))
    done = call(root, "answers", "--import", str(path))
    assert done.exit_code == 1
    assert "given.csv line 3" in done.output
    assert told in done.output
    assert not answers_path(root, "ask").exists()


def test_other_tables_are_refused(root):
    path, columns = root / "given.csv", "missing: class, image, x, y"
    for content, told in (("a,b\n1,2\n", columns), ("", columns), ("image,y,x,class\n", "expected answers, found none")):
        path.write_text(content)
        done = call(root, "answers", "--import", str(path))
        assert (done.exit_code, told in done.output) == (1, True)


def test_keypoints_of_label_studio_answer_the_nearest_question(root):
    image, points = next(iter(questions(root).items()))
    height, width = Workspace(root).dataset.image(image).shape[:2]
    (y, x), result = points[0], {"type": "keypointlabels", "original_width": width, "original_height": height}
    value = {"x": 100 * (x + 1.2) / width, "y": 100 * (y + 0.1) / height, "keypointlabels": ["star"]}
    given = {"completed_by": {"email": "anna"}, "result": [{**result, "value": value}, {"type": "choices"}]}
    other = {"was_cancelled": True, "result": [{**result, "value": {**value, "keypointlabels": ["cross"]}}]}
    task = {"data": {"image": f"/data/upload/3/0123abcd-{image}.png"}, "annotations": [given, other]}
    path = root / "export.json"
    path.write_text(json.dumps([task]))
    assert facts(root, "--import", str(path))["classes"] == {"star": 1}
    assert [(line.point, line.who) for line in read_answers(answers_path(root, "ask")).lines] == [((image, y, x), "anna")]
    for address in (f"https://host/some/{image}.png", image):  # the same answer is not taken again
        path.write_text(json.dumps([{**task, "data": {"image": address}}]))
        assert facts(root, "--import", str(path))["people"][0]["answers"] == 1
    for content in ("{}", "[", '[{"data": {}}]', "[1]", '[{"data": {"image": "nowhere"}, "annotations": []}]'):
        path.write_text(content)
        assert call(root, "answers", "--import", str(path)).exit_code == 1


def test_a_name_in_answers_means_an_image_of_the_data_set_that_was_asked_about(tmp_path):
    data = open_dataset(None, {"scenes": {"train": 2}, "target": {"scenes": {"train": 2, "style": "dusk"}}})
    asked = [Question("0", "target:train_0001", ((3, 4),))]
    for form in ("train_0001", "target:train_0001"):
        (tmp_path / "given.csv").write_text(f"image,y,x,class\n{form},3,4,star\n")
        assert [a.point for a in table_answers(tmp_path / "given.csv", data, asked, "anna")] == [("target:train_0001", 3, 4)]
    assert table_answers(tmp_path / "given.csv", data, [*asked, Question("1", "train_0000", ((1, 1),))], "anna")[0].image.startswith(
        "target:"
    )
    (tmp_path / "given.csv").write_text("image,y,x,class\ntrain_0009,3,4,star\n")
    with pytest.raises(DataError, match="no scene 'train_0009'"):
        table_answers(tmp_path / "given.csv", data, asked, "anna")


def test_how_sure_people_are_is_shown(root):
    image, points = next(iter(questions(root).items()))
    (a, b, c), path = [{"image": image, "y": y, "x": x} for y, x in points[:3]], answers_path(root, "ask")
    append_answers(path, [
        Answer(**a, label="star", who="anna", ms=1000, guess="star"), Answer(**b, label="cross", who="anna", ms=3000, guess="star"),
        Answer(**a, label="star", who="anna", kind="repeat"), Answer(**b, label="star", who="anna", kind="repeat"),
        Answer(**a, label="star", who="bo"), Answer(**b, label=None, who="bo"), Answer(**c, label="flag", who="bo"),
        Answer(**c, label=None, who="bo", kind="undo"), Answer(**a, label=None, who="bo", kind="flag", more={"on": True}),
    ])  # fmt: skip
    told = facts(root)
    assert told["agreement"] == [{"first": "anna", "second": "bo", "both": 2, "alike": 1}]
    anna, bo = told["people"]
    assert (anna["answers"], anna["guessed"], anna["right"], anna["seconds"], anna["repeats"], anna["same"]) == (2, 2, 1, 2.0, 2, 1)
    assert (bo["answers"], bo["unknown"], bo["seconds"], bo["flags"]) == (2, 1, None, 1)
    text = call(root, "answers").stdout
    assert "ask (train): 2 of 80 answered, 1 with a class" in text
    assert "50.0 of 2" in text


def test_what_asks_nothing_is_refused(root):
    for command in ("annotate", "answers"):
        assert "asks nothing. Name an instance that does: labor-select, ask." in call(root, command, "segment").output
        assert call(root, command, "ask@other").exit_code == 2
        assert call(root, command, "ask", "--split", "nowhere").exit_code == 2
    assert call(root, "annotate", "--no-token", "--host", "0.0.0.0").exit_code == 2
    assert call(root, "annotate", "--who", "").exit_code == 2
    assert call(root, "answers", "--noise", "0.5").exit_code == 2


class Server:
    """``labelseg annotate`` in a process of its own."""

    def __init__(self, root):
        words = [sys.executable, "-m", "labelseg", "-C", str(root), "annotate", "ask", "--who", "anna"]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.address = self.process.stdout.readline().strip()

    def send(self, name, **values):
        body = json.dumps({"browser": "one", **values}).encode()
        with urllib.request.urlopen(urllib.request.Request(f"{self.address}api/{name}", body, method="POST"), timeout=20) as reply:
            return json.load(reply)

    def next(self):
        with urllib.request.urlopen(f"{self.address}api/next?browser=one", timeout=20) as reply:
            return json.load(reply)

    def end(self, number):
        self.process.send_signal(number)
        return self.process.communicate(timeout=20)[1]


def test_a_server_that_is_killed_goes_on_with_the_next_question(root):
    server = Server(root)
    question = server.next()["question"]["id"]
    done = 0
    while done < 57:
        told = server.send("answer", question=question, nonce=str(done), **{"class": "star"})
        question, done = told["question"]["id"], told["progress"]["done"]
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.communicate()
    with answers_path(root, "ask").open("ab") as file:
        file.write(b'{"image": "train_0001", "y": 1')
    again = Server(root)
    assert again.address != server.address
    refused = call(root, "annotate", "ask")
    assert (refused.exit_code, "is being annotated already" in refused.output) == (5, True)
    told = again.next()
    assert (told["progress"]["done"], told["question"]["id"]) == (57, question)
    again.send("answer", question=question, nonce="more", **{"class": "star"})
    talk = again.end(signal.SIGINT)
    assert again.process.returncode == 0
    assert "line 58: expected an answer, but the file ends in the middle of it" in talk
    assert "58 of 80 are answered" in talk
    found = read_answers(answers_path(root, "ask"))
    assert len({line.point for line in found.lines if line.kind == "answer"}) == 58
    assert len(found.bad) == 1


def test_answers_correct_masks_and_are_learned_from(root):
    facts(root, "--truth")
    done = call(root, "correct", "--of", "", "--reach", "0", "--workers", "0")
    assert done.exit_code == 0, done.output
    for image, item in Workspace(root)["correct", "train"].items():
        mask = Workspace(root).dataset.mask(image)
        known = item["mask"] != 255
        answered = [place for place in questions(root)[image] if mask[tuple(place)] != 255]
        np.testing.assert_array_equal(item["mask"][known], mask[known])
        assert sorted(item["points"].tolist()) == sorted(answered) == np.argwhere(known).tolist()


def test_a_run_stops_with_code_6_while_questions_are_open(root):
    done = call(root, "correct", "--of", "", "--workers", "0", "--as", "waits")
    assert done.exit_code == 6
    assert f"80 of 80 questions of ask (train) are open. Answer them: labelseg -C {root} annotate ask --split train" in done.output


def edited(root):
    """Answers to all questions, of which three were changed by hand; the number of questions."""
    facts(root, "--truth")
    path = answers_path(root, "ask")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[0]["class"] = "crss"
    lines[1]["image"] = "nowhere/7"
    lines[2]["y"] = 99_999
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return len(lines)


def test_answers_edited_by_hand_are_told_with_their_lines_counted_and_not_used(root):
    n = edited(root)
    done, path = call(root, "answers", "ask"), answers_path(root, "ask")
    assert done.exit_code == 0
    for line, problem in (
        (1, "'crss' is no class of the data. Did you mean 'cross'?"),
        (2, "'nowhere/7' is no image of the data"),
        (3, "row 99999, column "),
    ):
        assert f"{path} line {line}: expected an answer, but {problem}" in done.stderr
    assert f"{n - 3} of {n} answered" in done.stdout
    assert "3 lines of no use" in done.stdout
    found = facts(root)
    assert (found["answered"], found["no_answers"], found["not_asked"], found["people"][0]["answers"]) == (n - 3, 3, 0, n - 3)
    assert not {"crss"} & found["classes"].keys()


def test_what_they_were_to_answer_is_open_again(root):
    n = edited(root)
    waiting = call(root, "correct", "--of", "masks", "--workers", "0")
    assert waiting.exit_code == 6
    assert f"3 of {n} questions of ask (train) are open" in waiting.output
    assert call(root, "correct", "--of", "masks", "--partial", "--workers", "0").exit_code == 0
    desk = Desk(read_questions(Workspace(root), Workspace(root).ref("ask", "train")), answers_path(root, "ask"),
                unknown=Unknown(Workspace(root).dataset, ()))  # fmt: skip
    assert desk.progress("anna")["done"] == n - 3


def test_a_run_tells_of_lines_that_it_does_not_use(root, caplog):
    edited(root)
    call(root, "status")
    told = "\n".join(record.getMessage() for record in caplog.records)
    assert "line 1: expected an answer, but 'crss'" in told
    assert "line 2: expected an answer, but 'nowhere/7'" in told


def test_an_answer_to_another_pixel_is_counted_apart(root):
    image, points = next(iter(questions(root).items()))
    y, x = next((y, x) for y in range(50) for x in range(50) if [y, x] not in points)
    append_answers(answers_path(root, "ask"), [Answer(image=image, y=y, x=x, label="cross", who="anna")])
    found = facts(root)
    assert (found["answered"], found["not_asked"], found["no_answers"]) == (0, 1, 0)
    assert "1 answer to pixels that are not asked now" in call(root, "answers", "ask").stdout
