from __future__ import annotations

from types import SimpleNamespace

import pytest

from labelseg.commands.carry_out import slow_precision
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


def test_bfloat16_is_held_emulated_where_the_library_says_so(monkeypatch):
    for able in (True, False):
        monkeypatch.setattr(devices.torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda able=able: able)
        assert [devices.emulates_bfloat16(name) for name in ("cpu", "cuda", "cuda:1")] == [not able, False, False]


def test_a_precision_that_is_emulated_is_told_with_the_command_that_changes_it(monkeypatch, workspace):
    nodes = [
        SimpleNamespace(id=SimpleNamespace(instance=name), params=SimpleNamespace(**params))
        for name, params in {"cam@wide": {"precision": "bf16-mixed"}, "segment": {"precision": "32-true"}, "refine": {}}.items()
    ]
    for emulated in (True, False):
        monkeypatch.setattr(devices, "emulates_bfloat16", lambda name, emulated=emulated: emulated and name == "cpu")
        told = slow_precision(workspace, nodes, "cpu")
        assert ("bf16-mixed of cam@wide: " in told and told.endswith("labelseg config cam.wide.precision 32-true")) == emulated
        assert slow_precision(workspace, nodes[1:], "cpu") == ""


def test_devices_are_read():
    assert devices.split_devices("cuda:0,1") == ("cuda:0", "cuda:1")
    assert devices.split_devices("cuda:2, cuda:0") == ("cuda:2", "cuda:0")
    assert devices.split_devices("cpu") == ("cpu",)
    for wrong in ("cuda:0,cpu", "cuda:1,1", "", ","):
        with pytest.raises(UsageError, match="expected one device"):
            devices.split_devices(wrong)


def test_each_process_of_a_machine_has_a_device_of_its_own():
    assert [devices.own_device("cpu", rank, 2) for rank in (0, 1)] == ["cpu", "cpu"]
    assert [devices.own_device("cuda", rank, 2) for rank in (0, 1)] == ["cuda:0", "cuda:1"]
    assert [devices.own_device("cuda:3,1", rank, 2) for rank in (0, 1)] == ["cuda:3", "cuda:1"]
    assert [devices.own_device(name, 0, 1) for name in ("cuda:3", "mps")] == ["cuda:3", "mps"]  # alone on its machine
    for wrong in ("cuda:1", "mps", "cuda:0,1,2"):
        with pytest.raises(UsageError, match=f"--device {wrong}: expected cpu, cuda, or a device for each of the 2 processes"):
            devices.own_device(wrong, 0, 2)
