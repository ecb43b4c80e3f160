"""``labelseg report``: what the page shows are the values of the workspace, and nothing in it steers the page."""

from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from conftest import NAMES, TRAIN, labelseg
from PIL import Image

from labelseg.pages.parts.pieces import script_hash


class Reader(HTMLParser):
    """Tables of a page as texts, and its scripts."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.scripts, self.addresses, self.text = [], [], [], ""
        self._in, self._in_cell = "", False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self._in = tag
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self._in_cell = True
        elif tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._in = ""
        self._in_cell &= tag not in ("td", "th")

    def handle_data(self, data):
        if self._in == "script":
            self.scripts[-1] += data
            return
        self.text += data
        if self._in_cell:
            self.tables[-1][-1][-1] += data


def made(root, *words):
    """The page of a workspace, read, with the data of its gallery, and what was said."""
    result = labelseg(root, "report", "-o", root / "page.html", *words)
    assert result.exit_code == 0, result.output
    page = Reader((root / "page.html").read_text())
    return page, json.loads(page.scripts[0]), result.stderr


def rows(page, first):
    """The rows of the table whose head begins so, by their first cell, cells trimmed."""
    table = next(table for table in page.tables if table[0][0].strip() == first)
    return {row[0].strip(): [cell.strip() for cell in row[1:]] for row in table[1:]}


def opacity(layer):
    kind, _, content = layer["source"].partition(",")
    assert kind == "data:image/png;base64"
    return np.array(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGBA"))[..., 3]


def test_the_page_shows_what_ran_and_how_good_it_is(finished):
    assert labelseg(finished, "spread", "--rows", 4).exit_code == 0
    page, told, _ = made(finished)
    ran = rows(page, "Stage")
    assert (ran["spread"][:4], "rows = 4" in ran["spread"][5]) == (["train", "fresh", "3", ""], True)
    assert "defaults" in ran["cam"][5]
    scored = [row for table in page.tables for row in table if row[0].strip() == "spread" and len(row) == 8]
    (score,) = scored
    expected = json.loads(labelseg(finished, "evaluate", "spread", "--split", "train", "--json").stdout)[0]
    cells = [expected["miou"], expected["accuracy"], *expected["iou"].values()]
    assert [cell.strip() for cell in score[2:]] == ["3", *(f"{100 * value:.1f}" for value in cells)]
    confusion = rows(page, "True class")
    assert confusion["cat"] == ["50.0", "50.0", "0.0", "0.0"]
    assert confusion["background"] == ["100.0", "0.0", "0.0", "0.0"]
    assert rows(page, "Class") == {"background": ["-", "50.0", "75.0"], "cat": ["2", "33.3", "16.7"], "dog": ["1", "16.7", "8.3"]}
    assert [image["id"] for image in told["images"]] == ["a1", "a2", "a3"]
    assert told["images"][0]["iou"] == {"background": pytest.approx(2 / 3, abs=1e-4), "cat": 0.5}


def test_every_panel_holds_what_its_stage_made(finished):
    _, told, _ = made(finished)
    assert told["stages"] == ["cam", "spread", "truth"]
    assert [one["name"] for one in told["classes"]] == list(NAMES)
    half = np.repeat(np.where(np.arange(10) < 5, 0, 255)[None], 8, axis=0)
    for image in told["images"]:
        cam, spread, truth = image["panels"]
        assert [layer["class"] for panel in (cam, spread, truth) for layer in panel["layers"]] == [TRAIN[image["id"]]] * 3
        np.testing.assert_array_equal(opacity(spread["layers"][0]), half)
        np.testing.assert_array_equal(opacity(truth["layers"][0]), half)
        assert (opacity(cam["layers"][0])[:, 5:].astype(int) - opacity(cam["layers"][0])[:, :5] > 100).all()
        assert (image["width"], image["height"]) == (10, 8)


def test_the_page_asks_for_nothing_and_runs_one_script(finished):
    page, _, said = made(finished)
    text = (finished / "page.html").read_text()
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    assert not re.findall(r"https?://(?!www\.w3\.org)", text)
    assert f"script-src '{script_hash(page.scripts[1])}'" in text
    assert len(page.scripts) == 2
    assert "default-src 'none'" in text
    assert "3 images" in said


def test_hostile_names_are_told_as_they_are_and_are_no_markup(tmp_path, data):
    for name in ("images", "masks"):
        (data / name / "a1.png").rename(data / name / "a<img src=x onerror=alert(1)>.png")
    for name in ("labels.csv", "train.txt"):
        (data / name).write_text((data / name).read_text().replace("a1", "a<img src=x onerror=alert(1)>"))
    (data / "classes.txt").write_text("background\n</script><script>alert(2)</script>\ndog\n")
    (data / "labels.csv").write_text((data / "labels.csv").read_text().replace("cat", "</script><script>alert(2)</script>"))
    assert labelseg(tmp_path / "w", "init", "--from", data).exit_code == 0
    assert labelseg(tmp_path / "w", "spread").exit_code == 0
    page, told, _ = made(tmp_path / "w")
    text = (tmp_path / "w" / "page.html").read_text()
    assert "a<img src=x onerror=alert(1)>" in [image["id"] for image in told["images"]]
    assert told["classes"][1]["name"] == "</script><script>alert(2)</script>"
    assert "</script><script>alert(2)</script>" in rows(page, "Class")
    assert "<img src=x" not in text
    assert text.lower().count("<script") == 2


def test_a_chain_half_run_without_masks_is_shown_as_far_as_it_goes(tmp_path, data):
    (data / "masks").rename(data / "other")
    assert labelseg(tmp_path / "w", "init", "--from", data).exit_code == 0
    assert labelseg(tmp_path / "w", "cam").exit_code == 0
    page, told, said = made(tmp_path / "w")
    assert told["stages"] == ["cam"]
    assert [(image["id"], image["quality"], image["miou"]) for image in told["images"]] == [(i, None, None) for i in TRAIN]
    assert "no true masks" in said
    assert "Quality cannot be told: there are no masks here yet. Run: labelseg" in page.text
    assert "Without true masks there are no scores" in page.text


def test_before_anything_ran_it_is_told_once_and_nothing_is_said_of_true_masks(tmp_path, data):
    assert labelseg(tmp_path / "w", "init", "--from", data).exit_code == 0
    page, told, said = made(tmp_path / "w")
    assert told["images"] == [] and "true masks" not in said
    assert page.text.count("Quality cannot be told: there are no masks here yet") == 1


def test_what_is_damaged_is_told_and_the_rest_is_shown(finished):
    for file in (finished / ".labelseg" / "objects" / "cam").glob("*/*.zarr/**/*"):
        if file.is_file() and file.name != "zarr.json":
            file.write_bytes(b"\0" * file.stat().st_size)
    page, told, said = made(finished)
    cam, spread, _ = told["images"][0]["panels"]
    assert (cam["layers"], len(spread["layers"])) == ([], 1)
    assert "damaged" in cam["missing"]
    assert "cam (train) cannot be scored" in said
    assert "cam (train) cannot be scored" in page.text


def test_a_manifest_that_is_gone_leaves_out_its_stage(finished):
    for path in (finished / ".labelseg" / "manifests" / "cam").glob("*.json"):
        path.unlink()
    page, told, _ = made(finished)
    assert told["stages"] == ["spread", "truth"]
    assert "the manifest of cam (train) is gone" in page.text


def test_only_so_many_images_are_shown(finished):
    _, told, _ = made(finished, "--images", 2)
    assert len(told["images"]) == 2


def test_an_instance_beside_the_chain_is_shown_with_what_it_reads_when_it_is_named(finished):
    for words in (("cam", "--as", "low"), ("spread", "--as", "low", "--cam", "cam@low", "--rows", 4)):
        assert labelseg(finished, *words).exit_code == 0
    assert made(finished)[1]["stages"] == ["cam", "spread", "truth"]
    _, told, _ = made(finished, "spread@low")
    assert told["stages"] == ["cam@low", "spread@low", "cam", "spread", "truth"]
    shown = {panel["stage"]: opacity(panel["layers"][0]) for panel in told["images"][0]["panels"]}
    assert (shown["spread@low"][:4].max(), shown["spread@low"][4:, 5:].min()) == (0, 255)
    assert told["images"][0]["iou"]["cat"] == 0.5


def test_where_the_chain_has_no_masks_the_newest_are_shown(tmp_path, data):
    assert labelseg(tmp_path / "w", "init", "--from", data).exit_code == 0
    for name in ("one", "two"):
        assert labelseg(tmp_path / "w", "spread", "--as", name).exit_code == 0
    _, told, said = made(tmp_path / "w")
    assert (told["stages"], len(told["images"])) == (["cam", "spread@two", "truth"], 3)
    assert "no masks here yet" not in said
