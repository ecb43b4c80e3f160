"""Files and folders in the making: nobody removes one that somebody makes, and what a killed process left goes."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from labelseg.asides import making
from labelseg.asides.making import aside, clear_asides

LEFT = ".out.png." + "0" * 32 + ".tmp"


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("folder", [False, True])
def test_what_is_being_made_stays_and_takes_its_place(tmp_path, folder):
    goal = tmp_path / "out.png"
    with aside(goal, folder=folder) as there:
        assert there.parent == tmp_path and there.is_dir() == folder
        assert clear_asides(tmp_path) == 0 and making.is_held(there)
        there.replace(goal)
    assert names(tmp_path) == {"out.png"}


@pytest.mark.parametrize("folder", [False, True])
def test_nothing_is_left_after_an_error(tmp_path, folder):
    with pytest.raises(KeyError), aside(tmp_path / "out", folder=folder) as there:
        (there / "inner" if folder else there).write_bytes(b"1")
        raise KeyError
    assert names(tmp_path) == set()


@pytest.mark.parametrize("folder", [False, True])
def test_what_a_killed_process_left_goes(tmp_path, folder):
    pid = os.fork()
    if not pid:
        with aside(tmp_path / "out.png", folder=folder) as there:
            (there / "inner" if folder else there).write_bytes(b"1")
            os._exit(9)
    os.waitpid(pid, 0)
    (left,) = tmp_path.iterdir()
    assert not making.is_held(left)
    assert clear_asides(tmp_path, "other.png") == 0
    assert clear_asides(tmp_path, "out.png") == 1
    assert names(tmp_path) == set()


def test_other_files_stay_and_no_link_is_followed(tmp_path):
    (tmp_path / "inside").mkdir()
    victim = tmp_path / "victim"
    victim.mkdir()
    others = (".hidden", ".out.png.tmp", "out.png." + "0" * 32 + ".tmp", ".a." + "0" * 31 + ".tmp")
    for name in others:
        (tmp_path / "inside" / name).touch()
    (tmp_path / "inside" / LEFT).symlink_to(victim)
    assert clear_asides(tmp_path / "inside") == 0
    assert names(tmp_path / "inside") == {*others, LEFT}
    assert clear_asides(tmp_path / "none") == 0


def test_a_name_of_255_bytes_has_room(tmp_path):
    with aside(tmp_path / ("x" * 251 + ".png")) as there:
        assert len(there.name) < 100


@pytest.mark.parametrize("folder", [False, True])
def test_one_that_went_before_it_was_locked_is_made_again(tmp_path, monkeypatch, folder):
    lock, went = making.fcntl.flock, []

    def late(held: int, how: int) -> None:
        if not went:
            went.extend(tmp_path.iterdir())
            making._remove(went[0])
        lock(held, how)

    monkeypatch.setattr(making.fcntl, "flock", late)
    with aside(tmp_path / "out", folder=folder) as there:
        assert there.exists() and there not in went


def test_an_error_names_the_goal(tmp_path):
    with pytest.raises(OSError) as caught, aside(tmp_path / "none" / "out.png"):
        pass
    assert (caught.value.errno, caught.value.filename) == (errno.ENOENT, str(tmp_path / "none" / "out.png"))
