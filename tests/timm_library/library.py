"""The library timm, for tests that need it; they are skipped where the extra is not installed."""

from __future__ import annotations

import pytest

from labelseg.models.torchvision_shim import torchvision

assert torchvision.models  # must be loaded before timm, which loads it without help
timm = pytest.importorskip("timm", reason="needs the extra timm")
