"""Report and view in a real Chromium. Not among the usual tests: ``make test-browser``."""

from __future__ import annotations

import pytest
from gallery_chain import SCENES, make_workspace
from gallery_window import Window, viewed

from labelseg.answers.marks import marks_path, read_marks
from labelseg.pages.report.collecting import collect
from labelseg.pages.report.report_page import report_page
from labelseg.pages.view.view_service import PER_PAGE
from labelseg.quality.chain import masked_ref

pytestmark = pytest.mark.browser
SHOWN = 12


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return make_workspace(tmp_path_factory.mktemp("gallery"))


@pytest.fixture(scope="module")
def facts(workspace):
    return collect(workspace, images=SHOWN)


@pytest.fixture
def report(chromium, facts, tmp_path):
    """Function that opens the report."""

    def start(**how):
        path = tmp_path / "report.html"
        path.write_text(report_page(facts))
        return Window(chromium, path.as_uri(), **how)

    return start


@pytest.fixture
def view(chromium, workspace):
    """The page of a server in a thread of this process, without marks."""
    ref = masked_ref(workspace)
    marks_path(workspace.root, ref.instance, ref.split).unlink(missing_ok=True)
    with viewed(workspace, ref) as address:
        yield Window(chromium, address)


def test_the_report_asks_for_nothing_and_nothing_goes_wrong(report, facts):
    window = report()
    assert (window.asked_outside, window.troubles) == ([], [])
    assert sorted(window.ids) == sorted(image["id"] for image in facts.gallery)
    assert window.broken == 0


def test_images_are_sorted_and_filtered_by_class(report, facts):
    window = report()
    by_iou = sorted(facts.gallery, key=lambda image: (image["miou"], image["id"]))
    window.page.select_option("#sort", "miou")
    assert window.ids == [image["id"] for image in by_iou]
    k = by_iou[0]["classes"][0]
    window.page.select_option("#class", str(k))
    assert window.ids == [image["id"] for image in by_iou if k in image["classes"]]
    assert window.classes == {str(k)}
    window.page.select_option("#class", "")
    assert len(window.ids) == SHOWN
    assert len(window.classes) > 1


def test_slider_and_keys_set_how_strong_masks_are(report):
    window = report()
    strength = "Number(getComputedStyle(document.querySelector('.layer')).opacity)"
    assert window.page.evaluate(strength) == 0.6
    window.page.keyboard.press("]")
    assert window.page.evaluate(strength) == 0.7
    window.page.fill("#opacity", "20")
    assert window.page.evaluate(strength) == 0.2
    window.page.evaluate("document.activeElement.blur()")
    window.page.keyboard.press("o")
    assert window.page.evaluate(strength) == 0
    assert window.page.get_attribute("#toggle", "aria-pressed") == "false"


def test_keys_move_from_image_to_image_and_a_stage_can_be_hidden(report):
    window = report()
    focused = "document.activeElement.dataset.id"
    found = []
    for key in ("j", "j", "k"):
        window.page.keyboard.press(key)
        found.append(window.page.evaluate(focused))
    assert found == [window.ids[0], window.ids[1], window.ids[0]]
    window.page.uncheck('input[data-stage="cam"]')
    assert window.page.evaluate("[...document.querySelectorAll('figure[data-stage=cam]')].every((figure) => figure.hidden)")
    window.page.keyboard.press("?")
    assert window.page.evaluate("document.activeElement.closest('dialog') !== null || document.getElementById('keys').open")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_follow_the_system_and_the_switch(report, scheme):
    window = report(color_scheme=scheme)
    light = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number).reduce((a, b) => a + b) / 765"
    assert (window.page.evaluate(light) > 0.9) == (scheme == "light")
    found = []
    for _ in range(2):
        window.page.click("#theme")
        found.append(window.page.evaluate(light) > 0.9)
    assert found == [True, False]


@pytest.mark.parametrize(("width", "rows"), [(1280, 1), (420, 2)])
def test_panels_stand_in_rows_that_fill_the_window_and_no_more(report, width, rows):
    window = report(viewport={"width": width, "height": 900})
    tops = "[...document.querySelector('.card').querySelectorAll('figure')].map((figure) => figure.getBoundingClientRect().top)"
    assert len(set(window.page.evaluate(tops))) == rows
    assert window.page.evaluate("document.documentElement.scrollWidth") <= width


def test_everything_has_a_name(report, view):
    unnamed = """[...document.querySelectorAll("button, select, input, [role=img], svg.chart")]
        .filter((one) => !(one.ariaLabel || one.labels?.length || one.textContent.trim())).map((one) => one.outerHTML)"""
    for window in (report(), view):
        assert window.page.evaluate(unnamed) == []
        assert window.page.evaluate("[...document.images].every((image) => image.hasAttribute('alt'))")


def test_view_turns_pages_and_keeps_marks(view, workspace):
    assert len(view.ids) == PER_PAGE
    view.wait("document.querySelectorAll('.layer').length > 0")
    for key in ("j", "b", "j", "f"):
        view.page.keyboard.press(key)
        view.wait("view.busy === 0")
    view.wait("document.querySelectorAll('.marks [aria-pressed=true]').length === 2")
    first, second = view.ids[:2]
    view.page.keyboard.press("n")
    view.wait(f"document.querySelectorAll('.card').length === {SCENES - PER_PAGE}")
    assert {first, second} & set(view.ids) == set()
    marks, bad = read_marks(marks_path(workspace.root, "spread", "train"))
    assert (marks, bad) == ({first: "bad", second: "fix"}, ())
    view.page.select_option("#mark", "fix")
    view.wait("document.querySelectorAll('.card').length === 1")
    assert view.ids == [second]
    assert (view.asked_outside, view.troubles) == ([], [])
