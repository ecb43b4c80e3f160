"""``labelseg view``: what its server says, what marks become, and whom it says nothing."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from conftest import NAMES, TRAIN, labelseg
from PIL import Image
from starlette.testclient import TestClient
from toy_chain import STAGES

from labelseg.answers.marks import marks_path, read_marks
from labelseg.pages.gallery import panels
from labelseg.pages.gallery.panels import Panels
from labelseg.pages.view.view_server import make_view_app
from labelseg.pages.view.view_service import PER_PAGE, ViewService
from labelseg.quality.kept import ImageQuality, kept_measured
from labelseg.workspace import Workspace

TOKEN = "the-token"


def serving(root, split="train"):
    workspace = Workspace(root, stages=STAGES)
    measured = kept_measured(workspace.folder, "spread", split)
    panels = Panels(workspace, split, "spread")
    return ViewService(panels, measured.images if measured else (), marks_path(root, "spread", split), "spread", "anna")


def asking(service):
    app = make_view_app(service, TOKEN, "127.0.0.1")
    return TestClient(app, base_url=f"http://127.0.0.1:8000/{TOKEN}/", raise_server_exceptions=False)


@pytest.fixture
def client(finished):
    assert labelseg(finished, "spread", "--rows", 4).exit_code == 0
    assert labelseg(finished, "quality", "spread", "--split", "train").exit_code == 0
    return asking(serving(finished))


def ids(client, **asked):
    return [image["id"] for image in client.get("api/images", params=asked).json()["images"]]


def test_the_page_and_its_files_come_from_the_server_alone(client):
    page = client.get("").text
    for name in ("base.css", "gallery.css", "view.css", "base.js", "gallery.js", "view.js"):
        assert f'"files/{name}"' in page
        reply = client.get(f"files/{name}")
        assert (reply.status_code, "http" in reply.text) == (200, False)
    assert "style=" not in page
    assert client.get("files/view.html").status_code == 404


def test_images_are_told_with_what_was_measured(client, finished):
    told = client.get("api/setup").json()
    assert [one["name"] for one in told["classes"]] == list(NAMES)
    assert (told["stages"], told["images"], told["unknown"], told["troubles"]) == (["cam", "spread", "truth"], 3, 0, [])
    measured = {image.id: image for image in kept_measured(finished / ".labelseg", "spread", "train").images}
    for image in client.get("api/images").json()["images"]:
        assert image["quality"] == pytest.approx(measured[image["id"]].quality, abs=1e-4)
        assert (image["classes"], image["tags"], image["mark"]) == ([TRAIN[image["id"]]], [TRAIN[image["id"]]], None)


def test_images_are_sorted_filtered_and_paged(client):
    assert ids(client, **{"class": 2}) == ["a2"]
    assert ids(client, sort="miou") == ids(client, sort="quality") == ids(client) == ["a1", "a2", "a3"]
    assert ids(client, page=7) == ["a1", "a2", "a3"]
    for bad in ({"sort": "x"}, {"page": "-1"}, {"class": "cat"}, {"mark": "ugly"}, {"page": "9" * 10}):
        assert client.get("api/images", params=bad).status_code == 400


def test_a_stage_whose_items_are_no_pictures_has_no_panel(finished, monkeypatch):
    monkeypatch.setattr(panels, "DRAWN", ("mask", "labels"))
    assert Panels(Workspace(finished, stages=STAGES), "train", "spread").stages == ["spread", "truth"]


def test_the_worst_come_first_and_what_is_unknown_last(finished):
    known = [ImageQuality("a1", "", quality=0.9, confidence=0.1), ImageQuality("a3", "", quality=0.2, confidence=0.5)]
    service = ViewService(
        Panels(Workspace(finished, stages=STAGES), "train", "spread"), known, marks_path(finished, "spread", "train"), "", ""
    )
    orders = {sort: [image["id"] for image in service.images({"sort": sort})["images"]] for sort in ("quality", "confidence", "id")}
    assert orders == {"quality": ["a3", "a1", "a2"], "confidence": ["a1", "a3", "a2"], "id": ["a1", "a2", "a3"]}
    assert (service.setup({})["orders"], service.setup({})["unknown"]) == (["quality", "confidence"], 1)


def test_a_page_holds_a_bounded_number_of_images(finished):
    service = serving(finished)
    service._images = [service._images[0]] * (2 * PER_PAGE + 1)
    pages = [service.images({"page": str(page)}) for page in range(3)]
    assert [len(page["images"]) for page in pages] == [PER_PAGE, PER_PAGE, 1]
    assert {(page["pages"], page["found"]) for page in pages} == {(3, 2 * PER_PAGE + 1)}


def test_pictures_are_made_when_they_are_asked_for(client):
    photo = Image.open(io.BytesIO(client.get("photo/0").content))
    assert (photo.size, photo.format) == ((10, 8), "JPEG")
    truth, spread = client.get("api/panels/0", params={"stage": ["truth", "spread"]}).json()["panels"]
    assert (truth["stage"], spread["stage"]) == ("truth", "spread")
    (layer,) = spread["layers"]
    drawn = np.array(Image.open(io.BytesIO(base64.b64decode(layer["source"].partition(",")[2]))).convert("RGBA"))
    expected = np.zeros((8, 10))
    expected[4:, 5:] = 255
    np.testing.assert_array_equal(drawn[..., 3], expected)
    assert layer["class"] == 1
    assert [
        client.get(path).status_code
        for path in ("photo/3", f"photo/{'9' * 5_000}", "api/panels/0?stage=cam&stage=x", "api/panels/9?stage=cam")
    ] == [404] * 4


def test_marks_are_kept_and_come_out_as_a_list(client, finished):
    for number, mark in ((0, "fix"), (2, "fix"), (1, "good"), (2, None)):
        told = client.post("api/mark", json={"number": number, "mark": mark}).json()
    assert told["marks"] == {"good": 1, "bad": 0, "fix": 1}
    assert (ids(client, mark="fix"), ids(client, mark="none")) == (["a1"], ["a3"])
    assert client.get("list/fix.txt").text == "a1\n"
    lines = [json.loads(line) for line in marks_path(finished, "spread", "train").read_text().splitlines()]
    assert [(line["image"], line["mark"], line["who"]) for line in lines] == [
        ("a1", "fix", "anna"), ("a3", "fix", "anna"), ("a2", "good", "anna"), ("a3", None, "anna"),
    ]  # fmt: skip
    result = labelseg(finished, "view", "spread", "--split", "train", "--list", "fix")
    assert (result.exit_code, result.stdout) == (0, "a1\n")
    assert ids(asking(serving(finished)), mark="good") == ["a2"]


@pytest.mark.parametrize("body", [b"", b"[]", b'{"number": 0, "mark": "ugly"}', b'{"number": true, "mark": "bad"}', b'{"mark": "bad"}'])
def test_what_is_no_mark_writes_nothing(client, finished, body):
    assert client.post("api/mark", content=body).status_code == 400
    assert not marks_path(finished, "spread", "train").exists()


def test_unknown_images_and_wrong_tokens_are_refused(client):
    assert client.post("api/mark", json={"number": 3, "mark": "bad"}).status_code == 404
    assert client.get("http://127.0.0.1:8000/x/api/images").status_code == 403
    assert client.get("", headers={"host": "evil.example"}).status_code == 421
    assert client.get("api/mark").status_code == 405
    assert client.post("api/mark", json={"number": 0, "mark": "fix"}, headers={"origin": "http://evil.example"}).status_code == 403


def test_lines_that_are_no_marks_cost_no_other(finished):
    path = marks_path(finished, "spread", "train")
    path.parent.mkdir()
    path.write_text('{"image": "a1", "mark": "bad"}\n{"image": "a2", "mark": "x"}\n[]\n{"image": "a3", "mark": "go')
    marks, bad = read_marks(path)
    assert marks == {"a1": "bad"}
    assert [line.line for line in bad] == [2, 3, 4]


def test_without_masks_there_is_nothing_to_look_through(tmp_path, data):
    assert labelseg(tmp_path / "w", "init", "--from", data).exit_code == 0
    result = labelseg(tmp_path / "w", "view")
    assert result.exit_code == 1
    assert "there are no masks here yet. Run: labelseg run" in result.output
