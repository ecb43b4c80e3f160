"""Folders of a workspace whose content cannot be told: what lies in them is never taken for gone."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from labelseg.file_kinds import read_file
from labelseg.pipeline.files.paths import unlistable
from tests.cli.conftest import labelseg

FOLDERS = ["refs", "refs/{stage}", "manifests/{stage}", "objects", "objects/{stage}"]


def files(root: Path) -> dict[str, bytes]:
    """Path -> bytes of all records and parts."""
    folders = (root / ".labelseg" / name for name in ("refs", "manifests", "objects"))
    return {str(path.relative_to(root)): path.read_bytes() for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("folder", FOLDERS)
def test_behind_a_link_that_leads_nowhere_nothing_is_removed_or_mended(finished, folder, tmp_path):
    stage = sorted(path.name for path in (finished / ".labelseg" / "objects").iterdir())[0]
    labelseg(finished, "tag", "kept")
    before = files(finished)
    place = finished / ".labelseg" / folder.format(stage=stage)
    shutil.move(place, tmp_path / "disk")
    place.symlink_to(tmp_path / "nowhere")
    for command in (["verify"], ["verify", "--repair"]):
        told = labelseg(finished, *command)
        assert told.exit_code == 1
        assert f"{place} is a link that leads nowhere" in told.output
    assert "Removed: 0 artifacts, 0 parts" in labelseg(finished, "gc").output
    place.unlink()
    shutil.move(tmp_path / "disk", place)
    assert files(finished) == before
    assert labelseg(finished, "verify").exit_code == 0


def test_folders_without_rights_and_links_that_lead_nowhere_are_listed_and_missing_ones_are_not(tmp_path, monkeypatch):
    (tmp_path / "one" / "shut").mkdir(parents=True)
    (tmp_path / "one" / "open").mkdir()
    (tmp_path / "one" / "file").write_text("")
    (tmp_path / "one" / "link").symlink_to(tmp_path / "nowhere")
    scandir = os.scandir

    def guarded(path):
        if Path(path).name == "shut":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    found = {path.name: str(error) for path, error in unlistable(tmp_path / "one", 1)}
    assert list(found) == ["link", "shut"]
    assert "cannot be read: Permission denied" in found["shut"]
    assert "is a link that leads nowhere" in found["link"]
    assert list(unlistable(tmp_path / "missing", 1)) == []
    assert list(unlistable(tmp_path / "one", 0)) == []
    (behind,) = unlistable(tmp_path / "no rights to this either" / "shut", 0)
    assert "cannot be read: Permission denied" in str(behind[1])


def test_a_manifest_that_cannot_be_looked_for_does_not_count_as_gone(finished, monkeypatch):
    lstat = Path.lstat

    def guarded(path):
        if path.parent.name == "spread" and path.parent.parent.name == "manifests":
            raise PermissionError(13, "Permission denied")
        return lstat(path)

    monkeypatch.setattr(Path, "lstat", guarded)
    monkeypatch.setattr("labelseg.pipeline.store.records.read_file", denied)
    monkeypatch.setattr("labelseg.pipeline.store.soundness.read_file", denied)
    told = labelseg(finished, "status")
    assert told.exit_code == 1
    row = next(line for line in told.stdout.splitlines() if line.startswith("spread "))
    assert (row.split()[2], "cannot be read: Permission denied" in row) == ("damaged", True)


def denied(path):
    """Read a file, if it is no manifest of ``spread``."""
    if "manifests/spread" in str(path):
        raise PermissionError(13, "Permission denied")
    return read_file(path)
