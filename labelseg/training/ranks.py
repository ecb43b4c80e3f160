"""Processes that train one network together: those that a launcher such as torchrun started, or one more for each device of this machine.

Rank 0 runs the command. The others wait until it comes to a training, take part in that, and end as it ends. Gradients and sums are
Fabric's; what ranks tell each other besides lies in the store at which they meet, which works where one of them has failed.
"""

from __future__ import annotations

import gc
import logging
import os
import pickle
import platform
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from multiprocessing.process import BaseProcess
from typing import Any, Literal, NamedTuple

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment, TorchElasticEnvironment
from lightning_fabric.strategies import DDPStrategy
from torch.distributed.rendezvous import rendezvous
from torch.multiprocessing import start_processes

from labelseg.errors import LabelsegError
from labelseg.models.devices import demand_device, own_device, split_devices
from labelseg.pipeline.engines.inputs import Inputs, Model
from labelseg.pipeline.engines.launched import Place
from labelseg.pipeline.engines.processes import end_all, end_with_the_caller, portable, uninterrupted
from labelseg.pipeline.files.mishaps import GOES_ON, one_line

PATIENCE = timedelta(hours=6)  # the others wait while rank 0 evaluates
NOTICE_SECONDS = 60.0  # in which rank 0 notices that another one failed, unless it hangs
GOODBYE_SECONDS = 5.0
_POLL_SECONDS = 0.1
# How gloo and NCCL tell that another rank is gone.
_LOST = re.compile(r"gloo|nccl|connection (?:was )?(?:closed|reset)|broken pipe", re.I)

Work = Callable[[Inputs, Any], Model]


def make_fabric(device: str, ranks: int) -> Fabric:
    """Set up a device; of several ranks each in their group, where gradients of a module set up here are the mean over all.

    Raises:
        UsageError: the device is not there.
    """
    demand_device(device)
    if ranks == 1:
        return lone_fabric(device)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    local_size = int(os.environ["LOCAL_WORLD_SIZE"])
    strategy = DDPStrategy(
        parallel_devices=[torch.device(device)] * local_size,  # no rank looks at the devices of others
        cluster_environment=TorchElasticEnvironment(),
        process_group_backend="cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo",
        timeout=PATIENCE,
        find_unused_parameters=True,
    )
    fabric = Fabric(strategy=strategy, devices=local_size, num_nodes=ranks // local_size)
    fabric.launch()
    return fabric


def lone_fabric(device: str, precision: Literal["32-true", "bf16-mixed"] = "32-true") -> Fabric:
    """Set up a device for this process alone, whatever a scheduler or a launcher has set."""
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces what it does
    kind, _, index = device.partition(":")
    return Fabric(accelerator=kind, devices=[int(index)] if index else 1, precision=precision, plugins=[LightningEnvironment()])


class _Failure(NamedTuple):
    """Which rank failed, on which machine, what it raised, and where."""

    rank: int
    host: str
    error: BaseException
    trace: str


class Company:
    """The processes of a training, seen from one of them.

    Args:
        place: Where it stands.
        store: Where they meet. ``call K`` holds the devices of the K-th training, or ``end CODE``; ``first`` the first failure;
            ``noticed`` is there when rank 0 knows of one; ``left`` counts those that heard the end.
        others: The other processes, where this one started them.
    """

    def __init__(self, place: Place, store: dist.Store, others: Sequence[BaseProcess] = ()) -> None:
        self.place, self._store, self._others = place, store, others
        self._calls = 0

    def call(self, work: Work, inputs: Inputs, params: Any) -> Model:
        """Train, as rank 0, with all others.

        Raises:
            LabelsegError: one of the others failed; the message names it.
            Exception: what was raised here.
        """
        if self._store.check(["first"]):
            raise LabelsegError(f"{inputs.instance}: its processes have parted, since a training failed before. {GOES_ON}")
        self._calls += 1
        self._store.set(f"call {self._calls}", inputs.devices)
        try:
            return self.take_part(inputs.devices, (work, inputs, params))
        except Exception as error:
            failure = self._first_failure()
            if isinstance(error, LabelsegError) or (failure is not None and failure.rank == 0):
                raise
            if failure is None:
                raise LabelsegError(f"{inputs.instance}: {self._who_is_gone()}, as if killed. {GOES_ON}") from error
            raise self._told(failure, inputs.instance) from LabelsegError(f"in that process:\n{failure.trace}")

    def follow(self) -> int:
        """Take part, as another rank, in all trainings that rank 0 comes to; return the code it ends with.

        Raises:
            LabelsegError: this rank failed and rank 0 takes no notice, or rank 0 is gone.
        """
        logging.disable(logging.WARNING)  # rank 0 warns of the same
        try:
            while True:
                self._calls += 1
                said = self._heard(f"call {self._calls}") or ""
                if said.startswith("end "):
                    self._store.add("left", 1)
                    return int(said.removeprefix("end "))
                try:
                    self.take_part(said)
                except Exception as error:
                    if self._heard("noticed", NOTICE_SECONDS) is None:
                        raise self._told(_Failure(self.place.rank, platform.node(), error, ""), "training") from error
        except RuntimeError as error:  # how a store tells that its keeper is gone
            if isinstance(error, LabelsegError):
                raise
            raise LabelsegError(f"rank {self.place.rank} of {self.place.size}: rank 0 is gone, as if killed. {GOES_ON}") from error
        finally:
            _part()

    def dismiss(self, code: int) -> None:
        """End, as rank 0, and have the others end with the same code."""
        with suppress(RuntimeError):
            self._store.set(f"call {self._calls + 1}", f"end {code}")
            until = time.monotonic() + GOODBYE_SECONDS
            while self._store.add("left", 0) < self.place.size - 1 and time.monotonic() < until:
                time.sleep(_POLL_SECONDS)
        _part()

    def take_part(self, devices: str, job: tuple[Work, Inputs, Any] | None = None) -> Model:
        """Train as one of the ranks. One that fails leaves word of it, and lets go of the others, for whom this ends their waiting.

        Args:
            devices: As the command was given them.
            job: What to call with what, known to rank 0.
        """
        place = self.place
        try:
            device = own_device(devices, place.local_rank, place.local_size)
            fabric = make_fabric(device, place.size)
            work, inputs, params = fabric.broadcast(job)  # type: ignore[misc]
            model = work(replace(inputs, devices=device, ranks=place.size, run_log=None if place.rank else inputs.run_log), params)
            fabric.barrier()  # one that fails at its very end is told too
        except BaseException as error:
            with suppress(RuntimeError):
                self._leave_word(error)
            # The others wait for as long as anything holds the group, such as what was set up in the frames that the error came through.
            traceback.clear_frames(error.__traceback__)
            gc.collect()
            _part()
            raise
        return model

    def _leave_word(self, error: BaseException) -> None:
        """Say what was raised; what comes of the end of another rank is no news."""
        rank = self.place.rank
        if isinstance(error, LabelsegError) or not (isinstance(error, RuntimeError) and _LOST.search(str(error))):
            record = pickle.dumps(tuple(_Failure(rank, platform.node(), portable(error), traceback.format_exc()))).hex()
            self._store.compare_set("first", "", record)
        if rank == 0:
            self._store.set("noticed", "")

    def _first_failure(self) -> _Failure | None:
        """Read who failed first; None where no rank could say."""
        return _Failure(*pickle.loads(bytes.fromhex(self._heard("first") or ""))) if self._store.check(["first"]) else None

    def _told(self, failure: _Failure, name: str) -> LabelsegError:
        """Make the error that tells of another rank's, of the same kind."""
        kind = type(failure.error) if isinstance(failure.error, LabelsegError) else LabelsegError
        return kind(f"{name}, rank {failure.rank} of {self.place.size} on {failure.host}: {one_line(failure.error)}")

    def _who_is_gone(self) -> str:
        """Name the ranks that are gone, where that can be known."""
        end_all(self._others, GOODBYE_SECONDS) if self._others else None
        ranks = [f"rank {k}" for k, process in enumerate(self._others, start=1) if process.exitcode]
        return f"{' and '.join(ranks) or 'one'} of its {self.place.size} processes is gone"

    def _heard(self, key: str, seconds: float = float("inf")) -> str | None:
        """Wait for a word, as long as given; None where none came."""
        until = time.monotonic() + seconds
        while not self._store.check([key]):
            if time.monotonic() > until:
                return None
            time.sleep(_POLL_SECONDS)
        return str(self._store.get(key).decode())


class _Current:
    """The company that this process leads, if a launcher started it."""

    company: Company | None = None


def join(place: Place) -> Company:
    """Meet the other processes of a launcher, for as long as the program runs."""
    _Current.company = _meet(place)
    return _Current.company


def train_together(work: Work, inputs: Inputs, params: Any) -> Model:
    """Call the work function of a training in all ranks, and return what rank 0 made of it.

    Args:
        work: A function of a module.
        inputs: Their devices are those of a launcher's processes, as ``own_device`` says; else one is started for each further device.
        params: Of the stage.

    Raises:
        LabelsegError: another rank failed, or was killed.
        Exception: what rank 0 raised.
    """
    size = len(split_devices(inputs.devices))
    if _Current.company is not None:
        return _Current.company.call(work, inputs, params)
    if size == 1:
        return work(inputs, params)
    places = [Place(rank, size, rank, size) for rank in range(size)]
    port = str(LightningEnvironment().main_port)
    with _set_up(places[0], port):
        with uninterrupted():
            others = start_processes(_begin, (places, port), nprocs=size - 1, join=False, start_method="spawn").processes
        try:
            company = _meet(places[0], others)
            try:
                return company.call(work, inputs, params)
            finally:
                company.dismiss(0)
        finally:
            end_all(others, GOODBYE_SECONDS)


def _begin(index: int, places: Sequence[Place], port: str) -> None:
    """Be one of the processes that were started for further devices."""
    end_with_the_caller()
    place = places[index + 1]
    with _set_up(place, port):
        _meet(place).follow()


@contextmanager
def _set_up(place: Place, port: str) -> Iterator[None]:
    """Set what a launcher would, and the threads of torch, for a while."""
    before, threads = dict(os.environ), torch.get_num_threads()
    os.environ |= {**place.variables, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= before
        torch.set_num_threads(threads)


def _meet(place: Place, others: Sequence[BaseProcess] = ()) -> Company:
    """Go where the other ranks are."""
    if place.size == place.local_size:  # the name of this machine may lead nowhere
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    store, _, _ = next(rendezvous("env://"))
    return Company(place, dist.PrefixStore("labelseg", store), others)


def _part() -> None:
    """Let go of the other ranks; what NCCL has under way may keep it from returning, so that is not waited for long."""
    if dist.is_initialized():
        ending = threading.Thread(target=dist.destroy_process_group, daemon=True)
        ending.start()
        ending.join(GOODBYE_SECONDS)
