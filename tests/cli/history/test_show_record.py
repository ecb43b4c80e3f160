"""show: how an artifact was made, where its values stand now, and what it was made from."""

from __future__ import annotations

import json
import re

from conftest import labelseg


def facts(root, *words):
    return json.loads(labelseg(root, "show", *words, "--json").stdout)


def test_each_value_is_told_with_where_it_stands_now(finished, monkeypatch):
    assert labelseg(finished, "spread", "--rows", "2").exit_code == 0
    assert facts(finished, "spread")["origins"] == {"cam": "default", "rows": "labelseg.toml [spread]"}
    labelseg(finished, "config", "spread.rows", "5")
    found = facts(finished, "spread")
    assert (found["parameters"]["rows"], found["origins"]["rows"]) == (2, "now 5: labelseg.toml [spread]")
    monkeypatch.setenv("LABELSEG_SPREAD__ROWS", "2")
    assert facts(finished, "spread")["origins"]["rows"] == "LABELSEG_SPREAD__ROWS"
    assert re.search(r"\n  rows +2 +LABELSEG_SPREAD__ROWS\n", labelseg(finished, "show", "spread").stdout)


def test_what_was_read_is_told_with_whether_it_still_stands(finished):
    (parent,) = facts(finished, "spread")["parents"].items()
    assert (parent[0], parent[1]["instance"], parent[1]["split"], parent[1]["stands"]) == ("cam", "cam", "train", True)
    assert facts(finished, "cam")["parents"]["model"]["split"] == ""
    labelseg(finished, "config", "train-net.epochs", "9")
    labelseg(finished, "train-net")
    assert facts(finished, "cam")["parents"]["model"]["stands"] is False
    assert re.search(r"\n  model +train-net +has changed since\n", labelseg(finished, "show", "cam").stdout)


def test_the_record_names_run_versions_device_and_the_tags_that_keep_it(finished):
    labelseg(finished, "tag", "before", "spread")
    found = facts(finished, "spread")
    assert (found["device"], found["version"], found["kept_by"], found["tag"]) == ("cpu", 1, ["before"], "")
    assert found["libraries"].keys() >= {"labelseg", "numpy"}
    assert json.loads(labelseg(finished, "log", "--run", found["run"], "--json").stdout)["target"] == "spread"
    labelseg(finished, "spread", "--rows", "3")
    assert facts(finished, "spread")["kept_by"] == []
    kept = facts(finished, "spread", "--tag", "before")
    assert (kept["parameters"]["rows"], kept["tag"], kept["kept_by"]) == (0, "before", ["before"])
