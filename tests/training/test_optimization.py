from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from labelseg.training.optimization import Optimization, ParameterGroup
from tests.recorded import wilson


@pytest.mark.parametrize(("case", "lr", "head"), [("warm_40ep", 0.001, 10.0), ("poly_30ep", 0.01, 1.0)])
def test_learning_rates_of_a_wilson_step_are_those_of_the_published_code(case, lr, head):
    recorded = wilson("09_lr_schedules")
    steps = int(recorded[f"{case}_iters_per_epoch"])
    optimization = Optimization(lr=lr, hold=steps * int(recorded[f"{case}_pseudo_ep"]), nesterov=True)
    scales = [1.0, head, head, head]
    optimizer = optimization.build([ParameterGroup(parameters=[nn.Parameter(torch.zeros(1))], lr_scale=scale) for scale in scales])
    found = []
    for iteration in range(len(recorded[f"{case}_lr"])):
        optimization.apply(optimizer, iteration, steps * int(recorded[f"{case}_epochs"]))
        found.append([group["lr"] for group in optimizer.param_groups])
    np.testing.assert_allclose(found, recorded[f"{case}_lr"], rtol=1e-12)


def test_nesterov_looks_ahead_along_the_momentum():
    value = nn.Parameter(torch.tensor([1.0]))
    optimizer = Optimization(lr=0.1, nesterov=True).build([ParameterGroup(parameters=[value])])
    value.grad = torch.tensor([2.0])
    optimizer.step()
    assert value.item() == pytest.approx(1 - 0.1 * (2 + 0.9 * 2))


@pytest.mark.parametrize("kind", ["adam", "adamw"])
def test_momentum_is_the_first_beta_of_adam(kind):
    parameter = torch.nn.Parameter(torch.ones(2))
    built = Optimization(lr=0.5, kind=kind, momentum=0.25).build([ParameterGroup(parameters=[parameter], weight_decay=0.125)])
    assert built.defaults["betas"] == (0.25, 0.999)
    assert (built.param_groups[0]["lr"], built.param_groups[0]["weight_decay"]) == (0.5, 0.125)
