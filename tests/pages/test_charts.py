"""Charts say what they show, in numbers and in shapes."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from labelseg.pages.parts.charts import BAR_WIDTH, bar_chart, line_chart

HOSTILE = '<script>alert("x")</script>'


def shapes(chart, kind):
    return [element.attrib for element in ElementTree.fromstring(str(chart)).iter(kind)]


def test_bars_are_as_long_as_their_shares():
    chart = bar_chart("mIoU", [("cam", 0.5), ("refine", 0.755), ("none", None)])
    assert [float(bar["width"]) for bar in shapes(chart, "rect")] == [BAR_WIDTH / 2, pytest.approx(0.755 * BAR_WIDTH, abs=0.05), 0]
    texts = [element.text for element in ElementTree.fromstring(str(chart)).iter("text")]
    assert texts == ["cam", "50.0", "refine", "75.5", "none", "-"]
    assert shapes(chart, "svg")[0]["aria-label"] == "mIoU, in percent: cam 50.0, refine 75.5, none unknown"


def test_lines_go_through_their_points():
    chart = line_chart("loss", {"loss": [(1, 4.0), (2, 2.0), (3, 0.0), (4, float("nan"))]}, "epoch")
    dots = [(float(dot["cx"]), float(dot["cy"])) for dot in shapes(chart, "circle")]
    assert len(dots) == 3
    assert dots[1][0] - dots[0][0] == pytest.approx(dots[2][0] - dots[1][0], abs=0.2)
    assert dots[1][1] - dots[0][1] == pytest.approx(dots[2][1] - dots[1][1], abs=0.2)
    assert dots[0][1] < dots[1][1] < dots[2][1]
    assert line_chart("nothing", {"loss": []}, "epoch") == ""


def test_one_value_is_drawn_as_well():
    assert len(shapes(line_chart("loss", {"loss": [(1, 4.0)]}, "epoch"), "circle")) == 1


@pytest.mark.parametrize("chart", [bar_chart(HOSTILE, [(HOSTILE, 1.0)]), line_chart(HOSTILE, {HOSTILE: [(0, 1), (1, 2)]}, HOSTILE)])
def test_names_are_no_markup(chart):
    assert "<script" not in chart
    assert ElementTree.fromstring(str(chart)).find("title").text == HOSTILE
