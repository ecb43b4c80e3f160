"""The one training loop: seeded to the sample, resumable to the bit.

Nothing random is carried from one iteration to the next. The order of an epoch, the augmentation of a sample and the
dropout of an iteration are each seeded by what they are, so that a resumed run needs only tensors and a counter.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import default_collate

from labelseg.errors import LabelsegError, UsageError
from labelseg.pipeline.files.mishaps import is_out_of_memory, out_of_memory
from labelseg.protocols import Bar
from labelseg.training.checkpoints import Checkpoints, Progress, cpu_tensors
from labelseg.training.loading import Plan, Share, TrainingSet, load_batches, told_death
from labelseg.training.optimization import Optimization, ParameterGroup
from labelseg.training.ranks import lone_fabric, make_fabric
from labelseg.training.schedules import teacher_ratio

logger = logging.getLogger(__name__)

_ITERATION = 2  # first word of each seed; keeps its stream apart from those of order and samples
_LOG_EVERY = 50


@dataclass(kw_only=True)
class TrainTask:
    """All that one training needs.

    Attributes:
        module: The network, trained in place.
        loss: Maps network and batch to scalars; the one named ``loss`` is minimised, all are averaged into the curves.
            The network is to be called, not asked for methods: the call is what carries the precision.
        dataset: The samples.
        groups: What is trained; ``parameter_groups`` makes the published four.
        optimization: Optimiser and schedule.
        batch_size: Samples an update; a smaller set is taken whole, else the rest of an epoch is dropped.
        epochs: Passes over the set; or
        iterations: number of updates. Exactly one of the two is given.
        seed: At least 0.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        ranks: Processes that train together, each of which computes a share of every batch; each calls ``train``, in the environment that a
            launcher sets, with a device of its own.
        precision: ``32-true`` or ``bf16-mixed``.
        channels_last: Memory layout; with bf16 it halves a step on many processors.
        accumulate: Parts in which a batch passes through the network; their gradients add up, weighted by size.
        workers: Processes that load samples; 0 loads in a thread of this one.
        collate: Makes a batch of samples.
        checkpoints: Folder that belongs to this training alone; a run that finds a checkpoint goes on from it.
        checkpoint_seconds: Time between checkpoints inside an epoch; each epoch ends with one.
        evaluate: Maps network (in evaluation mode, without gradients) and epoch, from 1, to metrics; what is not finite is left out.
        evaluate_every: Epochs between evaluations; the last epoch always has one.
        select: The metric whose highest value marks the best epoch; empty, or where it is never there: the last epoch.
        patience: Evaluations without a new best after which the training ends; 0 never.
        teacher: A copy of the network that follows it, as an average over updates. It is evaluated and kept in place of the network; the
            loss may use it.
        ratios: Name of a curve -> two losses; it is the first over the second, pooled, and absent where that is 0. The two get no curves.
        log: Takes a JSON record of each epoch and of every 50th iteration.
        progress: Makes a display from a total, a title, and how much of the total was done before.
    """

    module: nn.Module
    loss: Callable[[nn.Module, Any], Mapping[str, Tensor]]
    dataset: TrainingSet
    groups: Sequence[ParameterGroup]
    optimization: Optimization
    batch_size: int
    epochs: int | None = None
    iterations: int | None = None
    seed: int = 0
    device: str = "cpu"
    ranks: int = 1
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    channels_last: bool = False
    accumulate: int = 1
    workers: int = 0
    collate: Callable[[list[Any]], Any] = default_collate
    checkpoints: Path | None = None
    checkpoint_seconds: float = 60.0
    evaluate: Callable[[nn.Module, int], Mapping[str, float]] | None = None
    evaluate_every: int = 1
    select: str = ""
    patience: int = 0
    teacher: nn.Module | None = None
    ratios: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    log: Callable[[dict[str, Any]], Any] | None = None
    progress: Callable[[int, str, int], AbstractContextManager[Bar | None]] = field(default=lambda total, title, done: nullcontext())
    title: str = "training"


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What a training gave; the network itself is left with the last weights.

    Attributes:
        last: State after the last epoch, on the CPU; that of the teacher where there is one.
        best: State of the best epoch; ``last`` itself when nothing was selected.
        best_epoch: Counted from 1.
        curves: A record of each epoch: ``epoch``, ``iteration``, ``lr``, mean losses and metrics.
    """

    last: dict[str, Tensor]
    best: dict[str, Tensor]
    best_epoch: int
    curves: list[dict[str, float]]


def train(task: TrainTask) -> TrainResult:
    """Train a network, or go on with its training from the last checkpoint.

    Interrupted anywhere and run again, the same task gives on the CPU, bit for bit, the weights of one uninterrupted run.

    Raises:
        UsageError: a setting is wrong.
        ArtifactError: the checkpoint cannot be read or is of another training.
        LabelsegError: the loss is no longer finite.
    """
    plan = _plan(task)
    if min(plan.parts) < task.ranks:
        raise UsageError(
            f"training: {min(plan.parts)} samples at a time cannot be shared out to {task.ranks} processes. "
            "Take a larger batch, or fewer devices: --batch-size, --device"
        )
    if task.precision not in ("32-true", "bf16-mixed"):
        raise UsageError(f"precision of a training: expected 32-true or bf16-mixed, got {task.precision!r}.")
    group = make_fabric(task.device, task.ranks)
    if group.global_rank:
        task = replace(task, checkpoints=None, evaluate=None, select="", log=None, progress=lambda total, title, done: nullcontext())
    with torch.random.fork_rng(devices=[group.device] if group.device.type == "cuda" else []):
        return _Training(task, plan, group).run()


def _plan(task: TrainTask) -> Plan:
    """Cut the set into batches, and batches into epochs."""
    samples = len(task.dataset)
    if samples == 0:
        raise UsageError("training: the set has no samples. Check its split and its labels.")
    if (task.epochs is None) == (task.iterations is None):
        raise UsageError("training: expected either epochs or iterations.")
    length = task.epochs if task.iterations is None else task.iterations
    if length is None or min(length, task.batch_size, task.accumulate, task.evaluate_every) < 1 or task.seed < 0:
        raise UsageError("training: length, batch size, accumulation and evaluation interval must be at least 1, the seed at least 0.")
    batch = min(task.batch_size, samples)
    steps = samples // batch
    total = length * steps if task.iterations is None else length
    parts = tuple(len(part) for part in np.array_split(np.arange(batch), min(task.accumulate, batch)))
    return Plan(samples, batch, steps, total, parts)


class _Step(nn.Module):
    """From a batch to its losses, with all passes that a loss makes: one forward for those who sum gradients up.

    The teacher is part of it, so that its statistics are those of rank 0 too.
    """

    def __init__(self, module: nn.Module, teacher: nn.Module | None, loss: Callable[[nn.Module, Any], Mapping[str, Tensor]]) -> None:
        super().__init__()
        self.module, self.teacher = module, teacher
        self.idle = nn.Parameter(torch.zeros(()))  # where every parameter is reached by a loss, torch warns of a search in vain
        self._loss = loss

    def forward(self, batch: Any) -> dict[str, Tensor]:
        """Compute the losses; only ``loss`` can be differentiated."""
        return {name: value if name == "loss" else value.detach() for name, value in self._loss(self.module, batch).items()}


class _Training:
    """One run of the loop, in one of the processes that train together."""

    def __init__(self, task: TrainTask, plan: Plan, group: Fabric) -> None:
        self.task, self.plan, self.group = task, plan, group
        self.share = Share(group.global_rank, group.world_size)
        # The network has a Fabric of its own: the precision is that of its passes, not of losses.
        self.fabric = fabric = lone_fabric(str(group.device), task.precision)
        if task.channels_last:
            for net in (task.module, task.teacher):
                if net is not None:
                    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.module, self.optimizer = fabric.setup(task.module, task.optimization.build(task.groups))
        self.kept = task.module if task.teacher is None else task.teacher
        self.modules = {"module": task.module}
        if task.teacher is not None:
            self.modules["teacher"] = task.teacher.to(fabric.device).requires_grad_(False).eval()
        self.progress = Progress()
        self.store: Checkpoints | None = None
        if task.checkpoints is not None:
            identity = {"seed": task.seed, "samples": plan.samples, "batch": list(plan.parts), "total": plan.total}
            self.store = Checkpoints(task.checkpoints, identity)
            self.progress = self.store.load(self.modules, self.optimizer.optimizer) or self.progress
        if task.ranks > 1:  # the weights follow when the step is set up
            self.progress, state = group.broadcast((self.progress, self.optimizer.optimizer.state_dict()))
            self.optimizer.optimizer.load_state_dict(state)
        self.step = group.setup_module(_Step(self.module, task.teacher, task.loss))

    def run(self) -> TrainResult:
        task, plan, progress = self.task, self.plan, self.progress
        self.module.train()
        batches = self._batches()
        saved = started = time.monotonic()
        with self._told(), task.progress(plan.total, task.title, progress.iteration) as bar:
            while progress.iteration < plan.total and not (task.patience and self.group.broadcast(self._is_exhausted())):
                losses = self._update(batches)
                if task.teacher is not None:
                    follow(task.teacher, task.module, progress.iteration)
                progress.iteration += 1
                for name, value in losses.items():
                    progress.sums[name] = progress.sums.get(name, 0.0) + value
                self._log_iteration(losses)
                ends_epoch = progress.iteration % plan.steps == 0 or progress.iteration == plan.total
                if ends_epoch:
                    self._end_epoch(time.monotonic() - started)
                    started = time.monotonic()
                if self.store is not None and (ends_epoch or time.monotonic() - saved >= task.checkpoint_seconds):
                    self.store.save(progress, self.modules, self.optimizer.optimizer)
                    saved = time.monotonic()
                if bar is not None:
                    bar.update(1)
        last = cpu_tensors(self.kept.state_dict())
        best_epoch = progress.best_epoch or len(progress.curves)
        return TrainResult(last=last, best=progress.best or last, best_epoch=best_epoch, curves=progress.curves)

    def _batches(self) -> Iterator[Any]:
        task = self.task
        return load_batches(
            task.dataset,
            task.collate,
            self.plan,
            seed=task.seed,
            start=self.progress.iteration,
            share=self.share,
            workers=task.workers,
            pin=self.fabric.device.type == "cuda",
        )

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Tell in one line where memory ran out, or a process that loads was killed."""
        task, plan = self.task, self.plan
        try:
            yield
        except Exception as error:
            where = f"{task.title}, iteration {self.progress.iteration + 1} of {plan.total}"
            told = told_death(error, where)
            if told is None and is_out_of_memory(error) and not isinstance(error, LabelsegError):
                told = out_of_memory(error, where, f"Take a smaller --batch-size ({plan.batch} now) or --crop.")
            if told is None:
                raise
            raise told from error

    def _update(self, batches: Iterator[Any]) -> dict[str, float]:
        """Do one update and return the losses before it."""
        task, plan, iteration, rank = self.task, self.plan, self.progress.iteration, self.share.rank
        words = (_ITERATION, task.seed, iteration, *((rank,) if rank else ()))
        torch.manual_seed(int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0]))
        task.optimization.apply(self.optimizer.optimizer, iteration, plan.total)
        self.optimizer.zero_grad()
        means: dict[str, float] = {}
        for size in plan.parts:
            losses = self.step(self.fabric.to_device(next(batches)))
            weight = len(self.share.of(range(size))) / plan.batch
            for name, value in self._sums({name: weight * float(value.detach()) for name, value in losses.items()}).items():
                means[name] = means.get(name, 0.0) + value
            self._demand_finite("the loss", means["loss"])
            # The group takes the mean over ranks, and what is wanted is the sum.
            self.fabric.backward(losses["loss"] * (weight * self.share.size))
        if task.optimization.clip_norm is not None:
            norm = self.fabric.clip_gradients(self.module, self.optimizer, max_norm=task.optimization.clip_norm, error_if_nonfinite=False)
            self._demand_finite("the norm of the gradient", float(norm))  # type: ignore[arg-type]
        self.optimizer.step()
        return means

    def _sums(self, values: Mapping[str, float]) -> dict[str, float]:
        """Add up numbers over all ranks, in float64; on the CPU, where a rank that is gone is noticed at once."""
        names = sorted(values)
        total = torch.tensor([values[name] for name in names], dtype=torch.float64)
        if self.share.size > 1:
            dist.all_reduce(total)
        return dict(zip(names, total.tolist(), strict=True))

    def _demand_finite(self, what: str, value: float) -> None:
        if math.isfinite(value):
            return
        task, iteration = self.task, self.progress.iteration
        rate = task.optimization.lr * task.optimization.factor(iteration, self.plan.total)
        raise LabelsegError(
            f"training: {what} is {value} at iteration {iteration + 1} of {self.plan.total} (epoch {iteration // self.plan.steps + 1}, "
            f"learning rate {rate:.3g}). Try a tenth of the learning rate (--lr), gradient clipping (--clip-norm 1), a longer --warmup, or "
            "--precision 32-true."
        )

    def _end_epoch(self, seconds: float) -> None:
        """Evaluate when it is time, keep the best state, and close the curves of the epoch."""
        task, plan, progress = self.task, self.plan, self.progress
        epoch = math.ceil(progress.iteration / plan.steps)
        updates = progress.iteration - (epoch - 1) * plan.steps
        record: dict[str, float] = {
            "epoch": epoch,
            "iteration": progress.iteration,
            "lr": task.optimization.lr * task.optimization.factor(progress.iteration - 1, plan.total),
            **self._with_ratios({name: total / updates for name, total in progress.sums.items()}),
        }
        progress.sums = {}
        is_last = progress.iteration == plan.total
        if task.evaluate is not None and (is_last or epoch % task.evaluate_every == 0):
            self.module.eval()
            with torch.no_grad():
                evaluated = self.module if task.teacher is None else task.teacher
                metrics = {name: float(value) for name, value in task.evaluate(evaluated, epoch).items() if math.isfinite(value)}
            self.module.train()
            record.update(metrics)
            if task.select and task.select not in metrics:
                logger.warning("epoch %d: its evaluation gave no %s, so it cannot be the best", epoch, task.select)
            elif task.select and metrics[task.select] > progress.best_value:
                progress.best_value, progress.best_epoch = metrics[task.select], epoch
                progress.best = cpu_tensors(self.kept.state_dict())
        progress.curves.append(record)
        if task.log is not None:
            task.log({"event": "epoch", **record, "seconds": round(seconds, 3)})

    def _is_exhausted(self) -> bool:
        """Whether the best epoch is so long ago that the training ends early."""
        task, progress = self.task, self.progress
        evaluated = sum(task.select in record for record in progress.curves if record["epoch"] > progress.best_epoch)
        return 0 < task.patience <= evaluated and progress.best_epoch > 0

    def _with_ratios(self, means: Mapping[str, float]) -> dict[str, float]:
        """Put ratios in the place of what they are made of."""
        parts = {name for pair in self.task.ratios.values() for name in pair}
        ratios = {name: means[top] / means[under] for name, (top, under) in self.task.ratios.items() if means.get(under)}
        return {**{name: value for name, value in means.items() if name not in parts}, **ratios}

    def _log_iteration(self, losses: Mapping[str, float]) -> None:
        if self.task.log is not None and self.progress.iteration % _LOG_EVERY == 0:
            self.task.log({"event": "iteration", "iteration": self.progress.iteration, **self._with_ratios(losses)})


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, update: int) -> None:
    """Move every tensor of a teacher towards the student's, buffers included; whole numbers are cut, not rounded.

    Args:
        teacher: Changed in place.
        student: Of the same architecture.
        update: Counted from 0, where the teacher becomes a copy.

    Source: Yang et al. 2025 (UniMatch V2); unimatch.md 6.
    """
    ratio = teacher_ratio(update)
    for own, other in zip(teacher.state_dict().values(), student.state_dict().values(), strict=True):
        own.copy_(own * ratio + other.detach() * (1 - ratio))
