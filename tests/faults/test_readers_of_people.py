"""Readers of what people say, and of what is kept beside artifacts: out comes an error of labelseg, or a plain result."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.faults.ground.processes import call
from benchmarks.faults.ground.toys import STAGES
from labelseg.answers.agreement import agreement, people
from labelseg.answers.answer_files import Answer, answers_path, append_answers, read_answers
from labelseg.answers.correction_files import Correction, append_corrections, corrections_path, read_corrections, store_mask
from labelseg.answers.given_answers import GivenAnswers
from labelseg.answers.given_corrections import GivenCorrections
from labelseg.answers.ledger import Ledger
from labelseg.answers.marks import add_mark, marks_path, read_marks
from labelseg.errors import ArtifactError
from labelseg.pipeline.files.unfinished import Unfinished
from labelseg.pipeline.shares.share_records import ShareFolder, ShareJob, ShareRecord, unfinished_shares
from labelseg.pipeline.store.manifests import Ref
from labelseg.quality.kept import ImageQuality, Measured, keep_measured, kept_measured
from labelseg.results.exchange.mask_import import as_png
from labelseg.results.loose_images import JOURNAL, noted_in
from tests.faults.mutations import bytes_changed, crashes, line_changed, resealed

KEY = "0123456789abcdef" * 2
IMAGES = ("a1", "a2")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A workspace with a file of every kind."""
    root = tmp_path_factory.mktemp("people")
    (root / "images").mkdir()
    for name in IMAGES:
        Image.new("RGB", (3, 2)).save(root / "images" / f"{name}.png")
    (root / "labelseg.toml").write_text('[data]\nimages = "images"\nclasses = ["background", "cat"]\n')
    lines = [
        Answer(image="a1", y=0, x=1, label="cat", who="anna", ms=900, guess="background", more={"nonce": "n1", "browser": "b"}),
        Answer(image="a1", y=0, x=1, label=None, who="ben", kind="repeat", more={"nonce": "n2"}),
        Answer(image="a2", y=1, x=1, label="background", who="anna", kind="mixed", more={"nonce": "n3", "question": "7"}),
        Answer(image="a2", y=1, x=1, label="cat", who="anna", more={"nonce": "n4"}),
        Answer(image="a2", y=0, x=0, label=None, who="anna", kind="flag", more={"on": True}),
        Answer(image="a1", y=0, x=1, label=None, who="anna", kind="undo", more={"undoes": "n1"}),
    ]
    append_answers(answers_path(root, "ask"), lines)
    digest = store_mask(root, as_png(np.ones((2, 3), np.uint8)))
    append_corrections(corrections_path(root, "override"), [Correction("a1", digest, ("background", "cat"), "anna")] * 2)
    for name in IMAGES:
        add_mark(marks_path(root, "spread", "train"), name, "fix", "anna")
    folder = root / ".labelseg"
    parts = {"agreement": 0.5, "kept": None, "confidence": 0.5, "consistent": True, "quality": 0.5}
    images = tuple(ImageQuality(name, KEY, 0.5, 0.5, 0.5, 0.5, {"cat": parts}, {"cat": 0.5}, 0.5) for name in IMAGES)
    keep_measured(folder, Measured("spread", "train", {"spread": KEY}, images))
    shares = ShareFolder(folder, "spread", KEY)
    shares.begin(ShareJob(stage="spread", key=KEY, instance="spread", split="train", shares=2, created="2026-01-01T00:00:00"))
    failed = [{"id": "a2", "error": "no"}]
    about = {"device": "cpu", "seconds": 1.5, "host": "h", "created": "2026-01-01T00:00:00"}
    shares.publish(ShareRecord(stage="spread", key=KEY, share=0, shares=2, items=[["a1", KEY, KEY, 0, KEY]], failed=failed, **about))
    Unfinished(folder).begin("kept", [folder / "refs" / "spread" / "train@kept.json"])
    (root / JOURNAL).write_text("".join(json.dumps([name, KEY]) + "\n" for name in IMAGES))
    return root


def answers(root: Path) -> None:
    """Read answers in all forms in which they are asked for."""
    path = answers_path(root, "ask")
    found = read_answers(path)
    json.dumps([asdict(row) for row in (*people(found), *agreement(found))])
    found.complaints()
    GivenAnswers(root, lambda answer: "").digest("ask", IMAGES)
    ledger = Ledger(path, 0.5)
    ledger.refresh()
    for who in ("anna", "ben"):
        ledger.last(who, "b")
        ledger.seconds(who)
        ledger.due(who, 0)


def corrections(root: Path) -> None:
    """Read the lines of imported masks, and find the masks."""
    read_corrections(corrections_path(root, "override")).current()
    given = GivenCorrections(root)
    for name in IMAGES:
        found = given.of("override", name)
        assert found is None or found.path.resolve().is_relative_to(root.resolve())
    given.digest("override", IMAGES)


def marks(root: Path) -> None:
    """Read marks."""
    found, _ = read_marks(marks_path(root, "spread", "train"))
    assert set(found.values()) <= {"good", "bad", "fix"}


def quality(root: Path) -> None:
    """Read what was measured, and use it as pages and tables do."""
    found = kept_measured(root / ".labelseg", "spread", "train")
    if found is not None:
        found.worst(2)
        found.current(Ref(instance="spread", split="train", key=KEY, digest=KEY, count=2), [])
        json.dumps([[image.quality, dict(image.classes), dict(image.iou), image.miou] for image in found.images], allow_nan=False)
        assert all(0 <= value <= 1 for image in found.images for value in image.iou.values())


def shares(root: Path) -> None:
    """List the shares that are begun, and read their records."""
    for begun in unfinished_shares(root / ".labelseg"):
        begun.folder.damages()
        if begun.job is not None:
            for share in begun.done:
                begun.folder.record(share)


def unfinished(root: Path) -> None:
    """Read the notes of tags in the making."""
    notes = Unfinished(root / ".labelseg")
    for name in notes.names():
        for path in notes.files(name):
            assert path.resolve().is_relative_to((root / ".labelseg").resolve())


def journal(root: Path) -> None:
    """Read which images were segmented."""
    assert all(isinstance(name, str) for name in noted_in(root / JOURNAL))


def commands(root: Path) -> None:
    """Ask the commands that read them."""
    for words in (("verify",), ("status", "--json")):
        told = call(root, words, STAGES)
        assert not told.crash, told.crash


LINES: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "answers": ("answers/ask.jsonl", answers),
    "corrections": ("corrections/override.jsonl", corrections),
    "marks": ("marks/*.jsonl", marks),
    "journal of predict": (JOURNAL, journal),
}
SEALED: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "quality": (".labelseg/quality/*.json", quality),
    "job of shares": (".labelseg/shares/spread/*/job.json", shares),
    "record of a share": (".labelseg/shares/spread/*/0.json", shares),
    "note of a tag": (".labelseg/unfinished/*.json", unfinished),
}
TOLD: dict[str, tuple[str, Callable[[Path], Any]]] = {
    name: (pattern, commands) for name, (pattern, _) in (LINES | SEALED).items() if name not in ("journal of predict", "quality")
}


def test_all_reads_well_as_long_as_nothing_is_changed(root):
    for _, read in (LINES | SEALED | TOLD).values():
        read(root)


@pytest.mark.parametrize("name", LINES | SEALED)
def test_changed_bytes_give_an_error_of_ours_or_a_result(root, name):
    assert crashes(root, *(LINES | SEALED)[name], bytes_changed) == []


@pytest.mark.parametrize("name", LINES)
def test_changed_values_in_lines_give_an_error_of_ours_or_a_result(root, name):
    assert crashes(root, *LINES[name], line_changed) == []


@pytest.mark.parametrize("name", SEALED)
def test_changed_values_under_a_seal_that_fits_give_an_error_of_ours_or_a_result(root, name):
    assert crashes(root, *SEALED[name], resealed) == []


@pytest.mark.parametrize("name", TOLD)
def test_commands_tell_in_their_own_words_of_what_was_changed(root, name):
    change = line_changed if name in LINES else resealed
    assert crashes(root, *TOLD[name], change, trials=12) == []


def test_a_record_of_a_share_that_leads_elsewhere_is_refused(root):
    with pytest.raises(ArtifactError):
        ShareFolder(root / ".labelseg", "../../elsewhere", KEY)
