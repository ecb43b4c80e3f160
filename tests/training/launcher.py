"""Does what torchrun does, with forked processes, which are there at once and need nothing that can be pickled."""

from __future__ import annotations

import gc
import os
import pickle
import socket
import sys
import traceback
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import pytest
import torch

import labelseg.training.ranks  # noqa: F401  loaded once, before the forks
from labelseg.pipeline.engines.launched import Place


def launch(size: int, work: Callable[[int], Any]) -> list[Any]:
    """Call a function with every rank, each in a process of its own; return what each returned or raised."""
    if sys.platform == "win32":
        pytest.skip("forks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    context = get_context("fork")
    pipes, processes = [], []
    for rank in range(size):
        receiver, sender = context.Pipe(duplex=False)
        processes.append(context.Process(target=_be, args=(Place(rank, size, rank, size), port, work, sender)))
        processes[-1].start()
        sender.close()
        pipes.append(receiver)
    found = []
    for process, pipe in zip(processes, pipes, strict=True):
        try:
            found.append(pickle.loads(pipe.recv_bytes()) if pipe.poll(60) else TimeoutError("it hangs"))
        except EOFError:
            process.join()
            found.append(process.exitcode)
    for process in processes:
        process.kill()
        process.join()
    return found


def _be(place: Place, port: str, work: Callable[[int], Any], sender: Connection) -> None:
    """Be one of the ranks."""
    os.environ |= {**place.variables, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    torch.set_num_threads(1)  # threads do not outlive a fork, and waiting for them would never end
    gc.freeze()  # what the tests hold is none of the rank's
    try:
        found = work(place.rank)
    except SystemExit as end:
        found = end.code
    except BaseException as error:
        traceback.print_exc()
        found = error
    sender.send_bytes(pickle.dumps(found))
    os._exit(0)
