"""What gc clears and what it never touches; what verify tells and repairs."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from labelseg.pipeline.files.seals import BLANK, seal_tensors
from labelseg.pipeline.store.headers import part_path
from labelseg.pipeline.store.manifests import LOST, Catalog
from labelseg.pipeline.store.mending import mend
from labelseg.pipeline.store.store import Store
from tests.cli.conftest import labelseg


def folder(root: Path) -> Path:
    return root / ".labelseg"


def everything(root: Path) -> dict[Path, tuple[int, float]]:
    return {path: (path.lstat().st_size, path.lstat().st_mtime_ns) for path in root.rglob("*")}


def checkpoint(root: Path, key: str) -> Path:
    """Leave a checkpoint as a training does."""
    path = folder(root) / "checkpoints" / "train-net" / key / "last.safetensors"
    path.parent.mkdir(parents=True)
    save_file({"w": np.zeros(3)}, path, metadata={"record": "{}", "seal": BLANK})
    seal_tensors(path)
    return path


def test_a_dry_run_of_gc_writes_nothing_at_all(finished):
    shutil.rmtree(folder(finished) / "locks", ignore_errors=True)
    shutil.rmtree(folder(finished) / "refs" / "spread")
    (folder(finished) / "tmp" / "left").mkdir(parents=True)
    before = everything(finished)
    result = labelseg(finished, "gc", "--dry-run")
    assert result.output.startswith("Would remove: 1 artifact, ")
    assert everything(finished) == before


def test_checkpoints_of_finished_trainings_go_and_those_of_unfinished_ones_stay(finished):
    ref = json.loads((folder(finished) / "refs" / "train-net" / "model.json").read_text())
    left = checkpoint(finished, ref["key"])
    assert "1 checkpoint," in labelseg(finished, "gc").output
    assert not left.exists()
    (folder(finished) / "manifests" / "train-net" / f"{ref['key']}.json").unlink()
    left = checkpoint(finished, ref["key"])
    labelseg(finished, "gc")
    assert left.exists()


def test_old_logs_go_unless_something_that_stands_was_made_by_the_run(finished):
    runs = folder(finished) / "runs"
    made = {json.loads(path.read_text())["run"] for path in folder(finished).glob("refs/*/*.json")}
    for name in ("20200101-000000-0123ab", "2020-notes"):
        (runs / name).mkdir()
    (runs / "20200102-000000-0123ab").symlink_to(finished / "images")
    assert "2 logs" in labelseg(finished, "gc").output
    assert not (runs / "20200101-000000-0123ab").exists()
    assert not (runs / "20200102-000000-0123ab").is_symlink()
    labelseg(finished, "gc", "--keep-logs", 0)
    assert made <= {path.name for path in runs.iterdir()}
    assert (runs / "2020-notes").exists()


def test_digests_of_images_that_are_gone_are_forgotten(finished):
    index = folder(finished) / "files.json"
    index.write_text(json.dumps({"format": 1, "files": {"/gone/a.png": [1, 2, 3, "0" * 32]}}))
    assert "1 remembered digest" in labelseg(finished, "gc").output
    assert "/gone/a.png" not in json.loads(index.read_text())["files"]


def test_gc_removes_no_artifact_while_a_ref_cannot_be_read(finished):
    (folder(finished) / "refs" / "spread" / "train.json").write_text("{")
    parts = sorted(folder(finished).glob("objects/*/*/*"))
    result = labelseg(finished, "gc")
    assert "No artifact goes, because" in result.output
    assert "labelseg verify --repair spread" in result.output
    assert sorted(folder(finished).glob("objects/*/*/*")) == parts
    assert labelseg(finished, "verify", "--repair").exit_code == 0
    assert "No artifact goes" not in labelseg(finished, "gc").output


@pytest.mark.parametrize("position", [8, 60, -1])
def test_a_damaged_checkpoint_is_told_and_taken_out(finished, position):
    path = checkpoint(finished, "0" * 32)
    assert labelseg(finished, "verify").exit_code == 0
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)
    result = labelseg(finished, "verify")
    assert (result.exit_code, str(path) in result.stdout) == (1, True)
    assert "labelseg verify --repair train-net" in result.stdout
    assert labelseg(finished, "verify", "--repair", "train-net").exit_code == 0
    assert not path.exists()


def test_a_damaged_part_that_nothing_names_is_told_and_taken_out(finished):
    part = next(folder(finished).glob("objects/spread/*/*.zarr"))
    (folder(finished) / "refs" / "spread" / "train.json").unlink()
    next(folder(finished).glob("manifests/spread/*")).unlink()
    next(part.rglob("c/0")).write_bytes(b"")
    assert "labelseg verify --repair spread" in labelseg(finished, "verify").stdout
    assert labelseg(finished, "verify", "--repair").exit_code == 0
    assert not part.exists()


def test_export_writes_through_no_link_that_leads_out_of_its_folder(finished, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a1.png").symlink_to(tmp_path / "victim.png")
    result = labelseg(finished, "export", "spread", "-o", tmp_path / "out")
    assert (result.exit_code, "it lies beyond" in result.output) == (2, True)
    assert not (tmp_path / "victim.png").exists()


def test_what_is_stale_anyway_loses_what_is_damaged_and_is_left_to_the_next_run(finished):
    next(folder(finished).glob("objects/spread/*/*.zarr/zarr.json")).write_text("{")
    labelseg(finished, "config", "spread.rows", 3)
    result = labelseg(finished, "verify", "--repair")
    assert (result.exit_code, labelseg(finished, "verify").exit_code) == (0, 0)
    assert "spread (train) is stale: what was damaged is taken out. Run: labelseg spread --split train" in result.output
    assert labelseg(finished, "spread", "--split", "train").exit_code == 0
    assert labelseg(finished, "status", "--exit-code").exit_code == 0


def test_a_run_that_repairs_what_a_tag_keeps_lets_the_tag_follow(finished):
    assert labelseg(finished, "tag", "kept").exit_code == 0
    whole = labelseg(finished, "evaluate", "spread", "--tag", "kept").stdout
    chunk = next(next(folder(finished).glob("objects/spread/*/*.zarr")).glob("data/mask*/c/0"))
    data = bytearray(chunk.read_bytes())
    data[8:12] = b"XXXX"
    chunk.write_bytes(data)
    assert labelseg(finished, "evaluate", "spread").exit_code == 1
    again = labelseg(finished, "spread")
    assert again.exit_code == 0
    assert "items were damaged" in again.stderr
    assert "failed" not in again.stderr
    assert labelseg(finished, "verify").exit_code == 0
    assert labelseg(finished, "evaluate", "spread", "--tag", "kept").stdout == whole


def test_what_only_a_tag_keeps_is_missed_aloud_after_a_repair(finished):
    assert labelseg(finished, "tag", "kept").exit_code == 0
    part = next(folder(finished).glob("objects/spread/*/*.zarr"))
    assert labelseg(finished, "spread", "--rows", "1").exit_code == 0
    chunk = next(part.glob("data/mask*/c/0"))
    chunk.write_bytes(chunk.read_bytes()[:-9])
    mended = labelseg(finished, "verify", "--repair")
    assert mended.exit_code == 1
    assert "spread:kept (train) lacks" in mended.stderr
    assert labelseg(finished, "verify").exit_code == 0
    assert labelseg(finished, "spread", "--rows", "0").exit_code == 0
    assert "lacks" not in labelseg(finished, "evaluate", "spread", "--tag", "kept").stderr


def test_a_tag_that_kept_nothing_sound_is_named_when_it_goes(finished):
    assert labelseg(finished, "tag", "kept", "spread").exit_code == 0
    assert labelseg(finished, "spread", "--rows", "1").exit_code == 0
    ref = json.loads((folder(finished) / "refs" / "spread" / "train@kept.json").read_text())
    for part in Catalog(folder(finished)).load("spread", ref["key"]).parts:
        shutil.rmtree(part_path(folder(finished), "spread", part))
    (folder(finished) / "manifests" / "spread" / f"{ref['key']}.json").write_bytes(b"{}")
    mended = labelseg(finished, "verify", "--repair")
    assert mended.exit_code == 1
    assert "spread:kept (train) is gone" in mended.stderr
    assert labelseg(finished, "verify").exit_code == 0


def test_an_artifact_that_lacks_images_says_so_where_it_is_used(finished, tmp_path):
    path = folder(finished) / "refs" / "spread" / "train.json"
    catalog = Catalog(folder(finished))
    manifest = catalog.load("spread", json.loads(path.read_text())["key"])
    lost = manifest.items.pop()
    catalog.publish(replace(manifest, digest="", failed=[{"id": lost.id, "error": LOST}]), replace=True)
    catalog.follow(catalog.load("spread", manifest.key))
    assert labelseg(finished, "tag", "kept", "spread").exit_code == 0
    total = len(manifest.items) + 1
    for words in (
        ["evaluate", "spread", "--tag", "kept"],
        ["export", "spread", "--tag", "kept", "--split", "train", "-o", tmp_path / "out"],
    ):
        assert f"spread:kept (train) lacks 1 of {total} images" in labelseg(finished, *words).stderr
    assert labelseg(finished, "spread").exit_code == 0
    assert "lacks" not in labelseg(finished, "evaluate", "spread", "--tag", "kept").stderr


def test_a_damaged_ref_is_told_by_whatever_reads_it(finished, tmp_path):
    path = folder(finished) / "refs" / "spread" / "train.json"
    path.write_bytes(path.read_bytes()[:200])
    others = labelseg(finished, "evaluate")
    assert others.exit_code == 0
    assert "cam" in others.stdout
    assert str(path) in others.stderr
    for words in (["evaluate", "spread"], ["show", "spread", "t000"], ["export", "spread", "-o", tmp_path / "out"]):
        result = labelseg(finished, *words)
        assert result.exit_code == 1
        assert f"{path} is damaged" in result.stderr
        assert "never run" not in result.stderr


@pytest.mark.parametrize("harm", ["cut", "empty", "link"])
@pytest.mark.parametrize("record", ["refs", "manifests"])
def test_status_says_that_a_record_is_damaged_and_what_mends_it(finished, record, harm):
    path = next((folder(finished) / record / "spread").glob("*.json"))
    data = path.read_bytes()
    path.unlink()
    path.symlink_to(path) if harm == "link" else path.write_bytes(data[: 200 * (harm == "cut")])
    for words in (["status"], ["status", "--json"], ["status", "--exit-code"]):
        result = labelseg(finished, *words)
        assert result.exit_code == 1, result.output
        assert f"1 record cannot be read, the first: {path} " in result.stderr
        remedy = "See that it can, then try again." if harm == "link" else "Repair: labelseg verify --repair spread"
        assert result.stderr.rstrip().endswith(remedy)
    row = next(line for line in labelseg(finished, "status").stdout.splitlines() if line.startswith("spread "))
    assert row.split()[2] == "damaged"
    path.unlink()
    path.write_bytes(data)
    assert labelseg(finished, "status").exit_code == 0


def test_status_says_that_refs_cannot_be_listed(finished, tmp_path):
    refs = folder(finished) / "refs" / "spread"
    refs.rename(tmp_path / "elsewhere")
    refs.symlink_to(tmp_path / "nowhere")
    result = labelseg(finished, "status")
    assert result.exit_code == 1
    assert f"{refs} is a link that leads nowhere" in result.stderr


def test_a_repair_that_was_killed_before_it_made_anew_what_it_took_out_goes_on_when_called_again(finished):
    before = labelseg(finished, "evaluate", "spread", "--json").stdout
    part = next(folder(finished).glob("objects/spread/*/*.zarr"))
    next(part.rglob("c/0")).write_bytes(b"")
    store = Store(folder(finished))
    mend(store, store.problems())
    assert "items were damaged" in labelseg(finished, "status").stdout
    assert labelseg(finished, "verify", "--repair", "cam").exit_code == 0
    assert "items were damaged" in labelseg(finished, "status").stdout
    again = labelseg(finished, "verify", "--repair")
    assert (again.exit_code, "spread (train): computed, " in again.stderr) == (0, True)
    assert labelseg(finished, "status", "--exit-code").exit_code == 0
    assert labelseg(finished, "evaluate", "spread", "--json").stdout == before
