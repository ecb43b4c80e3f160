"""Headless Chromium for the tests of all pages."""

from __future__ import annotations

import os
import shutil

import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="session")
def chromium():
    """Headless Chromium."""
    needed = "The tests of the pages need playwright and Chromium. Run: pip install playwright && apt-get install chromium"
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        pytest.fail(needed)
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, PROGRAMS)), None)
    if path is None:
        pytest.fail(needed)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()
