from __future__ import annotations

import json
import multiprocessing
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelseg.answers.answer_files import Answer, answers_path, append_answers, read_answers
from labelseg.errors import DataError


def said(image="a", y=1, x=2, label="cat", **more):
    return Answer(image=image, y=y, x=x, label=label, **more)


ANSWERS = st.builds(
    Answer,
    image=st.text(min_size=1),
    y=st.integers(0, 10**6),
    x=st.integers(0, 10**6),
    label=st.none() | st.text(),
    who=st.text(),
    when=st.text(min_size=1),
    ms=st.none() | st.integers(0, 10**9),
    guess=st.none() | st.text(),
    kind=st.sampled_from(["answer", "undo", "repeat", "mixed", "flag"]),
    more=st.dictionaries(st.sampled_from(["note", "of"]), st.integers() | st.text()),
)


@settings(max_examples=40, deadline=None)
@given(answers=st.lists(ANSWERS, max_size=5), data=st.data())
def test_what_is_appended_is_read_whatever_the_batches(answers, data, tmp_path_factory):
    path = tmp_path_factory.mktemp("a") / "labor-select@1.jsonl"
    cut = data.draw(st.integers(0, len(answers)))
    append_answers(path, answers[:cut])
    append_answers(path, answers[cut:])
    found = read_answers(path)
    assert list(found.lines) == answers
    assert found.bad == ()


def test_each_answer_is_a_line_of_plain_json_with_the_time_it_was_written(tmp_path):
    path = answers_path(tmp_path, "labor-select@2")
    append_answers(path, [said("ü/b", 3, 4, None, who="anna", ms=1200, guess="dog")])
    assert path == tmp_path / "answers" / "labor-select@2.jsonl"
    values = json.loads(path.read_text(encoding="ascii"))
    assert values.pop("when").endswith("+00:00")
    assert len(values.pop("seal")) == 32
    assert values == {"image": "ü/b", "y": 3, "x": 4, "class": None, "who": "anna", "ms": 1200, "guess": "dog"}


def test_every_append_is_synced_before_it_returns(tmp_path, monkeypatch):
    synced = []
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (synced.append(os.fstat(descriptor).st_size), sync(descriptor)))
    path = tmp_path / "a.jsonl"
    append_answers(path, [said()])
    assert synced[0] == path.stat().st_size
    append_answers(path, [said(y=5)])
    assert synced[-1] == path.stat().st_size


def test_the_last_answer_to_a_pixel_counts_and_a_withdrawn_one_does_not(tmp_path):
    path = tmp_path / "a.jsonl"
    lines = [
        said(label="cat", who="anna"),
        said(label="dog", who="anna"),
        said(label="cow", who="anna", kind="repeat"),
        said(y=7, label=None, who="bo"),
        said(y=8, label="cat", who="bo"),
        said(y=8, label=None, who="bo", kind="undo"),
        said(y=9, label="cat", who="bo"),
        said(y=9, label=None, who="anna", kind="undo"),
        said(y=1, x=9, label=None, kind="flag"),
    ]
    append_answers(path, lines)
    assert {point: answer.label for point, answer in read_answers(path).current().items()} == {
        ("a", 1, 2): "dog",
        ("a", 7, 2): None,
        ("a", 9, 2): "cat",
    }
    append_answers(path, [said(label=None, who="anna", kind="undo")])
    assert read_answers(path).current()["a", 1, 2].label == "cat"


@pytest.mark.parametrize("kept", [1, 30, -2])
def test_a_last_line_that_was_cut_is_told_and_costs_no_other_answer(tmp_path, kept):
    path = tmp_path / "a.jsonl"
    append_answers(path, [said(y=1), said(y=2)])
    first, second, _ = path.read_bytes().split(b"\n")
    torn = second[:kept]
    path.write_bytes(first + b"\n" + torn)
    found = read_answers(path)
    assert [answer.y for answer in found.lines] == [1]
    assert [(bad.line, bad.cut) for bad in found.bad] == [(2, True)]
    assert str(found.bad[0]).startswith(f"{path} line 2: expected an answer, but the file ends in the middle of it.")
    append_answers(path, [said(y=3)])
    assert path.read_bytes().startswith(first + b"\n" + torn + b"\n")
    assert [answer.y for answer in read_answers(path).lines] == [1, 3]
    assert [(bad.line, bad.cut) for bad in read_answers(path).bad] == [(2, False)]


def test_a_last_line_that_lacks_its_end_alone_is_an_answer(tmp_path):
    path = tmp_path / "a.jsonl"
    append_answers(path, [said(y=1), said(y=2)])
    path.write_bytes(path.read_bytes()[:-1])
    append_answers(path, [said(y=3)])
    assert [answer.y for answer in read_answers(path).lines] == [1, 2, 3]


GOOD = {"image": "a", "y": 1, "x": 2, "class": "cat"}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"\xff\xfe", "it is no JSON"),
        (b"[" * 100_000, "it is no JSON"),
        (b"[1]", "it is no table"),
        (json.dumps({**GOOD, "image": 3}).encode(), "'image' is no id of an image"),
        (json.dumps({**GOOD, "image": "\ud800"}).encode(), "'image' is no id of an image"),
        (json.dumps({**GOOD, "y": -1}).encode(), "'y' is no whole number of at least 0"),
        (json.dumps({**GOOD, "x": True}).encode(), "'x' is no whole number of at least 0"),
        (json.dumps({**GOOD, "class": 3}).encode(), "'class' is neither the name of a class nor null"),
        (json.dumps({name: GOOD[name] for name in ("image", "y", "x")}).encode(), "'class' is missing"),
        (json.dumps({**GOOD, "who": 3}).encode(), "'who' is no text"),
        (json.dumps({**GOOD, "ms": 1.5}).encode(), "'ms' is no whole number of at least 0"),
        (json.dumps({**GOOD, "kind": "guess"}).encode(), "'kind' is none of answer, undo, repeat, mixed, flag"),
    ],
)
def test_bad_lines_are_told_with_file_and_line_and_cost_no_other_answer(tmp_path, line, problem):
    path = tmp_path / "a.jsonl"
    path.write_bytes(json.dumps(GOOD).encode() + b"\n\n" + line + b"\n" + json.dumps({**GOOD, "y": 9}).encode() + b"\n")
    found = read_answers(path)
    assert [answer.y for answer in found.lines] == [1, 9]
    assert [(bad.line, bad.problem, bad.cut) for bad in found.bad] == [(3, problem, False)]


def test_no_file_holds_no_answers_and_a_pipe_is_not_waited_for(tmp_path):
    assert read_answers(tmp_path / "none.jsonl").lines == ()
    os.mkfifo(tmp_path / "pipe.jsonl")
    for use in (read_answers, lambda path: append_answers(path, [said()])):
        with pytest.raises(DataError, match="expected a file of answers, found a named pipe"):
            use(tmp_path / "pipe.jsonl")


def test_where_there_is_no_room_the_file_stays_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "a.jsonl"
    append_answers(path, [said()])
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            append_answers(path, [said(y=5), said(y=6)])
    assert path.read_bytes() == before


def append_many(path, who):
    for k in range(25):
        append_answers(path, [said(y=k, who=who), said(y=k, x=9, who=who)])


def test_processes_that_append_at_once_lose_and_double_nothing(tmp_path):
    path = tmp_path / "a.jsonl"
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=append_many, args=(path, f"p{k}")) for k in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    found = read_answers(path)
    assert found.bad == ()
    assert sorted((a.who, a.y, a.x) for a in found.lines) == sorted((f"p{k}", y, x) for k in range(4) for y in range(25) for x in (2, 9))
