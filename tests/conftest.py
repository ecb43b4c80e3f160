"""One thread a process, here and in the processes that tests start: sums are then the same in all of them."""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"
