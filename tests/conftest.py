"""One thread a process, here and in the processes that tests start: sums are then the same in all of them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ["OMP_NUM_THREADS"] = "1"
NOBODY = 65534


@pytest.fixture
def nobody() -> Iterator[Path]:
    """A folder of an ordinary user, who this process is for a while: the superuser may do everything."""
    folder = Path(tempfile.mkdtemp(prefix="labelseg-"))
    before = os.geteuid()
    if before == 0:
        os.chown(folder, NOBODY, -1)
        os.seteuid(NOBODY)
    yield folder
    if before == 0:
        os.seteuid(0)
    shutil.rmtree(folder)
