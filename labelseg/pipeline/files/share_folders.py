"""Where the shares of a map that several jobs compute are recorded, until the whole is published: ``shares/<stage>/<key>/``."""

from __future__ import annotations

from pathlib import Path

from labelseg.errors import ArtifactError
from labelseg.pipeline.files.paths import unlistable

FOLDER = "shares"
JOB = "job"  # the record that says that there are shares, and how many


def begun_shares(root: Path) -> list[tuple[str, str]]:
    """List (stage, key) of the maps of which shares are begun and the whole is not published, sorted.

    What they have written no manifest names yet, and any of them may be at work on any machine.
    """
    return sorted((path.parent.name, path.name) for path in (root / FOLDER).glob("*/*") if path.is_dir())


def hidden_shares(root: Path) -> list[ArtifactError]:
    """List why folders of shares cannot be looked into; what they need must not count as rubbish."""
    return [error for _, error in unlistable(root / FOLDER, 1)]
