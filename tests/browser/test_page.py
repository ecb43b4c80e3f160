"""The page in a real browser. Not among the usual tests: ``make test-browser``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time

import pytest
import uvicorn

from labelseg.answers.answer_files import answers_path, read_answers
from labelseg.answers.desk import Desk
from labelseg.answers.questions import list_questions
from labelseg.data.scenes.drawing import write_scenes
from labelseg.pages.annotation.asked_items import AskedMasks, asked_in, read_questions
from labelseg.pages.annotation.page_pictures import Pictures
from labelseg.pages.annotation.server import make_app
from labelseg.pages.annotation.service import Service
from labelseg.pages.serving.local_server import listen
from labelseg.pipeline.run.options import RunOptions
from labelseg.workspace import Workspace

pytestmark = pytest.mark.browser

BUDGET = 50
FEW = "ask@few"


@pytest.fixture(scope="module")
def asked_root(tmp_path_factory):
    """A workspace of two scenes, a hundred questions in all, and an instance with two questions an image."""
    root = tmp_path_factory.mktemp("page")
    table = write_scenes(root, train=2, val=1, seed=0)
    (root / "labelseg.toml").write_text("[data]\n" + "\n".join(f'{key} = "{value}"' for key, value in table.items()) + "\n")
    options = RunOptions(workers=0, create=True)
    for instance, budget in (("ask", BUDGET), (FEW, 2)):
        Workspace(root).run(instance, "train", options=options, of="masks", choose="random", budget=budget)
    return root


@pytest.fixture
def root(asked_root):
    shutil.rmtree(asked_root / "answers", ignore_errors=True)
    return asked_root


class Thread:
    """The server of the page in a thread of this process: it starts at once."""

    def __init__(self, root, instance="ask", everyone=False, questions=None):
        workspace = Workspace(root)
        ref = asked_in(workspace, instance, None)
        questions = questions or read_questions(workspace, ref)
        desk = Desk(questions, answers_path(root, instance), everyone=everyone)
        service = Service(
            desk, questions, Pictures(workspace.dataset, AskedMasks(workspace, ref)), workspace.dataset.classes, instance, "anna"
        )
        self.opened = listen("annotate", "127.0.0.1", 0)
        self.address = f"http://127.0.0.1:{self.opened.getsockname()[1]}/token/"
        self.server = uvicorn.Server(uvicorn.Config(make_app(service, "token", "127.0.0.1"), lifespan="off", log_level="error"))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.opened]})
        self.thread.start()

    def end(self):
        self.server.should_exit = self.server.force_exit = True
        self.thread.join()


class Server:
    """``labelseg annotate`` in a process of its own."""

    def __init__(self, root, instance="ask", *words):
        command = [sys.executable, "-m", "labelseg", "-C", str(root), "annotate", instance, "--who", "anna", *words]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.address = self.process.stdout.readline().strip()

    def end(self):
        self.process.kill()
        self.process.communicate(timeout=20)


@pytest.fixture
def server(root):
    """Function that starts a server; all are ended."""
    started = []

    def start(*words, kind=Thread, **how):
        started.append(kind(root, *words, **how))
        return started[-1]

    yield start
    for one in started:
        one.end()


class Page:
    """A window on the page: what it shows, and keys."""

    def __init__(self, browser, address, **how):
        self.context = browser.new_context(viewport={"width": 1280, "height": 760}, **how)
        self.page = self.context.new_page()
        self.troubles, self.outside = [], []
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("console", lambda told: self.troubles.append(told.text) if told.type == "error" else None)
        self.page.on("request", lambda request: self.outside.append(request.url) if "127.0.0.1" not in request.url else None)
        self.page.goto(address)
        self.settle()

    def settle(self):
        self.wait("state.setup && !state.busy")

    def wait(self, condition, seconds=30):
        """Wait until something holds; the page lets nobody evaluate texts in it, so it is asked from outside."""
        end = time.monotonic() + seconds
        while not self.page.evaluate(condition):
            assert time.monotonic() < end, condition
            time.sleep(0.02)

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)
            self.settle()

    @property
    def question(self):
        return self.page.evaluate("state.now && state.now.id")

    @property
    def text(self):
        return self.page.inner_text("#question")

    @property
    def progress(self):
        return self.page.inner_text("#progress").split(" · ")[0]

    def pixel(self, canvas, x, y):
        """Colour of a pixel of a canvas, counted from its middle."""
        script = """([id, x, y]) => {
            const canvas = document.getElementById(id);
            return [...canvas.getContext("2d").getImageData(canvas.width / 2 + x, canvas.height / 2 + y, 1, 1).data];
        }"""
        return self.page.evaluate(script, [canvas, x, y])


def labels(root, instance="ask"):
    """What the file says that stands, in the order of questions."""
    return {point: answer.label for point, answer in read_answers(answers_path(root, instance)).current().items()}


def test_questions_are_answered_by_keys_and_nothing_is_asked_of_other_machines(root, server, chromium):
    page = Page(chromium, server().address)
    guess = page.page.evaluate("state.now.guess")
    assert guess in page.text
    page.press("Enter", "2", "s", "0")
    assert page.progress == "4 of 100"
    assert list(labels(root).values()) == [guess, "cross", None, "background"]
    page.press("/")
    page.page.keyboard.type("sta")
    page.press("Enter")
    assert list(labels(root).values())[-1] == "star"
    assert all(line.ms is not None and line.who == "anna" for line in read_answers(answers_path(root, "ask")).lines)
    assert (page.troubles, page.outside) == ([], [])


def test_undo_goes_back_over_two_images_and_a_reload(root, server, chromium):
    page = Page(chromium, server(FEW).address)
    page.press("1", "2", "3")
    assert page.page.evaluate("state.now.image") == "train_0001"
    page.press("Backspace")
    page.page.reload()
    page.settle()
    page.press("Backspace", "Backspace")
    assert (page.question, page.page.evaluate("state.now.image"), page.progress) == ("0", "train_0000", "0 of 4")
    page.press("Backspace")
    assert "Nothing is left to take back" in page.page.inner_text("body") or page.question == "0"
    assert labels(root, FEW) == {}
    page.press("4", "4", "4", "4")
    assert "All questions are answered" in page.text
    page.press("Backspace")
    assert page.question == "3"


def test_a_second_browser_is_asked_something_else_and_sees_what_was_answered(root, server, chromium):
    address = server().address
    one, two = Page(chromium, address), Page(chromium, address)
    assert (one.question, two.question) == ("0", "1")
    one.press("1")
    two.press("2")
    two.press("ArrowLeft", "ArrowLeft", "ArrowLeft")
    assert two.question == "0"
    assert "Answered: target" in two.text
    assert len(labels(root)) == 2


def test_a_wrong_token_is_refused(server, chromium):
    address = server().address
    page = chromium.new_page()
    assert page.goto(address[:-2] + ("x/" if address[-2] != "x" else "y/")).status == 403
    assert page.goto(address.rsplit("/", 2)[0]).status == 403
    assert page.goto(address).status == 200


def test_a_server_killed_at_answer_57_of_100_goes_on_there(root, server, chromium):
    first = server(kind=Server)
    page = Page(chromium, first.address)
    while page.page.evaluate("Number(document.getElementById('progress').textContent.split(' ')[0])") < 57:
        page.press("3")
    asked = page.question
    first.end()
    page.page.keyboard.press("1")
    page.wait("document.getElementById('notice').textContent.includes('cannot be reached')")
    again = Page(chromium, server(kind=Server).address)
    assert (again.progress, again.question) == ("57 of 100", asked)
    again.press("3")
    assert len(labels(root)) == 58


def test_an_answer_that_finds_no_server_is_sent_again_and_counts_once(root, server, chromium):
    first = server("ask", "--no-token", kind=Server)
    port = first.address.rstrip("/").rpartition(":")[2]
    page = Page(chromium, first.address)
    first.end()
    page.page.keyboard.press("1")
    time.sleep(1)
    server("ask", "--no-token", "--port", port, kind=Server)
    page.settle()
    assert page.progress == "1 of 100"
    assert list(labels(root).values()) == ["target"]


def test_the_ring_leaves_the_pixel_free_and_b_shows_the_bare_photo(server, chromium):
    page = Page(chromium, server().address)
    photo = page.page.evaluate("""() => {
        const pen = new OffscreenCanvas(state.photo.width, state.photo.height).getContext("2d");
        pen.drawImage(state.photo, 0, 0);
        return [...pen.getImageData(state.now.place[1], state.now.place[0], 1, 1).data];
    }""")
    assert page.pixel("crop", 0, 0) == photo
    ringed = [page.pixel("crop", x, 0) for x in range(30)]
    page.page.keyboard.down("b")
    bare = [page.pixel("crop", x, 0) for x in range(30)]
    page.page.keyboard.up("b")
    touched = [x for x in range(30) if ringed[x] != bare[x]]
    assert set(touched) >= {12, 13, 14, 15}
    assert set(touched) <= set(range(11, 18))
    assert [page.pixel("crop", x, 0) for x in range(30)] == ringed


def test_zoom_overlay_and_order_stay_from_question_to_question_and_after_a_reload(server, chromium):
    page = Page(chromium, server().address)
    page.press("+", "+", "o")
    before = page.pixel("crop", 0, 0)
    page.page.select_option("#order", "class")
    page.settle()
    page.press("1")
    page.page.reload()
    page.settle()
    assert page.page.evaluate("[state.zoom, state.overlay, state.order]") == [8 * 1.25 * 1.25, True, "class"]
    assert before != [0, 0, 0, 0]


def test_the_mouse_can_do_everything(root, server, chromium):
    page = Page(chromium, server().address, has_touch=True)
    third = "#classes li:nth-child(3) button"
    for name in ("#right", "#unknown", third, "#flag", "#overlay", "#nearer", "#farther", "#back", "#forth", "#undo"):
        page.page.tap(name)
        page.settle()
    kinds = [line.kind for line in read_answers(answers_path(root, "ask")).lines]
    assert kinds == ["answer", "answer", "answer", "flag", "undo"]
    page.page.tap("#help")
    assert page.page.is_visible("#keys")
    page.page.keyboard.press("Escape")
    page.page.keyboard.press("?")
    assert page.page.is_visible("#keys")
    page.page.keyboard.press("2")
    assert len(read_answers(answers_path(root, "ask")).lines) == 5


def test_a_region_is_answered_at_once_or_in_halves(root, server, chromium):
    places = [(y, x) for y in range(20, 24) for x in range(30, 38)]
    questions = list_questions([("train_0000", places, ["star"] * 32, [0] * 32), ("train_0001", places, ["flag"] * 32, [0] * 32)])
    page = Page(chromium, server(questions=questions).address)
    assert "Is all of this" in page.text
    assert "32 pixels" in page.text
    page.press("m")
    assert "16 pixels" in page.text
    page.press("Enter", "2")
    assert page.page.evaluate("state.now.image") == "train_0001"
    page.press("Enter")
    assert page.progress == "64 of 64"
    found = labels(root)
    assert [[found["train_0000", 20, x] for x in (33, 34)], found["train_0001", 23, 37]] == [["star", "cross"], "flag"]
    page.press("Backspace", "Backspace", "Backspace", "Backspace")
    assert ("32 pixels" in page.text, page.progress, labels(root)) == (True, "0 of 64", {})


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_seen_in_light_and_dark_and_everything_has_a_name(server, chromium, scheme):
    page = Page(chromium, server().address, color_scheme=scheme)
    back, front = page.page.evaluate("[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]")
    light = [sum(int(part) for part in colour.strip("rgb()").split(",")[:3]) / 765 for colour in (back, front)]
    assert (light[0] > 0.9) == (scheme == "light")
    assert abs(light[0] - light[1]) > 0.7
    script = """[...document.querySelectorAll("button, canvas, select, input")]
        .filter((one) => !(one.ariaLabel || one.labels?.length || one.textContent.trim())).length"""
    assert page.page.evaluate(script) == 0


def test_a_name_may_be_given_in_the_address(root, server, chromium):
    page = Page(chromium, server(everyone=True).address + "?who=bo")
    page.press("1")
    assert [line.who for line in read_answers(answers_path(root, "ask")).lines] == ["bo"]


def test_a_picture_for_the_documentation(server, chromium):
    """With ``SHOT`` in the environment, a picture is written there."""
    page = Page(chromium, server().address)
    page.press("Enter", "Enter", "o")
    picture = page.page.screenshot(path=os.environ.get("SHOT"))
    assert len(picture) > 20_000
