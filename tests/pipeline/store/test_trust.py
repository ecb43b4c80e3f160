"""What someone else wrote into the folder is never believed: every record proves that it is what was named."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import zarr

from labelseg.errors import ArtifactError, DamageError, LabelsegError
from labelseg.pipeline.files.seals import BLANK, intact_seal, seal
from labelseg.pipeline.run.options import RunOptions
from labelseg.pipeline.run.repair import repair
from labelseg.pipeline.store.checking import Problem
from labelseg.pipeline.store.headers import PartHeader
from labelseg.pipeline.store.soundness import Notes
from tests.pipeline import toy

HERE = RunOptions(workers=0, device="cpu")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The chain on one split, and its maps on another, made once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        root = toy.make(tmp_path_factory.mktemp("finished") / "w")
        toy.ToyWorkspace(root).run(options=HERE)
        for instance in ("spread", "refine"):
            toy.ToyWorkspace(root).run(instance, "val", options=HERE)
    toy.computed(root)
    return root


@pytest.fixture
def root(finished, tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    return Path(shutil.copytree(finished, tmp_path / "w"))


def store(root: Path):
    return toy.ToyWorkspace(root).store


def reseal(path: Path, pattern: str, text: str) -> None:
    """Change a record as someone would who knows seals."""
    data = re.sub(r'("seal": ?)"[0-9a-f]{32}"', rf'\1"{BLANK}"', re.sub(pattern, text, path.read_text(), count=1))
    path.write_bytes(seal(data.encode()))


def part_of(root: Path, instance: str, split: str) -> Path:
    ws = toy.ToyWorkspace(root)
    part = ws.catalog.named(ws.ref(instance, split)).items[0].part
    return next((root / ".labelseg" / "objects").glob(f"*/*/{part}.zarr"))


def manifest_of(root: Path, instance: str, split: str) -> Path:
    ws = toy.ToyWorkspace(root)
    return ws.catalog.manifest_path(ws.ref(instance, split).stage, ws.ref(instance, split).key)


def ref_of(root: Path, instance: str, split: str) -> Path:
    return toy.ToyWorkspace(root).catalog.ref_path(instance, split)


def states(root: Path) -> dict[tuple[str, str], str]:
    return {(row.instance, row.split): row.state for row in toy.ToyWorkspace(root).status()}


def test_a_seal_is_the_digest_of_the_text_with_a_blank_in_its_place():
    sealed = seal(b'{"a":1,"seal":"' + BLANK.encode() + b'"}')
    assert intact_seal(sealed) == json.loads(sealed)["seal"] != BLANK
    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        with pytest.raises(ValueError, match=r"the content is not what was written|it has no seal"):
            intact_seal(bytes(changed))


# Names


def test_a_key_that_climbs_is_never_followed(root, tmp_path):
    victim = tmp_path / "victim.json"
    victim.write_text("{}")
    reseal(ref_of(root, "cam", "train"), r'"key": "[0-9a-f]{32}"', '"key": "../../../../victim"')
    toy.ToyWorkspace(root).run(options=HERE)
    assert victim.read_text() == "{}"
    assert toy.computed(root) == []
    assert states(root)["cam", "train"] == "fresh"


@pytest.mark.parametrize("name", ["instance", "split", "tag"])
def test_a_ref_of_a_name_that_no_file_can_have_is_damaged(root, name):
    reseal(ref_of(root, "cam", "train"), rf'"{name}": "[^"]*"', rf'"{name}": "\\\\ud800"')
    catalog = toy.ToyWorkspace(root).catalog
    with pytest.raises(DamageError, match=r"train\.json is the ref of .*\. Repair: labelseg verify --repair cam") as told:
        catalog.ref("cam", "train")
    assert str(told.value).encode()
    assert ("cam", "train") not in {(ref.instance, ref.split) for ref in catalog.refs(tagged=True)}
    assert states(root)["cam", "train"] == "damaged"


@pytest.mark.parametrize(
    ("pattern", "text", "told"),
    [
        (r'\["t000",("[0-9a-f]{32}"),"[0-9a-f]{32}"', r'["t000",\1,"../../../../x"', "is no part"),
        (r'\["t000"', '["../../../t000"', "would lead out of a folder"),
        (r'\["t000"', '["/t000"', "would lead out of a folder"),
        (r'\["t000",("[0-9a-f]{32}","[0-9a-f]{32}"),0', r'["t000",\1,"0"', "index of an item is of another type"),
        (r'\["t000"', '["t009"', "its digest is not that of its items"),
    ],
)
def test_a_manifest_whose_names_lead_elsewhere_is_damaged(root, pattern, text, told):
    path = manifest_of(root, "cam", "train")
    reseal(path, pattern, text)
    with pytest.raises(DamageError, match=told):
        toy.ToyWorkspace(root).catalog.load("cam", path.stem)


@pytest.mark.parametrize("change", [("scores", "../../x"), ("float32", "object"), ("[1,2],0", "[1,-2],0"), ("[1,2],0", "[1,2],-8")])
def test_a_header_whose_arrays_lead_elsewhere_is_damaged(root, change):
    path = part_of(root, "cam", "train")
    reseal(path / "zarr.json", re.escape(change[0]), change[1])
    with pytest.raises(DamageError, match="header is damaged"):
        PartHeader.read(path)


# Swaps and edits


def swaps(root: Path) -> dict[str, tuple[Path, Path]]:
    """Pairs of files of one kind that change places."""
    chunk = Path("data/mask.uint8/c/0")
    return {
        "refs of two splits": (ref_of(root, "refine", "train"), ref_of(root, "refine", "val")),
        "refs of two instances": (ref_of(root, "refine", "train"), ref_of(root, "spread", "train")),
        "manifests of two splits": (manifest_of(root, "refine", "train"), manifest_of(root, "refine", "val")),
        "manifests of two stages": (manifest_of(root, "refine", "train"), manifest_of(root, "spread", "train")),
        "parts": (part_of(root, "refine", "train"), part_of(root, "refine", "val")),
        "headers": (part_of(root, "refine", "train") / "zarr.json", part_of(root, "refine", "val") / "zarr.json"),
        "arrays": (part_of(root, "refine", "train") / chunk, part_of(root, "spread", "train") / chunk),
    }


KINDS = ["refs of two splits", "refs of two instances", "manifests of two splits", "manifests of two stages", "parts", "headers", "arrays"]


def swap(left: Path, right: Path) -> None:
    aside = left.with_name("aside")
    left.rename(aside)
    right.rename(left)
    aside.rename(right)


@pytest.mark.parametrize("kind", KINDS)
def test_files_that_changed_places_are_never_read_as_what_they_are_not(root, kind):
    before = {split: {i: a["mask"].tolist() for i, a in toy.ToyWorkspace(root)["refine", split].items()} for split in ("train", "val")}
    swap(*swaps(root)[kind])
    refused = []
    for split in ("train", "val"):
        try:
            assert {i: a["mask"].tolist() for i, a in toy.ToyWorkspace(root)["refine", split].items()} == before[split]
        except LabelsegError as error:
            refused.append(str(error))
    assert refused
    assert all("labelseg verify --repair refine" in text for text in refused)
    assert {state for (instance, _), state in states(root).items() if instance == "refine"} & {"damaged", "failed"}
    assert states(root)["cam", "train"] == "fresh"


@pytest.mark.parametrize("kind", KINDS)
def test_what_changed_places_is_repaired_by_the_command_that_is_told(root, kind):
    swap(*swaps(root)[kind])
    ws = toy.ToyWorkspace(root)
    problems = ws.store.problems()
    assert all(problem.text.endswith(("labelseg verify --repair refine", "labelseg verify --repair spread")) for problem in problems)
    assert problems
    list(repair(ws, problems, HERE))
    assert store(root).problems() == []
    assert set(states(root).values()) == {"fresh"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_plain_rerun_mends_what_was_found(root, kind):
    swap(*swaps(root)[kind])
    store(root).problems()
    for instance, split in (("spread", "train"), ("spread", "val"), ("refine", "val")):
        toy.ToyWorkspace(root).run(instance, split, options=HERE)
    assert set(states(root).values()) == {"fresh"}
    assert len(toy.ToyWorkspace(root)["refine", "train"]) == 6
    assert all(toy.ToyWorkspace(root)["refine", "train"].values())


@pytest.mark.parametrize("which", ["ref", "manifest", "header"])
def test_no_changed_digit_of_a_record_is_believed(root, which):
    path = {"ref": ref_of(root, "cam", "train"), "manifest": manifest_of(root, "cam", "train")}.get(
        which, part_of(root, "cam", "train") / "zarr.json"
    )
    data = path.read_bytes()
    rng = random.Random(which)
    digits = [position for position, byte in enumerate(data) if chr(byte).isdigit()]
    for position in rng.sample(digits, 40):
        path.write_bytes(data[:position] + str((int(chr(data[position])) + 1) % 10).encode() + data[position + 1 :])
        assert states(root)["cam", "train"] in ("damaged", "failed"), position
        with pytest.raises(LabelsegError, match="labelseg verify --repair cam"):
            list(toy.ToyWorkspace(root)["cam", "train"].values())
    path.write_bytes(data)
    assert store(root).problems("cam") == []
    assert states(root)["cam", "train"] == "fresh"


def test_a_manifest_published_anew_by_another_instance_of_the_same_key_is_no_damage(root):
    ws = toy.ToyWorkspace(root)
    ref = ws.ref("cam", "train")
    manifest = ws.catalog.named(ref)
    ws.catalog.publish(replace(manifest, seconds=9.0), replace=True)
    assert ws.catalog.ref("cam", "train").manifest != ws.catalog.load("cam", ref.key).seal
    assert states(root)["cam", "train"] == "fresh"


def test_records_from_before_there_were_seals_are_read_and_proved_by_what_they_hold(root):
    for path in (root / ".labelseg").rglob("*.json"):
        unsealed(path)
    assert set(states(root).values()) == {"fresh"}
    assert store(root).problems() == []
    swap(manifest_of(root, "refine", "train"), manifest_of(root, "refine", "val"))
    with pytest.raises(ArtifactError, match="it is the manifest"):
        toy.ToyWorkspace(root)["refine", "train"]


def unsealed(path: Path) -> None:
    """Write a record as it was written before there were seals."""
    values = json.loads(path.read_text())
    inner = values.get("attributes", values)
    for name in ("seal", "manifest", "parts", "part"):
        inner.pop(name, None)
    inner["format"] = 1
    path.write_text(json.dumps(values, separators=(",", ":")))


# Damage and repair


@pytest.mark.parametrize(
    ("instance", "split", "array"), [("cam", "val", "scores.float32"), ("refine", "val", "mask.uint8"), ("spread", "train", "mask.uint8")]
)
def test_an_item_whose_array_is_damaged_is_computed_alone(root, instance, split, array):
    part = part_of(root, instance, split)
    flat = zarr.open_array(part / "data" / array, mode="r+")
    flat[0] = flat[0] + 1  # sound as zarr sees it
    damaged = PartHeader.read(part).items[0].id
    with pytest.raises(DamageError, match=rf"{damaged}: .*the content is not what was written.*--repair {instance}"):
        list(toy.ToyWorkspace(root)[instance, split].values())
    assert Notes(root / ".labelseg").all() == {(instance, part.stem)}
    assert states(root)[instance, split] == "failed"
    toy.ToyWorkspace(root).run(instance, split, options=HERE)
    assert toy.computed(root) == [f"{instance} {damaged}"]
    assert (set(states(root).values()), store(root).problems()) == ({"fresh"}, [])
    assert Notes(root / ".labelseg").all() == set()


def test_a_model_that_lost_a_tensor_is_trained_again_to_the_same_bytes(root):
    (part_of(root, "train-segmenter", "") / "zarr.json").unlink()
    assert states(root)["train-segmenter", ""] == "failed"
    assert states(root)["refine", "train"] == "fresh"
    ws = toy.ToyWorkspace(root)
    list(repair(ws, ws.store.problems(), HERE))
    assert toy.computed(root) == ["train-segmenter"]
    assert (set(states(root).values()), store(root).problems()) == ({"fresh"}, [])


def test_a_false_alarm_costs_nothing(root):
    part = part_of(root, "train-classifier", "")
    Notes(root / ".labelseg").add("train-classifier", part.stem)
    toy.ToyWorkspace(root).run(options=HERE)
    assert toy.computed(root) == []
    assert Notes(root / ".labelseg").all() == set()


def test_a_part_that_cannot_be_read_at_this_moment_is_never_taken_out(root, monkeypatch):
    ws = toy.ToyWorkspace(root)
    before = sorted((root / ".labelseg").rglob("*"))

    def refuse(path, *arguments, **options):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("labelseg.file_kinds.open", refuse, raising=False)
        problems = ws.store.problems()
        with pytest.raises(ArtifactError, match="cannot be read: Permission denied"):
            list(repair(ws, problems, HERE))
    assert [path for path in before if not path.exists()] == []
    assert set(states(root).values()) == {"fresh"}


def test_what_could_not_be_read_once_and_is_sound_now_stays(root):
    doubtful = [part_of(root, "cam", "train"), manifest_of(root, "cam", "train"), ref_of(root, "cam", "train")]
    list(repair(toy.ToyWorkspace(root), [Problem(path, "cannot be read", certain=False) for path in doubtful], HERE))
    assert all(path.exists() for path in doubtful)
    assert set(states(root).values()) == {"fresh"}


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_text("{")], ids=["gone", "damaged"])
def test_a_damaged_record_stops_nobody_else(root, harm):
    harm(manifest_of(root, "cam", "val"))
    ref_of(root, "spread", "val").write_text("[]")
    found = states(root)
    assert (found["cam", "val"], found["spread", "val"]) == (
        "damaged" if manifest_of(root, "cam", "val").exists() else "missing",
        "damaged",
    )
    assert {state for (_, split), state in found.items() if split != "val"} == {"fresh"}
    assert len(toy.ToyWorkspace(root)["spread", "train"]) == 6
