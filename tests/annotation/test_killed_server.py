"""The server is killed in an answer: what was acknowledged stays, what is sent again counts once, and a region never has two answers."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from benchmarks.faults.ground.injection import Operations, die, limit_file_size
from benchmarks.faults.ground.processes import Child
from labelseg.answers.answer_files import read_answers
from labelseg.answers.desk import Desk
from labelseg.answers.questions import Question
from labelseg.pages.annotation.server import make_app
from labelseg.pages.annotation.service import Service

CLASSES = ("background", "cat", "dog")
REGION = tuple((y, x) for y in range(2) for x in range(4))
QUESTIONS = [Question("0", "a", REGION, "cat"), Question("1", "b", ((1, 1),)), Question("2", "c", REGION[:4])]
# Everything that can be said, each once: (what, question, more).
ACTS = [
    ("answer", "0", {"class": "cat", "ms": 700}), ("answer", "1", {"class": "dog"}), ("flag", "1", {"on": True}), ("mixed", "2", {}),
    ("answer", "2.0", {"class": None}), ("answer", "2.1", {"class": "cat"}), ("answer", "0", {"class": "dog", "instead": "n0"}),
    ("undo", "", {}), ("answer", "2.1", {"class": "dog", "instead": "n5"}),
]  # fmt: skip
STANDING = [("a", "cat")] * 8 + [("b", "dog"), ("b", "flag")] + [("c", None)] * 2 + [("c", "dog")] * 2


def server(path) -> TestClient:
    service = Service(Desk(QUESTIONS, path, repeat_share=0), QUESTIONS, None, CLASSES, "ask (train)", "anna")
    return TestClient(make_app(service, "", "127.0.0.1"), base_url="http://127.0.0.1:8000/")


def say(client, number) -> int:
    what, question, more = ACTS[number]
    return client.post(f"api/{what}", json={"browser": "one", "nonce": f"n{number}", "question": question, **more}).status_code


def standing(path):
    there = read_answers(path)
    flags = [(line.image, "flag") for line in there.standing() if line.kind == "flag"]
    return sorted([(line.image, line.label) for line in there.current().values()] + flags, key=str)


def killed_in(path, number, disturb) -> bool:
    """Say the first so many things; at the last one the process is disturbed."""

    def work() -> None:
        client = server(path)
        for earlier in range(number):
            say(client, earlier)
        disturb()
        say(client, number)

    return Child(work).wait().killed


@pytest.mark.parametrize("number", [0, 3, 7])
def test_a_server_killed_at_any_file_operation_loses_and_doubles_nothing(tmp_path, number):
    kills = 0
    for at in range(1, 99):
        path = tmp_path / str(at) / "ask.jsonl"
        killed = killed_in(path, number, lambda at=at: Operations(tmp_path, at, die))
        client = server(path)
        assert [say(client, k) for k in range(number, len(ACTS))] == [200] * (len(ACTS) - number)
        assert (standing(path), len(read_answers(path).lines), read_answers(path).bad) == (sorted(STANDING, key=str), 33, ())
        if not killed:
            break
        kills += 1
    assert 3 <= kills < 20


@pytest.mark.parametrize("number", [0, 6, 7, 8])
def test_a_write_that_ends_anywhere_is_finished_when_it_is_sent_again(tmp_path, number):
    whole = tmp_path / "whole.jsonl"
    client = server(whole)
    sizes = [0]
    for k in range(number + 1):
        say(client, k)
        sizes.append(whole.stat().st_size)
    for size in range(sizes[number], sizes[number + 1], 211):
        path = tmp_path / f"{size}.jsonl"
        path.write_bytes(whole.read_bytes()[:size])
        client = server(path)
        assert [say(client, k) for k in range(number + 1)] == [200] * (number + 1)
        assert standing(path) == standing(whole)


@pytest.mark.parametrize(("acts", "label"), [([0], "cat"), ([0, 6], "dog"), ([0, 6, 7], "cat")])
def test_a_region_of_which_a_part_was_written_is_answered_anew_as_a_whole(tmp_path, acts, label):
    whole = tmp_path / "whole.jsonl"
    client = server(whole)
    for number in acts[:-1]:
        say(client, number)
    before = whole.stat().st_size if whole.exists() else 0
    say(client, acts[-1])
    assert {line.label for line in read_answers(whole).current().values()} == {label}
    for size in range(before, whole.stat().st_size, 173):
        path = tmp_path / f"{size}.jsonl"
        path.write_bytes(whole.read_bytes()[:size])
        client = server(path)
        shown = client.get("api/move", params={"browser": "two", "question": "0", "step": 0}).json()["question"]["said"]
        body = {"browser": "two", "nonce": "m", "question": "0", "class": "background", "instead": shown and shown["nonce"]}
        assert client.post("api/answer", json=body).status_code == 200
        assert [line.label for line in read_answers(path).current().values()] == ["background"] * len(REGION)


def test_a_server_killed_in_the_middle_of_a_write_goes_on(tmp_path):
    path = tmp_path / "ask.jsonl"
    assert killed_in(path, 0, lambda: limit_file_size(700, kill=True))
    assert 0 < path.stat().st_size <= 700
    client = server(path)
    assert [say(client, k) for k in range(len(ACTS))] == [200] * len(ACTS)
    assert standing(path) == sorted(STANDING, key=str)
