"""Two optimisers as one: the same updates as apart, the same after a restart."""

from __future__ import annotations

import copy

import torch
from torch import nn

from labelseg.training.checkpoints import Checkpoints, Progress
from labelseg.training.optimization import Optimization, PairedOptimizer, ParameterGroup


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(4, 3), nn.Linear(3, 2)


def groups(net):
    return [
        ParameterGroup(parameters=list(net.first.parameters()), weight_decay=0.1),
        ParameterGroup(parameters=list(net.second.parameters()), lr_scale=0.4, betas=(0.9, 0.99)),
    ]


def loss(net, step):
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(step))
    return net.second(net.first(x).tanh()).square().sum()


def run(net, optimizer, steps, optimization=None):
    for step in steps:
        if optimization is not None:
            optimization.apply(optimizer, step, 10)
        optimizer.zero_grad()
        loss(net, step).backward()
        optimizer.step()


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_both_do_what_they_do_apart_under_one_schedule():
    optimization = Optimization(lr=0.1)
    net = Two()
    run(net, optimization.build(groups(net)), range(6), optimization)
    apart = Two()
    sgd = torch.optim.SGD(apart.first.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    adam = torch.optim.Adam(apart.second.parameters(), lr=0.04, betas=(0.9, 0.99))
    for step in range(6):
        for optimizer, scale in ((sgd, 1.0), (adam, 0.4)):
            optimizer.param_groups[0]["lr"] = 0.1 * optimization.factor(step, 10) * scale
            optimizer.zero_grad()
        loss(apart, step).backward()
        sgd.step()
        adam.step()
    assert equal(net, apart)


def test_without_a_group_of_its_own_there_is_one_optimiser():
    net = Two()
    assert type(Optimization(lr=0.1).build(groups(net)[:1])) is torch.optim.SGD
    assert type(Optimization(lr=0.1).build(groups(net))) is PairedOptimizer


def test_a_restart_from_a_checkpoint_goes_on_to_the_bit(tmp_path):
    whole = Two()
    run(whole, Optimization(lr=0.1).build(groups(whole)), range(8))
    begun = Two()
    optimizer = Optimization(lr=0.1).build(groups(begun))
    run(begun, optimizer, range(3))
    identity = {"seed": 0}
    Checkpoints(tmp_path / "t" / "k", identity).save(Progress(iteration=3), {"module": begun}, optimizer)
    resumed = copy.deepcopy(Two())
    again = Optimization(lr=0.1).build(groups(resumed))
    progress = Checkpoints(tmp_path / "t" / "k", identity).load({"module": resumed}, again)
    run(resumed, again, range(progress.iteration, 8))
    assert equal(resumed, whole)
