"""What the server of the page says, and whom it says nothing."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from labelseg.answers.answer_files import read_answers
from labelseg.answers.desk import Desk
from labelseg.answers.questions import Question
from labelseg.errors import DamageError, DataError
from labelseg.pages.annotation.page_pictures import LOSSLESS_PIXELS, Pictures
from labelseg.pages.annotation.server import make_app
from labelseg.pages.annotation.service import Service
from labelseg.pages.serving.gate import MOST_BYTES

CLASSES = ("background", "cat", "a dog")
TOKEN = "the-token"
QUESTIONS = [
    Question("0", "dir/ä <b>", ((1, 2),), "cat"),
    Question("1", "dir/ä <b>", ((3, 4),), None),
    Question("2", "two", ((5, 6), (5, 7)), "a dog"),
    Question("3", "broken", ((0, 0),), "gone"),
]


class Photos:
    """Small photos, one of which cannot be read."""

    def image(self, image_id):
        if image_id == "broken":
            raise DataError("broken: it is no image.")
        return np.arange(8 * 9 * 3, dtype=np.uint8).reshape(8, 9, 3)

    def mask(self, image_id):
        if image_id == "broken":
            raise DamageError("the part of broken is damaged. Repair: labelseg verify --repair ask")
        return np.array([[0, 1, 255]], np.uint8) if image_id == "two" else None


@pytest.fixture
def path(tmp_path):
    return tmp_path / "answers" / "ask.jsonl"


def make_client(path, token=TOKEN, host="127.0.0.1", base="http://127.0.0.1:8000"):
    service = Service(Desk(QUESTIONS, path), QUESTIONS, Pictures(Photos(), Photos()), CLASSES, "ask (train)", "anna")
    return TestClient(make_app(service, token, host), base_url=f"{base}/{token}".rstrip("/") + "/", raise_server_exceptions=False)


@pytest.fixture
def client(path):
    return make_client(path)


def said(**values):
    return {"browser": "one", "nonce": "n1", "question": "0", **values}


def test_the_page_comes_whole_from_the_server_alone(client):
    page, script, style = (client.get(name) for name in ("", "page.js", "page.css"))
    assert [reply.status_code for reply in (page, script, style)] == [200] * 3
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    for reply in (page, script, style):
        assert "default-src 'none'" in reply.headers["content-security-policy"]
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert "http://" not in reply.text
        assert "https://" not in reply.text
        assert "<script>" not in reply.text
        assert "style=" not in reply.text


def test_every_key_of_the_page_is_a_button_that_names_it(client):
    page = client.get("").text
    keys = ("Enter", "m", "s", "Backspace", "o", "b", "f", "/", "ArrowLeft", "ArrowRight", "+", "-")
    assert [key for key in keys if f'aria-keyshortcuts="{key}"' not in page] == []


def test_what_stays_the_same_is_told_once(client):
    told = client.get("api/setup", params={"browser": "one"}).json()
    assert (told["title"], told["who"], told["images"]) == ("ask (train)", "anna", 3)
    assert [one["name"] for one in told["classes"]] == list(CLASSES)
    assert [one["colour"] for one in told["classes"]] == ["#000000", "#800000", "#008000"]


def test_a_question_is_told_with_its_guess_and_an_answer_brings_the_next(client, path):
    first = client.get("api/next", params={"browser": "one"}).json()
    assert first["question"] == {
        "id": "0", "image": "dir/ä <b>", "number": 0, "place": [1, 2], "points": [], "guess": "cat", "said": None, "flagged": False,
    }  # fmt: skip
    second = client.post("api/answer", json=said(**{"class": "a dog", "ms": 800})).json()
    assert (second["question"]["id"], second["question"]["guess"]) == ("1", None)
    assert second["progress"] == {"done": 1, "total": 5, "seconds": 0.8, "left": pytest.approx(2.4), "open": 3}
    (line,) = read_answers(path).lines
    assert (line.point, line.label, line.who, line.ms, line.guess) == (("dir/ä <b>", 1, 2), "a dog", "anna", 800, "cat")


def test_regions_are_told_with_their_pixels_and_may_be_mixed(client):
    for nonce, question in (("n1", "0"), ("n2", "1")):
        last = client.post("api/answer", json=said(nonce=nonce, question=question, **{"class": None})).json()
    assert last["question"]["points"] == [[5, 6], [5, 7]]
    half = client.post("api/mixed", json=said(nonce="n3", question="2")).json()
    assert (half["question"]["id"], half["question"]["points"]) == ("2.0", [])
    assert client.post("api/mixed", json=said(nonce="n4", question="2.0")).status_code == 404


def test_who_was_slower_is_told_what_was_answered(client, path):
    client.post("api/answer", json=said(**{"class": "cat"}))
    late = client.post("api/answer", json=said(nonce="n2", browser="two", **{"class": "a dog"}))
    assert late.status_code == 409
    assert late.json()["question"]["said"] == {"class": "cat", "nonce": "n1"}
    anew = client.post("api/answer", json=said(nonce="n3", browser="two", instead="n1", **{"class": "a dog"}))
    assert anew.status_code == 200
    assert [line.label for line in read_answers(path).lines] == ["cat", "a dog"]


def test_undo_move_and_flag(client):
    client.post("api/answer", json=said(**{"class": "cat"}))
    back = client.get("api/move", params={"browser": "one", "question": "1", "step": -1}).json()
    assert (back["question"]["id"], back["question"]["said"]["class"]) == ("0", "cat")
    flagged = client.post("api/flag", json=said(nonce="n2", on=True)).json()
    assert flagged["question"]["flagged"] is True
    undone = client.post("api/undo", json={"browser": "one", "nonce": "n3"}).json()
    assert (undone["question"]["id"], undone["question"]["said"], undone["progress"]["done"]) == ("0", None, 0)
    assert client.post("api/undo", json={"browser": "one", "nonce": "n4"}).json()["question"] is None


def test_photos_come_as_they_are_and_masks_as_clear_colours(client):
    photo = client.get("photo/0")
    np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(photo.content))), Photos().image(""))
    mask = np.array(Image.open(io.BytesIO(client.get("mask/1").content)))
    assert mask[0, :, :3].tolist()[:2] == [[0, 0, 0], [128, 0, 0]]
    assert (mask[0, :2, 3] > 0).all()
    assert mask[0, 2, 3] == 0
    assert client.get("mask/0").status_code == 204
    assert [client.get(f"photo/{number}").status_code for number in (2, 3, 10**30, "9" * 5_000, "%C2%B2", "-1")] == [422, *[404] * 5]
    assert client.get("photo/2").json() == {"error": "broken: it is no image."}


def test_a_mask_that_is_damaged_is_told_with_what_mends_it(client):
    reply = client.get("mask/2")
    assert (reply.status_code, reply.json()) == (422, {"error": "the part of broken is damaged. Repair: labelseg verify --repair ask"})


def test_large_photos_are_sent_as_jpeg():
    class Large:
        def image(self, image_id):
            return np.zeros((1, LOSSLESS_PIXELS + 1, 3), np.uint8)[:, :2000].repeat(1000, axis=0)

    assert Pictures(Large(), None).photo("a")[1] == "image/jpeg"


@pytest.mark.parametrize("token", ["", "x", TOKEN[:-1], f"{TOKEN}x", "%00", "ä", "..", TOKEN.upper()])
@pytest.mark.parametrize("rest", ["", "/", "/api/setup?browser=one", "/photo/0"])
def test_a_wrong_token_is_refused(client, token, rest):
    reply = client.get(f"http://127.0.0.1:8000/{token}{rest}")
    assert reply.status_code == 403
    assert "token" in reply.text
    assert TOKEN not in reply.text


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "evil.example:8000", "", "[::2]:80", "127.0.0.2"])
def test_other_names_in_the_host_header_are_refused(client, host):
    assert client.get("", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("host", ["127.0.0.1:9", "localhost:9", "LOCALHOST", "[::1]:9", "127.0.0.1"])
def test_names_of_this_machine_are_let_through(client, host):
    assert client.get("", headers={"host": host}).status_code == 200


def test_a_server_for_a_network_answers_to_its_own_address_and_without_one_to_any(path):
    own = make_client(path, host="10.0.0.7")
    assert [own.get("", headers={"host": host}).status_code for host in ("10.0.0.7:8000", "10.0.0.8")] == [200, 421]
    assert make_client(path, host="0.0.0.0").get("", headers={"host": "any.example"}).status_code == 200


@pytest.mark.parametrize("body", [
    b"", b"[]", b"null", b"{", b"\xff", b"[" * 20_000, json.dumps({"class": "cat"}).encode(), json.dumps(said(**{"class": "cow"})).encode(),
    json.dumps(said(**{"class": ["cat"]})).encode(), json.dumps(said(**{"class": "cat", "ms": -1})).encode(),
    json.dumps(said(**{"class": "cat", "ms": 1e99})).encode(), json.dumps(said(**{"class": "cat", "ms": True})).encode(),
    json.dumps(said(nonce="x" * 65)).encode(), json.dumps(said(nonce="")).encode(), json.dumps(said(browser=7)).encode(),
    json.dumps(said(who="a\nb")).encode(), json.dumps(said(instead=3)).encode(),
])  # fmt: skip
def test_bad_requests_are_told_and_write_nothing(client, path, body):
    reply = client.post("api/answer", content=body)
    assert reply.status_code == 400
    assert reply.json()["error"]
    assert not path.exists()


@pytest.mark.parametrize("question", ["9", "0.0", "x", "-1"])
def test_unknown_questions_are_told_and_write_nothing(client, path, question):
    assert client.post("api/answer", json=said(question=question, **{"class": "cat"})).status_code == 404
    assert client.get("api/move", params={"browser": "one", "question": question, "step": 1}).status_code == 404
    assert not path.exists()


@pytest.mark.parametrize("step", ["\u00b2", "\u0663", "9" * 5_000, "-", "1.0"])
def test_steps_that_are_no_numbers_are_told(client, step):
    assert client.get("api/move", params={"browser": "one", "question": "0", "step": step}).status_code == 400


@pytest.mark.parametrize("token", [TOKEN, ""])
def test_pages_of_others_may_change_nothing(path, token):
    client, body = make_client(path, token), json.dumps(said(**{"class": "cat"}))
    for origin in ("http://evil.example", "null", "", "http://127.0.0.1:9", "file://127.0.0.1:8000", "http://127.0.0.1:8000.evil.example"):
        assert client.post("api/answer", content=body, headers={"origin": origin, "content-type": "text/plain"}).status_code == 403
    assert not path.exists()
    assert client.get("api/setup", params={"browser": "one"}, headers={"origin": "http://evil.example"}).status_code == 200
    assert client.post("api/answer", content=body, headers={"origin": "http://127.0.0.1:8000"}).status_code == 200


def test_huge_bodies_are_refused_whatever_length_they_claim(client, path):
    assert client.post("api/answer", content=b"x" * (MOST_BYTES + 1)).status_code == 413
    assert client.post("api/answer", content=(b"x" * 1000 for _ in range(100))).status_code == 413
    assert client.post("api/answer", content=b"{}", headers={"content-length": "9" * 30}).status_code == 413
    assert not path.exists()


def test_nothing_is_changed_by_reading(client):
    assert client.get("api/answer", params=said(**{"class": "cat"})).status_code == 405
    assert client.post("api/next", json=said()).status_code == 405
    assert client.get("../../etc/passwd").status_code in (403, 404)
    assert client.get("page.py").status_code == 404


def test_a_full_disk_is_told_and_the_answer_is_taken_later(client, path, monkeypatch):
    from labelseg.answers import desk

    def full(path, lines):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(desk, "append_answers", full)
        refused = client.post("api/answer", json=said(**{"class": "cat"}))
    assert (refused.status_code, refused.json()) == (507, {"error": "Not saved: No space left on device."})
    assert client.post("api/answer", json=said(**{"class": "cat"})).json()["progress"]["done"] == 1
