"""How settings are searched: with the threads of a worker, since beside busy processes more of them spin."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from labelseg.tuning import tuner
from labelseg.workspace import set_threads


@pytest.mark.parametrize("instance", ["refine", "propagate@b16"])
def test_settings_are_searched_with_one_thread_of_torch_and_the_others_are_given_back(monkeypatch, instance):
    monkeypatch.setattr(tuner, "check_tunable", lambda workspace, instance: None)
    monkeypatch.setattr(tuner.Tuner, "_tune_refine", lambda self, instance: [torch.get_num_threads()])
    monkeypatch.setattr(tuner.Tuner, "_tune_propagate", lambda self, instance: torch.get_num_threads())
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert tuner.Tuner(SimpleNamespace(set_threads=set_threads), None, None, None).tune(instance) == [1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
