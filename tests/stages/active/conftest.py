"""Workspaces of two domains."""

from __future__ import annotations

import shutil

import pytest

from labelseg.workspace import Workspace


@pytest.fixture
def rounds(labor_root, tmp_path):
    """A copy of the workspace of two rounds that a test may change."""
    shutil.copytree(labor_root, tmp_path / "rounds")
    return Workspace(tmp_path / "rounds")
