"""Who is asked what next, and that nothing that was said is lost or counted twice."""

from __future__ import annotations

import threading

import pytest

from labelseg.answers.answer_files import Answer, append_answers, read_answers
from labelseg.answers.desk import REPEAT_GAP, AnsweredError, Desk, Sender, UnknownQuestionError
from labelseg.answers.questions import Question, list_questions

CLASSES = ("background", "cat", "dog")


def points(count, images=2):
    """Questions about single pixels, spread over images."""
    return [Question(str(k), f"image {k * images // count}", ((k, 2 * k),), CLASSES[k % 3]) for k in range(count)]


def region():
    """A region of 2 x 4 pixels."""
    return list_questions([("a", [(y, x) for y in range(2) for x in range(4)], ["cat"] * 5 + ["dog"] * 3, [3] * 8)])


class Browser:
    """A browser in which a person answers."""

    def __init__(self, desk, who="anna", browser="one"):
        self.desk, self.who, self.browser, self.count = desk, who, browser, 0

    def sender(self):
        self.count += 1
        return Sender(self.who, self.browser, f"{self.who} {self.browser} {self.count}")

    def next(self, order="image"):
        found = self.desk.next(self.who, self.browser, order)
        return None if found is None else found[0]

    def answer(self, label="cat", **how):
        question = self.next()
        self.desk.answer(question, label, self.sender(), **how)
        return question

    def undo(self):
        found = self.desk.undo(self.sender())
        return None if found is None else found[0]

    @property
    def done(self):
        return self.desk.progress(self.who)["done"]


def standing(path):
    """Pixel -> class that counts, as any reader of the file finds it."""
    return {point: answer.label for point, answer in read_answers(path).current().items()}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "answers" / "ask.jsonl"


def test_questions_come_in_order_and_all_is_told_of_how_far_the_work_is(path):
    anna = Browser(Desk(points(4), path, repeat_share=0))
    assert [anna.answer(label, ms=ms) for label, ms in (("cat", 1000), (None, 3000), ("dog", 9000))] == ["0", "1", "2"]
    assert anna.desk.progress("anna") == {"done": 3, "total": 4, "seconds": 3.0, "left": 3.0, "open": 1}
    assert standing(path) == {("image 0", 0, 0): "cat", ("image 0", 1, 2): None, ("image 1", 2, 4): "dog"}
    assert [line.guess for line in read_answers(path).lines] == ["background", "cat", "dog"]
    anna.answer()
    assert anna.next() is None


def test_questions_may_come_by_what_is_guessed(path):
    anna = Browser(Desk([*points(6), Question("6", "z", ((0, 0),))], path))
    assert [question.id for question in anna.desk._orders["class"]] == ["0", "3", "1", "4", "2", "5", "6"]
    assert anna.next("class") == "0"


def test_the_work_goes_on_where_it_was_whatever_happened_to_the_program(path):
    first = Browser(Desk(points(9), path, repeat_share=0))
    for _ in range(5):
        first.answer()
    again = Browser(Desk(points(9), path, repeat_share=0), browser="two")
    assert again.done == 5
    assert again.next() == "5"


def test_what_is_sent_twice_counts_once(path):
    desk = Desk(points(3), path)
    sender = Sender("anna", "one", "n1")
    desk.answer("0", "cat", sender)
    desk.answer("0", "cat", sender)
    Desk(points(3), path).answer("0", "cat", sender)
    assert len(read_answers(path).lines) == 1
    desk.undo(Sender("anna", "one", "n2"))
    assert desk.undo(Sender("anna", "one", "n2"))[0] == "0"
    assert [line.kind for line in read_answers(path).lines] == ["answer", "undo"]


def test_an_answered_question_is_answered_anew_only_by_who_saw_the_answer(path):
    desk = Desk(points(3), path)
    desk.answer("0", "cat", Sender("anna", "one", "n1"))
    with pytest.raises(AnsweredError, match="image 0, row 0, column 0 has been answered meanwhile"):
        desk.answer("0", "dog", Sender("bo", "two", "n2"))
    desk.answer("0", "dog", Sender("bo", "two", "n3"), instead="n1")
    with pytest.raises(AnsweredError):
        desk.answer("0", "background", Sender("anna", "one", "n4"), instead="n1")
    assert standing(path) == {("image 0", 0, 0): "dog"}


def test_two_browsers_are_asked_different_questions_and_the_last_one_both(path):
    desk = Desk(points(3), path)
    one, two = Browser(desk), Browser(desk, browser="two")
    assert [one.next(), two.next(), one.next()] == ["0", "1", "0"]
    one.answer()
    assert one.next() == "2"
    two.answer()
    assert two.next() == "2"


def test_backspace_goes_back_as_far_as_one_likes_over_images_and_programs(path):
    before = Browser(Desk(points(6), path, repeat_share=0))
    for label in ("cat", "dog", None, "cat"):
        before.answer(label)
    after = Browser(Desk(points(6), path, repeat_share=0), browser="one")
    after.count = 100
    assert [after.undo() for _ in range(3)] == ["3", "2", "1"]
    assert standing(path) == {("image 0", 0, 0): "cat"}
    assert after.answer("background") == "1"
    assert after.undo() == "1"
    assert [after.undo(), after.undo()] == ["0", None]
    assert after.done == 0
    assert standing(path) == {}


def test_backspace_takes_back_what_was_said_in_this_browser_first(path):
    desk = Desk(points(6), path, repeat_share=0)
    one, two = Browser(desk), Browser(desk, browser="two")
    assert [one.answer(), two.answer(), one.answer(), two.answer()] == ["0", "1", "2", "3"]
    assert [one.undo(), one.undo(), one.undo()] == ["2", "0", "3"]
    assert Browser(desk, who="bo").undo() is None


def test_an_answer_that_was_replaced_stands_again_when_the_new_one_is_withdrawn(path):
    desk = Desk(points(2), path)
    desk.answer("0", "cat", Sender("anna", "one", "n1"))
    desk.answer("0", "dog", Sender("anna", "one", "n2"), instead="n1")
    desk.undo(Sender("anna", "one", "n3"))
    assert standing(path) == {("image 0", 0, 0): "cat"}
    assert desk.said(desk.question("0"), "anna").label == "cat"


def test_a_few_questions_come_a_second_time_without_a_word_and_cost_nothing(path):
    questions = points(REPEAT_GAP + 10)
    anna = Browser(Desk(questions, path, repeat_share=1.0))
    first = [anna.answer() for _ in range(REPEAT_GAP + 1)]
    assert first == [str(k) for k in range(REPEAT_GAP + 1)]
    assert anna.answer("dog") == "0.again"
    assert anna.done == REPEAT_GAP + 1
    assert standing(path)["image 0", 0, 0] == "cat"
    again = Browser(Desk(questions, path, repeat_share=1.0), browser="two")
    assert again.next() == str(REPEAT_GAP + 1)
    assert anna.undo() == "0.again"
    assert (anna.done, standing(path)["image 0", 0, 0]) == (REPEAT_GAP + 1, "cat")
    assert anna.next() == "0.again"


def test_a_repeat_is_put_in_one_browser_alone(path):
    desk = Desk(points(REPEAT_GAP + 10), path, repeat_share=1.0)
    one, two = Browser(desk), Browser(desk, browser="two")
    for _ in range(REPEAT_GAP + 1):
        one.answer()
    assert [one.next(), two.next()] == ["0.again", str(REPEAT_GAP + 1)]


def test_the_share_of_repeats_is_what_is_asked_for(path):
    anna = Browser(Desk(points(600), path))
    while anna.next() is not None:
        anna.answer()
    kinds = [line.kind for line in read_answers(path).lines]
    assert kinds.count("answer") == 600
    assert 8 <= kinds.count("repeat") <= 30


def test_a_person_is_asked_what_others_answered_only_on_request(path):
    alone = Desk(points(3), path)
    Browser(alone).answer()
    assert Browser(alone, who="bo", browser="two").next() == "1"
    both = Desk(points(3), path, everyone=True)
    bo = Browser(both, who="bo", browser="two")
    assert (bo.next(), bo.done, both.progress("anna")["done"]) == ("0", 0, 1)


def test_a_region_is_answered_at_once_or_in_halves(path):
    desk = Desk(region(), path)
    assert desk.question("0").guess == "cat"
    assert desk.question("0").place == (0, 1)
    anna = Browser(desk)
    desk.mixed("0", anna.sender())
    assert anna.next() == "0.0"
    assert desk.question("0.0").points == ((0, 0), (0, 1), (1, 0), (1, 1))
    anna.answer("cat")
    desk.mixed("0.1", anna.sender())
    assert [anna.answer("dog"), anna.answer(None)] == ["0.1.0", "0.1.1"]
    rows = [[standing(path)["a", y, x] for x in range(4)] for y in range(2)]
    assert rows == [["cat", "cat", "dog", "dog"], ["cat", "cat", None, None]]
    assert desk.progress("anna")["done"] == 8
    again = Browser(Desk(region(), path))
    again.count = 50
    assert [again.undo() for _ in range(5)] == ["0.1.1", "0.1.0", "0.1", "0.0", "0"]
    assert (again.next(), standing(path)) == ("0", {})


def test_a_region_that_was_written_in_part_is_finished_when_it_is_sent_again(path):
    sender = Sender("anna", "one", "n1")
    Desk(region(), path).answer("0", "cat", sender)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:3]) + lines[3][:20])
    desk = Desk(region(), path)
    assert desk.progress("anna")["done"] == 3
    desk.answer("0", "cat", sender)
    assert set(standing(path).values()) == {"cat"}
    assert len(standing(path)) == 8
    assert sum(line.kind == "answer" for line in read_answers(path).lines) == 8


def test_a_withdrawal_that_was_written_in_part_withdraws_the_whole_region(path):
    desk = Desk(region(), path)
    desk.answer("0", "cat", Sender("anna", "one", "n1"), ms=900)
    desk.undo(Sender("anna", "one", "n2"))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:9]) + lines[9][:20])  # one line of eight
    again = Desk(region(), path)
    assert (again.progress("anna")["done"], again.progress("anna")["seconds"], standing(path)) == (0, None, {})
    assert again.said(again.question("0"), "anna") is None
    assert again.undo(Sender("anna", "one", "n3")) is None


def test_a_nonce_of_another_question_writes_nothing(path):
    desk, sender = Desk([*region(), Question("1", "b", ((5, 5),))], path), Sender("anna", "one", "n1")
    desk.answer("0", "cat", sender)
    before = path.read_bytes()
    assert desk.answer("1", "dog", sender).point[0] == "a"
    assert path.read_bytes() == before


def test_arrows_go_through_the_questions_without_answering(path):
    desk = Desk(points(3), path)
    Browser(desk).answer()
    steps = (("0", 1), ("1", -1), ("0", -1), ("2", 1), ("1.again", 1))
    assert [desk.beside(here, step).id for here, step in steps] == ["1", "0", "0", "2", "2"]
    assert desk.said(desk.beside("1", -1), "anna").label == "cat"
    assert len(read_answers(path).lines) == 1


def test_a_flag_stands_until_it_is_taken_away_and_is_no_answer(path):
    desk = Desk(points(2), path)
    anna = Browser(desk)
    desk.flag("0", True, anna.sender())
    desk.flag("0", True, anna.sender())
    assert desk.flagged("image 0")
    assert Desk(points(2), path).progress("anna")["done"] == 0
    desk.flag("0", False, anna.sender())
    assert not desk.flagged("image 0")
    assert anna.undo() is None
    assert len(read_answers(path).lines) == 2


@pytest.mark.parametrize("question", ["", "7", "x", "0.0", "0.again.0", "1.2.3", "0" * 500])
def test_what_is_no_question_is_refused_and_writes_nothing(path, question):
    desk = Desk(points(2), path)
    for refused in (lambda: desk.answer(question, "cat", Sender("a", "b", "c")), lambda: desk.mixed("0", Sender("a", "b", "c"))):
        with pytest.raises(UnknownQuestionError):
            refused()
    assert not path.exists()


def test_what_other_programs_append_counts_at_once(path):
    desk = Desk(points(3), path)
    anna = Browser(desk)
    assert anna.next() == "0"
    append_answers(path, [Answer(image="image 0", y=0, x=0, label="dog", who="truth")])
    assert (anna.next(), anna.done) == ("1", 1)
    with pytest.raises(AnsweredError):
        desk.answer("0", "cat", anna.sender())
    append_answers(path, [Answer(image="image 0", y=0, x=0, label=None, who="truth", kind="undo")])
    assert anna.next() == "0"
    path.unlink()
    assert anna.done == 0


def test_many_browsers_at_once_answer_every_question_once(path):
    desk = Desk(points(200), path, repeat_share=0)

    def work(name):
        browser = Browser(desk, browser=name)
        while (question := browser.next()) is not None:
            try:
                desk.answer(question, "cat", browser.sender())
            except AnsweredError:
                continue

    threads = [threading.Thread(target=work, args=(str(k),)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = read_answers(path)
    assert (len(lines.lines), len({line.point for line in lines.lines}), lines.bad) == (200, 200, ())
