"""Optimisers, parameter groups and the polynomial schedule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from labelseg.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class ParameterGroup:
    """Parameters that share a multiple of the learning rate and a weight decay.

    Attributes:
        betas: Those of an Adam of their own, beside the optimiser of all others; None takes that.
    """

    parameters: Sequence[nn.Parameter]
    lr_scale: float = 1.0
    weight_decay: float = 0.0
    betas: tuple[float, float] | None = None


class PairedOptimizer(torch.optim.Optimizer):
    """Several optimisers as one, for networks that are trained against each other in one step.

    Args:
        optimizers: They share no parameter.
    """

    def __init__(self, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        self.optimizers = list(optimizers)
        super().__init__([group for optimizer in self.optimizers for group in optimizer.param_groups], {})
        self._link()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Let each do its step."""
        loss = closure() if closure is not None else None
        for optimizer in self.optimizers:
            optimizer.step()
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what all of them remember."""
        super().load_state_dict(state_dict)
        self._link()

    def _link(self) -> None:
        """Let each work on its part of what is remembered here."""
        groups = iter(self.param_groups)
        for optimizer in self.optimizers:
            optimizer.param_groups = [next(groups) for _ in optimizer.param_groups]
            optimizer.state = self.state


@dataclass(frozen=True, kw_only=True)
class Optimization:
    """Optimiser and schedule.

    The learning rate of update t, counted from 0 and set before it, is ``lr * (1 - t / total) ** power``; it grows linearly
    over the first ``warmup`` updates. For the first ``hold`` updates it does not fall; then it goes on where it would be without
    the hold, by a jump. After the last update it stays.

    Attributes:
        kind: ``sgd``, ``adam`` or ``adamw``.
        lr: Learning rate of groups of scale 1.
        momentum: Of SGD; of Adam the first beta. The published PSA code trains with 5e-4, by a slip (psa.md 1.4).
        power: 0 keeps the learning rate constant.
        warmup: Updates.
        hold: Updates.
        nesterov: Look ahead along the momentum; SGD only.
        clip_norm: Highest norm of the gradient; None does not clip.
    """

    lr: float
    kind: Literal["sgd", "adam", "adamw"] = "sgd"
    momentum: float = 0.9
    power: float = 0.9
    warmup: int = 0
    hold: int = 0
    nesterov: bool = False
    clip_norm: float | None = None

    def build(self, groups: Sequence[ParameterGroup]) -> torch.optim.Optimizer:
        """Make the optimiser of the groups, leaving out frozen parameters.

        Raises:
            UsageError: no such kind, or nothing left to train.
        """
        own = [group for group in groups if group.betas is None]
        apart = [group for group in groups if group.betas is not None]
        if not (trained := self._trained(own)):
            raise UsageError("training: every parameter is frozen, there is nothing to train.")
        optimizer = self._plain(trained)
        if not apart:
            return optimizer
        adams = [torch.optim.Adam(self._trained([group]), lr=self.lr, betas=group.betas or (0.9, 0.999)) for group in apart]
        return PairedOptimizer([optimizer, *adams])

    def _trained(self, groups: Sequence[ParameterGroup]) -> list[dict[str, Any]]:
        """Describe groups to torch, frozen parameters left out."""
        return [
            {"params": parameters, "lr": self.lr * group.lr_scale, "lr_scale": group.lr_scale, "weight_decay": group.weight_decay}
            for group in groups
            if (parameters := [parameter for parameter in group.parameters if parameter.requires_grad])
        ]

    def _plain(self, trained: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """Make the optimiser that is asked for."""
        if self.kind == "sgd":
            return torch.optim.SGD(trained, lr=self.lr, momentum=self.momentum, nesterov=self.nesterov)
        if self.momentum >= 1:
            raise UsageError(f"momentum of {self.kind}: expected a number below 1, got {self.momentum:g}.")
        if self.kind == "adam":
            return torch.optim.Adam(trained, lr=self.lr, betas=(self.momentum, 0.999))
        if self.kind == "adamw":
            return torch.optim.AdamW(trained, lr=self.lr, betas=(self.momentum, 0.999))
        raise UsageError(f"optimiser: expected sgd, adam or adamw, got {self.kind!r}.")

    def factor(self, iteration: int, total: int) -> float:
        """The share of ``lr`` at an update counted from 0."""
        decay = 1.0 if iteration < self.hold else (1 - min(iteration, total - 1) / total) ** self.power
        return decay * min(1.0, (iteration + 1) / self.warmup) if self.warmup else decay

    def apply(self, optimizer: torch.optim.Optimizer, iteration: int, total: int) -> None:
        """Set the learning rates of an optimiser made by ``build`` for an update."""
        rate = self.lr * self.factor(iteration, total)
        for group in optimizer.param_groups:
            group["lr"] = rate * group["lr_scale"]


def parameter_groups(
    net: nn.Module, weight_decay: float, head_scale: float = 10.0, bias_scale: float = 2.0, undecayed: tuple[str, ...] = ()
) -> list[ParameterGroup]:
    """Sort the parameters of a network into the published four groups.

    Args:
        net: Its parameters under ``backbone`` are the pretrained ones, all others are new.
        weight_decay: Of weights; biases and normalisation parameters have none.
        head_scale: Learning rate of new parameters, relative to pretrained ones; 1 for a backbone with random weights.
        bias_scale: Learning rate of biases and normalisation parameters, relative to weights.
        undecayed: Beginnings of the names of weights without weight decay.

    Source: Ahn & Kwak 2018, the published code; psa.md 1.4.
    """
    groups = []
    for is_new, part_scale in ((False, 1.0), (True, head_scale)):
        part = {name: parameter for name, parameter in net.named_parameters() if name.startswith("backbone.") is not is_new}
        weights = [parameter for name, parameter in part.items() if parameter.ndim > 1 and not name.startswith(undecayed)]
        exempt = [parameter for name, parameter in part.items() if parameter.ndim > 1 and name.startswith(undecayed)]
        biases = [parameter for parameter in part.values() if parameter.ndim <= 1]
        groups.append(ParameterGroup(parameters=weights, lr_scale=part_scale, weight_decay=weight_decay))
        if exempt:
            groups.append(ParameterGroup(parameters=exempt, lr_scale=part_scale))
        groups.append(ParameterGroup(parameters=biases, lr_scale=part_scale * bias_scale))
    return groups


def depthwise_names(net: nn.Module) -> tuple[str, ...]:
    """Name the depthwise convolutions of a network, as beginnings of the names of their parameters."""
    return tuple(
        f"{name}." for name, module in net.named_modules() if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1
    )


def even_groups(net: nn.Module, weight_decay: float, head_scale: float = 10.0) -> list[ParameterGroup]:
    """Sort the parameters of a network into pretrained and new ones, all of them with weight decay.

    Source: Yang et al. 2023, the published code; unimatch.md 1.6.
    """
    groups = []
    for is_new, scale in ((False, 1.0), (True, head_scale)):
        part = [parameter for name, parameter in net.named_parameters() if name.startswith("backbone.") is not is_new]
        groups.append(ParameterGroup(parameters=part, lr_scale=scale, weight_decay=weight_decay))
    return groups
