"""A command that kills itself: ``python -m benchmarks.object_store.killed before|after N ...`` dies at its N-th request to the store."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from labelseg.__main__ import main
from labelseg.pipeline.remote.s3_bucket import S3Bucket


def arm(when: str, at: int) -> None:
    """Let this process die, by SIGKILL, before or after a request."""
    asked, count = S3Bucket._there, 0

    def request(*arguments: Any) -> Any:
        nonlocal count
        count += 1
        if (when, count) == ("before", at):
            os.kill(os.getpid(), signal.SIGKILL)
        found = asked(*arguments)
        if (when, count) == ("after", at):
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    S3Bucket._there = request  # type: ignore[method-assign]


if __name__ == "__main__":
    arm(sys.argv[1], int(sys.argv[2]))
    del sys.argv[1:3]
    main()
