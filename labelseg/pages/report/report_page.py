"""One page of HTML from the facts of a report: style, script and pictures within it, and nothing asked for from outside."""

from __future__ import annotations

import json
from typing import Any

from markupsafe import Markup

from labelseg.pages.gallery.choice import ORDERS
from labelseg.pages.gallery.records import class_list
from labelseg.pages.parts.charts import bar_chart, line_chart
from labelseg.pages.parts.pieces import embedded_json, page_file, render, script_hash
from labelseg.pages.report.report_facts import ConfusionFacts, CurveFacts, ReportFacts, ScoreFacts, ThresholdFacts

PACKAGE = "labelseg.pages.report"
SCRIPTS = (("base.js", "labelseg.pages.parts"), ("gallery.js", "labelseg.pages.parts"), ("report.js", PACKAGE))
STYLES = (("base.css", "labelseg.pages.parts"), ("gallery.css", "labelseg.pages.parts"), ("report.css", PACKAGE))


def report_page(facts: ReportFacts) -> str:
    """Write the page."""
    script, style = ("\n".join(page_file(*named) for named in files) for files in (SCRIPTS, STYLES))
    values = {
        "facts": facts,
        "value_text": value_text,
        "script": Markup(script),
        "script_name": script_hash(script),
        "style": Markup(style),
        "seconds": f"{sum(stage.seconds for stage in facts.stages):,.0f} s",
        "bars": bar_chart("mIoU along the chain", [(_score_name(score), score.miou) for score in facts.scores]),
        "threshold_charts": [_threshold_chart(one) for one in facts.thresholds],
        "score_classes": list(dict.fromkeys(name for score in facts.scores for name in score.iou)),
        "tuned": any(score.tuned for score in facts.scores),
        "learned": any(score.learned for score in facts.scores),
        "confusion_rows": [] if facts.confusion is None else confusion_rows(facts.confusion),
        "curve_charts": [(one.instance, _curve_charts(one)) for one in facts.curves],
        "gallery_json": embedded_json(gallery_values(facts)),
    }
    return render("report.html", values, PACKAGE)


def gallery_values(facts: ReportFacts) -> dict[str, Any]:
    """Write what the script of the gallery is given."""
    known = [name for name in ORDERS if any(image[name] is not None for image in facts.gallery)]
    return {"images": facts.gallery, "classes": class_list(facts.classes), "stages": facts.panels, "orders": known}


def confusion_rows(confusion: ConfusionFacts) -> list[tuple[str, list[float | None]]]:
    """Write each row as shares of its pixels; None for a class that the truth does not hold."""
    rows = []
    for name, counts in zip(confusion.classes, confusion.counts, strict=True):
        whole = sum(counts)
        rows.append((name, [count / whole if whole else None for count in counts]))
    return rows


def _threshold_chart(one: ThresholdFacts) -> Markup:
    """Draw the threshold curve of activation maps."""
    points = [(threshold, value) for threshold, value in zip(one.thresholds, one.miou, strict=True) if value is not None]
    name = f"{one.instance} ({one.split})"
    return line_chart(f"mIoU of {name} at each threshold", {"mIoU": points}, f"threshold of {name}; {one.chosen:g} was taken")


def _curve_charts(one: CurveFacts) -> list[tuple[str, Markup]]:
    """Draw every curve of a training under its name."""
    return [(name, line_chart(f"{name} of {one.instance}", {name: points}, "epoch")) for name, points in one.curves.items()]


def _score_name(score: ScoreFacts) -> str:
    return f"{score.instance} ({score.split})"


def value_text(value: Any) -> str:
    """Write the value of a parameter as JSON does, letters as they are."""
    return json.dumps(value, ensure_ascii=False)
