"""Report and view of workspaces of every method, in a real Chromium. Not among the usual tests: ``make test-browser``.

``make test-browser WORKSPACES="DIR ..."`` opens those of other workspaces too, in which a chain has run.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest
from gallery_window import Window, viewed

from labelseg.pages.report.collecting import collect
from labelseg.pages.report.report_page import report_page
from labelseg.quality.chain import masked_ref
from labelseg.workspace import Workspace
from tests.stages import labor_chain, wilson_chain
from tests.stages.conftest import make_few_masks, run_few_masks

pytestmark = pytest.mark.browser
STRENGTH = "Number(getComputedStyle(document.querySelector('.layer')).opacity)"


def few_masks(root):
    run_few_masks(make_few_masks(root))
    return "", "", ["segment@few", "sgc"]


def wilson(root):
    wilson_chain.run_steps(root)
    return "segment@new", "", ["segment@new", "truth"]


def labor(root):
    labor_chain.run_rounds(root)
    rounds = [f"{stage}@{k}" for k in (1, 2) for stage in ("labor-select", "labor-annotate")]
    return "", "", [*rounds, "truth"]


def there(path, root):
    """A workspace of the user: whatever stands in it."""
    root.symlink_to(Path(path).resolve())
    return "", "", None


MADE = {"few masks": few_masks, "wilson": wilson, "labor": labor}
GIVEN = {path: partial(there, path) for path in os.environ.get("WORKSPACES", "").split()}


@pytest.fixture(scope="module", params=[*MADE, *GIVEN])
def shown(request, tmp_path_factory):
    """A workspace, the masks that its pages are about, and the panels that an image has."""
    root = tmp_path_factory.mktemp("method") / "w"
    instance, split, stages = (MADE | GIVEN)[request.param](root)
    workspace = Workspace(root)
    ref = masked_ref(workspace, instance, split or None)
    return workspace, ref, stages


@pytest.fixture
def report(shown, chromium, tmp_path):
    workspace, ref, _ = shown
    facts = collect(workspace, split=ref.split, instance=ref.instance)
    (tmp_path / "report.html").write_text(report_page(facts))
    return Window(chromium, (tmp_path / "report.html").as_uri()), facts


@pytest.fixture
def view(shown, chromium):
    workspace, ref, _ = shown
    with viewed(workspace, ref) as address:
        yield Window(chromium, address)


def settled(window):
    """Wait until what was asked of a server is there, and pictures are shown."""
    window.wait("typeof view === 'undefined' || view.busy === 0")
    window.wait("document.querySelectorAll('.layer').length > 0")


def used(window):
    """Filter by the class of the first image, sort by name, move the slider and go from image to image by keys; what was seen then."""
    window.wait("document.querySelectorAll('.layer').length > 0")
    k = window.page.evaluate("document.querySelector('.card').image?.classes?.[0] ?? gallery.images[0].classes[0]")
    window.page.select_option("#sort", "id")
    settled(window)
    names = window.ids
    window.page.select_option("#class", str(k))
    settled(window)
    assert window.page.evaluate(f"[...document.querySelectorAll('.card')].every((card) => card.image.classes.includes({k}))")
    window.page.fill("#opacity", "30")
    strength = window.page.evaluate(STRENGTH)
    window.page.evaluate("document.activeElement.blur()")
    window.page.keyboard.press("j")
    return (
        names == sorted(names),
        window.classes <= {str(k)},
        strength,
        window.page.evaluate("document.activeElement.dataset.id") == window.ids[0],
    )


def panels(window):
    return window.page.evaluate("[...document.querySelector('.card').querySelectorAll('figure')].map((figure) => figure.dataset.stage)")


def test_the_report_shows_what_the_method_made_and_asks_for_nothing(report, shown):
    window, facts = report
    assert sorted(window.ids) == sorted(image["id"] for image in facts.gallery)
    assert panels(window) == ["image", *(shown[2] or facts.panels)]
    assert window.broken == 0
    assert used(window) == (True, True, 0.3, True)
    assert (window.asked_outside, window.troubles) == ([], [])


def test_view_shows_what_the_method_made_and_asks_its_server_alone(view, shown):
    assert panels(view)[0] == "image"
    assert panels(view)[1:] == (shown[2] or panels(view)[1:])
    assert used(view) == (True, True, 0.3, True)
    view.page.keyboard.press("n")
    view.wait("view.busy === 0")
    assert view.broken == 0
    assert (view.asked_outside, view.troubles) == ([], [])
