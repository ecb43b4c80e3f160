from __future__ import annotations

import pytest

from labelseg.errors import UsageError
from labelseg.models import devices
from labelseg.workspace import Workspace


@pytest.fixture
def workspace(tmp_path):
    (tmp_path / "labelseg.toml").write_text("")
    return Workspace(tmp_path)


@pytest.mark.parametrize("name", ["cuda", "cuda:1", "magic"])
def test_a_device_that_is_not_there_is_refused(monkeypatch, workspace, name):
    monkeypatch.setattr(devices.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(devices.torch.backends.mps, "is_available", lambda: False)
    for ask in (devices.demand_device, workspace.pick_device):
        with pytest.raises(UsageError, match=rf"device {name}: not available here; usable: cpu\. Use --device cpu"):
            ask(name)


def test_devices_that_are_there_are_taken(monkeypatch, workspace):
    monkeypatch.setattr(devices.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(devices.torch.cuda, "device_count", lambda: 2)
    for name in ("cpu", "cuda", "cuda:1"):
        devices.demand_device(name)
        assert workspace.pick_device(name) == name
    wrong = {"cuda:2": r"the last of 2 here is cuda:1\. Use --device cuda:0", "cuda:one": "expected a number after the colon"}
    for name, message in wrong.items():
        with pytest.raises(UsageError, match=f"device {name}: {message}"):
            workspace.pick_device(name)
