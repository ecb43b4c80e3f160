"""Copies of a workspace that were made while a command was at work: torn in time, they say what they lack, and go on from there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks.faults.ground.injection import Operations
from benchmarks.faults.ground.places import RUN, Places, stages_of
from benchmarks.faults.ground.processes import call, commands, forked
from benchmarks.faults.ground.reading import contents, failure

NOT_FRESH = 4
# Shares of the file operations of a run at which the first and the second half of a workspace are copied.
MOMENTS = ((0.2, 0.6), (0.5, 0.95))


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> Places:
    """States of workspaces."""
    return Places(tmp_path_factory.mktemp("copies"))


@pytest.fixture(scope="module")
def whole(places) -> dict[str, Any]:
    """Operations of a run from nothing, and what it makes."""

    def work() -> int:
        operations = Operations(root)
        assert call(root, RUN, stages_of(root)).code == 0
        return operations.count

    root = places.copy("new")
    count = forked(work)
    return {"operations": count, "contents": forked(lambda: contents(root))}


def copy_part(root: Path, copy: Path, *, late: bool, refs_late: bool) -> None:
    """Copy one half of a workspace: what leads to artifacts, refs and manifests, or all the rest."""
    for path in sorted(root.rglob("*")):
        leads = {"refs", "manifests"} & {*path.relative_to(root).parts}
        if path.is_file() and (bool(leads) == refs_late) == late:
            there = copy / path.relative_to(root)
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, there)


def copied(root: Path, copy: Path, operations: int, moments: tuple[float, float], *, refs_late: bool) -> None:
    """Run, and copy the halves at two moments."""
    first, second = (max(1, int(share * operations)) for share in moments)
    seen = 0

    def disturb(name: str) -> None:
        nonlocal seen
        seen += 1
        if seen in (first, second):
            copy_part(root, copy, late=seen == second, refs_late=refs_late)

    Operations(root, 1, disturb, repeat=True)
    assert call(root, RUN, stages_of(root)).code == 0


@pytest.mark.parametrize("refs_late", [True, False])
@pytest.mark.parametrize("moments", MOMENTS)
def test_a_copy_made_during_a_run_says_what_it_lacks_and_goes_on(places, whole, moments, refs_late):
    root = places.copy("new")
    copy = root.with_name(f"{root.name}-copy")
    forked(lambda: copied(root, copy, whole["operations"], moments, refs_late=refs_late))
    there = forked(lambda: contents(copy))
    for name, items in there.items():
        assert failure(items) == "error" or items == whole["contents"][name]
    lacks = {name for name, items in whole["contents"].items() if there.get(name) != items}
    (status,) = commands(copy, [("status", "--exit-code")], stages_of(copy))
    assert not lacks or status.code in (1, NOT_FRESH)
    again = commands(copy, [("verify", "--repair"), RUN, ("verify",)], stages_of(copy))
    assert not any(done.crash for done in again)
    assert [done.code for done in again[1:]] == [0, 0], again
    assert forked(lambda: contents(copy)) == whole["contents"]
