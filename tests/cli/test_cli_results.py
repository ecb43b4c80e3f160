"""predict, export, show, config, verify, gc, doctor and demo."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
import toy_chain
from conftest import TRAIN, labelseg
from PIL import Image
from safetensors.numpy import load_file

from labelseg.commands.running import upkeep
from labelseg.commands.setup import demonstrations as demo
from labelseg.commands.workspace_file import workspace_text
from labelseg.data.formats.palette import voc_palette
from labelseg.pipeline.declare.config import Config
from labelseg.pipeline.plan.graph import resolve
from labelseg.stages import STAGES
from labelseg.workspace import Workspace


def indices(path) -> np.ndarray:
    image = Image.open(path)
    assert image.mode == "P"
    return np.array(image)


def test_predict_writes_a_palette_mask_for_every_image(finished, data, tmp_path):
    result = labelseg(finished, "predict", data / "images", "--workers", 0, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    written = sorted(path.name for path in (tmp_path / "out" / "masks").iterdir())
    assert written == ["a1.png", "a2.png", "a3.png", "b1.png", "b2.png"]
    for name in written:
        assert (indices(tmp_path / "out" / "masks" / name) == np.array(Image.open(data / "masks" / name))).all()
    assert result.stdout.splitlines() == [str(tmp_path / "out" / "masks" / name) for name in written]
    assert (tmp_path / "out" / "classes.txt").read_text() == "background\ncat\ndog\n"


def test_predict_with_confidence_and_overlay(finished, data, tmp_path):
    out = tmp_path / "out"
    result = labelseg(finished, "predict", data / "images" / "a1.png", "-o", out, "--confidence", "--overlay")
    assert result.exit_code == 0, result.output
    assert np.unique(np.array(Image.open(out / "confidences" / "a1.png"))).tolist() == [128]
    assert Image.open(out / "overlays" / "a1.jpg").size == (10, 8)
    assert [path.name for path in (out / "masks").iterdir()] == ["a1.png"]


def test_a_bad_file_is_told_and_the_others_go_on(finished, data, tmp_path):
    (data / "images" / "a0.png").write_bytes(b"no image")
    result = labelseg(finished, "predict", data / "images", "--workers", 0, "-o", tmp_path / "out")
    assert result.exit_code == 3
    assert "a0.png" in result.stderr
    assert "1 of 6 images could not be segmented" in result.stderr
    assert len(list((tmp_path / "out" / "masks").iterdir())) == 5
    assert "a0.png" in labelseg(finished, "predict", data / "images", "--workers", 0, "-o", tmp_path / "out").stderr


def made(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (out / "masks").iterdir()}


def test_predict_goes_on_where_it_was(finished, data, tmp_path):
    out = tmp_path / "out"
    first = labelseg(finished, "predict", data / "images", "--workers", 0, "-o", out)
    before = made(out)
    (out / "masks" / "a2.png").unlink()
    shutil.copy(data / "images" / "b1.png", data / "images" / "b2.png")
    again = labelseg(finished, "predict", data / "images", "--workers", 0, "-o", out)
    assert again.exit_code == 0
    assert "3 images of 5 done before" in again.stderr
    assert sorted(again.stdout.splitlines()) == sorted(first.stdout.splitlines())
    assert {name for name, time in made(out).items() if time != before[name]} == {"a2.png", "b2.png"}
    assert (indices(out / "masks" / "b2.png") == indices(out / "masks" / "b1.png")).all()


@pytest.mark.parametrize(("change", "more"), [(["train-net", "--epochs", "9"], []), (["status"], ["--overlay"])])
def test_predict_begins_anew_for_another_model_or_other_files(finished, data, tmp_path, change, more):
    labelseg(finished, "predict", data / "images", "--workers", 0, "-o", tmp_path / "out")
    assert labelseg(finished, *change).exit_code == 0
    assert "done before" not in labelseg(finished, "predict", data / "images", "--workers", 0, "-o", tmp_path / "out", *more).stderr


@pytest.mark.parametrize("journal", ["no json\n", "[1]\n", '["a1", 3]\n', "{}\n"])
def test_predict_believes_no_damaged_journal(finished, data, tmp_path, journal):
    out = tmp_path / "out"
    out.mkdir()
    (out / ".predicted.jsonl").write_text(journal)
    result = labelseg(finished, "predict", data / "images", "--workers", 0, "-o", out)
    assert result.exit_code == 0
    assert len(made(out)) == 5


def test_predict_in_processes_writes_the_same_bytes(finished, data, tmp_path):
    for workers in (0, 2):
        out = tmp_path / str(workers)
        result = labelseg(
            finished, "predict", data / "images", "--workers", 0, "-o", out, "--workers", workers, "--confidence", "--overlay"
        )
        assert result.exit_code == 0, result.output
    for path in (tmp_path / "0").rglob("*.*g"):
        assert path.read_bytes() == (tmp_path / "2" / path.relative_to(tmp_path / "0")).read_bytes()


def test_predict_refuses_a_folder_with_masks_of_other_classes(finished, data, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "classes.txt").write_text("background\ndog\ncat\n")
    result = labelseg(finished, "predict", data / "images", "--workers", 0, "-o", out)
    assert result.exit_code == 2
    assert "masks of other classes" in result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{data}/images/a1.png", "{data}/masks/a1.png", "-o", "{data}/out"], "would both become a1.png"),
        (["{data}/images", "-o", "{data}/images"], "are read from there"),
        (["{data}/images", "-o", "{data}/images/out"], "are read from there"),
        (["{data}/masks", "-o", "{data}"], "are read from there"),
        (["{data}/images", "-o", "{data}/out", "--with", "spread"], "cannot segment loose images"),
        (["{data}/nothing.png", "-o", "{data}/out"], "nothing.png"),
    ],
)
def test_predict_refuses(finished, data, words, message):
    result = labelseg(finished, "predict", *(word.format(data=data) for word in words))
    assert result.exit_code == 2
    assert message in result.stderr.replace("\n", " ")
    assert not (data / "out").exists()


def test_predict_tells_that_a_model_is_stale(finished, data, tmp_path):
    labelseg(finished, "config", "train-net.epochs", "5")
    result = labelseg(finished, "predict", data / "images" / "a1.png", "-o", tmp_path / "out")
    assert result.exit_code == 0
    assert "train-net is stale: parameter epochs: 2 -> 5. Using the existing result." in result.stderr


def test_predict_needs_a_model(data, tmp_path):
    labelseg(tmp_path / "w", "init", "--from", data)
    result = labelseg(tmp_path / "w", "predict", data / "images", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "predict needs train-net, which has never run here. Run: labelseg train-net" in result.stderr


def test_export_writes_masks_and_classes(finished, data, tmp_path):
    assert labelseg(finished, "export", "spread", "-o", tmp_path / "out").exit_code == 0
    for image_id in TRAIN:
        assert (indices(tmp_path / "out" / f"{image_id}.png") == np.array(Image.open(data / "masks" / f"{image_id}.png"))).all()
    assert (tmp_path / "out" / "classes.txt").read_text() == "background\ncat\ndog\n"


def test_export_of_a_model(finished, tmp_path):
    assert labelseg(finished, "export", "train-net", "--model", tmp_path / "net.safetensors").exit_code == 0
    assert load_file(tmp_path / "net.safetensors")["w"].tolist() == [2]
    data = (tmp_path / "net.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    assert list(json.loads(data[8 : 8 + length])["__metadata__"]) == ["instance", "key", "meta", "metrics"]  # equal bytes in every process
    assert length % 8 == 0


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("cam -o out", 2, "cam makes no masks. Name one of: spread, segment."),
        ("train-net -o out", 2, "--model FILE.safetensors"),
        ("train-net --model net.pth", 2, "ends in .safetensors"),
        ("spread", 2, "labelseg export spread -o DIR"),
        ("spread --split val -o out", 1, "has never run here on val"),
        ("spread --split vall -o out", 2, "the data has no split 'vall'. Did you mean 'val'?"),
    ],
)
def test_export_refuses(finished, tmp_path, monkeypatch, words, code, message):
    monkeypatch.chdir(tmp_path)
    result = labelseg(finished, "export", *words.split())
    assert result.exit_code == code
    assert message in result.stderr


def test_show_tells_what_an_artifact_was_made_from(finished):
    facts = json.loads(labelseg(finished, "show", "spread", "--json").stdout)
    assert (facts["instance"], facts["split"], facts["items"], facts["failed"]) == ("spread", "train", 3, [])
    assert facts["reads"] == {"cam": {"cam": {"model": "train-net"}}}
    assert facts["parameters"]["rows"] == 0
    assert facts["bytes"] > 100


def test_show_a_model(finished):
    lines = labelseg(finished, "show", "train-net").stdout.splitlines()
    assert "    mAP                0.75" in lines


def test_show_an_image(finished):
    output = labelseg(finished, "show", "spread", "a1").stdout
    assert "uint8 8 x 10, 0 to 1" in output
    assert [line.split() for line in output.splitlines()[-2:]] == [["background", "50.0", "%"], ["cat", "50.0", "%"]]


@pytest.mark.parametrize("name", ["images/a1.png", "A1", "a1.jpg"])
def test_an_image_is_shown_under_any_name_it_goes_by(finished, name):
    assert labelseg(finished, "show", "spread", name).stdout == labelseg(finished, "show", "spread", "a1").stdout


def test_an_image_of_another_split_is_told_with_it(finished):
    message = labelseg(finished, "show", "spread", "b1.png").stderr
    assert "spread holds no image 'b1.png'. 'b1' is in the split val. To have it: labelseg spread --split val" in message
    assert labelseg(finished, *re.search(r"labelseg (spread --split val)", message)[1].split()).exit_code == 0
    assert labelseg(finished, "show", "spread", "b1.png").exit_code == 0


def test_a_sheet_shows_the_stages_side_by_side(finished, tmp_path):
    result = labelseg(finished, "show", "spread", "a1", "--plot", tmp_path / "sheet.png")
    assert "Drew image, cam, spread, truth" in result.stderr
    sheet = Image.open(tmp_path / "sheet.png")
    assert sheet.size == (4 * 300 + 3 * 4, 240 + 16 + 16)
    legend = np.asarray(sheet)[-16:].reshape(-1, 3)
    assert (legend == voc_palette()[1]).all(axis=1).any()
    assert not (legend == voc_palette()[2]).all(axis=1).any()


@pytest.mark.parametrize("words", [("spread", "a1"), ("train-net",)])
def test_a_picture_of_unknown_kind_is_one_line(finished, tmp_path, words):
    result = labelseg(finished, "show", *words, "--plot", tmp_path / "sheet.xyz")
    assert result.exit_code == 2
    assert "expected a file name that ends as pictures do, such as sheet.png." in " ".join(result.stderr.split())


def test_export_writes_grey_values_where_asked(finished, tmp_path):
    assert labelseg(finished, "export", "spread", "-o", tmp_path, "--grey").exit_code == 0
    assert Image.open(tmp_path / "a2.png").mode == "L"
    assert set(np.unique(np.array(Image.open(tmp_path / "a2.png")))) == {0, 2}


def test_curves_of_a_model_are_drawn(finished, tmp_path):
    pytest.importorskip("matplotlib")
    assert labelseg(finished, "show", "train-net", "--plot", tmp_path / "curves.png").exit_code == 0
    assert Image.open(tmp_path / "curves.png").size[0] > 100


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("cam zz", "cam holds no image 'zz'. It holds: a1, a2, a3."),
        ("cam a11", "cam holds no image 'a11'. Did you mean 'a1'?"),
        ("train-net a1", "is a model and holds no images"),
        ("cam --split val", "cam has never run here on val"),
    ],
)
def test_show_refuses(finished, words, message):
    result = labelseg(finished, "show", *words.split())
    assert result.exit_code in (1, 2)
    assert message in result.stderr


def test_config_tells_where_each_value_comes_from(finished, monkeypatch):
    labelseg(finished, "config", "cam.flip", "no")
    labelseg(finished, "config", "cam@b.scales", "1,2")
    monkeypatch.setenv("LABELSEG_CAM__RULE", "irn")
    rows = [re.split(" {2,}", line) for line in labelseg(finished, "config", "cam").stdout.splitlines()]
    assert ["cam.model", '"train-net"', "default"] in rows
    assert ["cam.flip", "false", "labelseg.toml [cam]"] in rows
    assert ["cam.rule", '"irn"', "LABELSEG_CAM__RULE"] in rows
    assert ["cam.b.flip", "false", "labelseg.toml [cam]"] in rows
    assert ["cam.b.scales", "[1.0, 2.0]", "labelseg.toml [cam.b]"] in rows


def test_config_sets_and_unsets(finished):
    assert labelseg(finished, "config", "cam.scales", "0.5,2").exit_code == 0
    assert tomllib.loads((finished / "labelseg.toml").read_text())["cam"]["scales"] == [0.5, 2.0]
    assert labelseg(finished, "config", "cam.scales", "--unset").exit_code == 0
    assert "scales" not in (finished / "labelseg.toml").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("cam.scale 1", "Did you mean 'scales'?"),
        ("cma.scales 1", "Did you mean 'cam'?"),
        ("cam.scales x", "expected a number"),
        ("run.target segmnt", "Did you mean 'segment'?"),
        ("run.goal segment", "has no key 'goal'"),
        ("data.mask x", "Did you mean 'masks'?"),
        ("cam.flp", "Did you mean 'cam.flip'?"),
        ("scales 1", "expected a key such as"),
        ("cam.scales 1 --unset", "a VALUE, or a KEY and --unset"),
    ],
)
def test_config_refuses(finished, words, message):
    before = (finished / "labelseg.toml").read_bytes()
    result = labelseg(finished, "config", *words.split())
    assert result.exit_code == 2
    assert message in result.stderr
    assert (finished / "labelseg.toml").read_bytes() == before


def test_verify_finds_a_changed_byte(finished):
    assert labelseg(finished, "verify").exit_code == 0
    chunk = max(
        (path for path in (finished / ".labelseg" / "objects" / "spread").rglob("*") if path.is_file()), key=lambda p: p.name == "0"
    )
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 255
    chunk.write_bytes(content)
    result = labelseg(finished, "verify", "spread")
    assert result.exit_code == 1
    assert "labelseg verify --repair spread" in result.stdout


def test_gc_removes_what_nothing_stands_for(finished):
    labelseg(finished, "spread", "--rows", "1")
    assert "Would remove: 1 artifact, " in labelseg(finished, "gc", "--dry-run").stderr
    assert "Removed: 1 artifact, " in labelseg(finished, "gc").stderr
    assert labelseg(finished, "status", "--exit-code").exit_code == 0
    assert labelseg(finished, "verify").exit_code == 0


def test_gc_keeps_trials_unless_told(finished):
    labelseg(finished, "spread", "--rows", "1", "--no-save")
    assert "Removed: 0" in labelseg(finished, "gc").stderr
    assert "Removed: 1" in labelseg(finished, "gc", "--unsaved").stderr
    assert labelseg(finished, "evaluate", "--unsaved").exit_code == 1


def test_doctor_tells_versions_and_disk(finished, monkeypatch):
    monkeypatch.setattr(upkeep, "_torch_rows", lambda: [("devices", "cpu")])
    rows = dict(line.split(maxsplit=1) for line in labelseg(finished, "doctor").stdout.splitlines())
    assert rows.keys() >= {"labelseg", "python", "torch", "cores", "devices", "free", "workspace"}


def test_demo_runs_the_chain_on_scenes(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "TAGS", demo.Demo({"train-net": {"epochs": 1}}, ("segment",), scenes={"train": 3, "val": 2}))
    result = labelseg(tmp_path, "demo", "d", "--seed", "3")
    assert result.exit_code == 0, result.output
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["STAGE", "train-net", "segment", "all"]
    tables = tomllib.loads((tmp_path / "d" / "labelseg.toml").read_text())
    assert (tables["data"]["scenes"], tables["train-net"]) == ({"train": 3, "val": 2, "seed": 3}, {"epochs": 1, "seed": 3})
    assert labelseg(tmp_path, "demo", "d", "--seed", "4").exit_code == 2


@pytest.mark.parametrize("shown", [demo.TAGS, demo.FEW_MASKS])
def test_the_parameters_of_the_demo_fit_the_stages(tmp_path, shown):
    path = tmp_path / "labelseg.toml"
    path.write_text(workspace_text(shown.data(7), shown.targets[0], "val", shown.seeded(7)))
    config = Config.load(tmp_path, STAGES, {})
    nodes = {node.instance: node for target in shown.targets for node in resolve(config, target, "val")}
    assert {instance.partition("@")[0] for instance in shown.tables} <= {*(name.partition("@")[0] for name in nodes), "segment.supervised"}
    assert all(node.params.seed == 7 for node in nodes.values() if node.is_model)


def test_demo_of_few_masks_writes_its_lists_once(tmp_path, monkeypatch):
    shown = demo.Demo({"train-net": {"epochs": 1}}, ("segment",), labelled=2, scenes={"train": 5, "val": 2})
    monkeypatch.setattr(demo, "FEW_MASKS", shown)
    assert labelseg(tmp_path, "demo", "--few-masks").exit_code == 0
    lists = {name: (tmp_path / "demo-few-masks/splits" / f"{name}.txt").read_text().split() for name in ("few", "many")}
    assert len(lists["few"]) == 2
    assert sorted(lists["few"] + lists["many"]) == [f"train_{k:04}" for k in range(5)]
    assert labelseg(tmp_path, "demo", "--few-masks").exit_code == 0


def test_gc_removes_what_an_instance_made_that_left_the_file(finished):
    assert labelseg(finished, "spread", "--as", "wide", "--rows", "1").exit_code == 0
    text = (finished / "labelseg.toml").read_text()
    (finished / "labelseg.toml").write_text(text[: text.index("[spread.wide]")])
    assert labelseg(finished, "evaluate").exit_code == 0  # what it made is scored as long as it is there
    assert "Would remove: 1 artifact" in labelseg(finished, "gc", "--dry-run").stderr
    assert "Removed: 1 artifact" in labelseg(finished, "gc").stderr
    assert "spread@wide" not in labelseg(finished, "status").stdout
    assert labelseg(finished, "status", "--exit-code").exit_code == 0


def test_gc_keeps_the_checkpoints_of_the_training_that_would_go_on_from_them(finished):
    from labelseg.pipeline.run.status import wanted_keys

    assert labelseg(finished, "config", "train-net.epochs", "9").exit_code == 0
    keys = {key for stage, key in wanted_keys(Workspace(finished, stages=toy_chain.STAGES)) if stage == "train-net"}
    folder = finished / ".labelseg" / "checkpoints" / "train-net"
    for name in (*keys, "0" * 32):
        (folder / name).mkdir(parents=True)
        (folder / name / "state.ckpt").write_bytes(b"x" * 100)
    assert "1 checkpoint, " in labelseg(finished, "gc", "--dry-run").stderr
    assert "1 checkpoint, " in labelseg(finished, "gc").stderr
    assert {path.name for path in folder.iterdir()} == keys


def test_gc_keeps_checkpoints_while_nobody_can_tell_what_would_go_on(finished):
    folder = finished / ".labelseg" / "checkpoints" / "train-net" / ("0" * 32)
    folder.mkdir(parents=True)
    images = (finished / tomllib.loads((finished / "labelseg.toml").read_text())["data"]["images"]).resolve()
    images.rename(images.with_name("unmounted"))
    try:
        assert "0 checkpoints, " in labelseg(finished, "gc").stderr
    finally:
        images.with_name("unmounted").rename(images)
    assert folder.exists()
    assert "1 checkpoint, " in labelseg(finished, "gc").stderr


def test_a_full_disk_does_not_keep_the_status_from_being_told(finished, monkeypatch):
    def full(self):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("labelseg.pipeline.files.fingerprint.FileIndex.save", full)
    result = labelseg(finished, "status")
    assert result.exit_code == 0
    assert "spread" in result.stdout


@pytest.mark.parametrize("words", [["export", "spread"], ["predict", "IMAGE", "--with", "segment"]])
@pytest.mark.parametrize(
    ("folder", "harm"),
    [("images/out", "would count as images"), ("images", "would count as images"), ("masks", "true masks there would be overwritten")],
)
def test_nothing_is_written_among_the_images_or_over_true_masks(finished, words, folder, harm):
    data = (finished / tomllib.loads((finished / "labelseg.toml").read_text())["data"]["images"]).parent
    image = tmp_copy(next((data / "images").glob("*.png")), finished)
    before = {path: path.read_bytes() for path in data.rglob("*.png")}
    result = labelseg(finished, *(image if word == "IMAGE" else word for word in words), "-o", data / folder)
    assert result.exit_code == 2
    assert harm in result.stderr
    assert {path: path.read_bytes() for path in data.rglob("*.png")} == before


def tmp_copy(path, folder):
    """An image outside of the data."""
    return Path(shutil.copy(path, folder / "loose.png"))
