"""Workers: their results, their failures and their deaths."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from labelseg.errors import LabelsegError, UsageError
from labelseg.pipeline.engines import engine, worker
from labelseg.pipeline.engines.engine import chunks, compute_items
from labelseg.pipeline.engines.inputs import Inputs, Items
from labelseg.pipeline.engines.messages import Computed, Failed, MapJob, Task, Written
from labelseg.pipeline.files import mishaps
from labelseg.pipeline.plan.decisions import Entry
from labelseg.pipeline.store.parts import array_digest
from labelseg.pipeline.store.store import Store
from tests.pipeline import toy

KILLED = "exit code -9: killed, as the system does when memory runs out"


def double(inputs, params):
    """Double images; some numbers are special."""

    def compute(item):
        value = int(item.image()[0, 0, 0])
        if value == toy.KILLS:
            os.kill(os.getpid(), 9)
        if value == 50:
            raise ZeroDivisionError
        if value == 51:
            return {"scores": np.zeros(1)}
        if value == 52:
            return np.zeros(1)
        return {"mask": np.array([[value * 2]], np.uint8)}

    return compute


def refuse(inputs, params):
    raise UsageError("this device does not exist.")


def refuse_oddly(inputs, params):
    class OddError(Exception):
        """Cannot be pickled, as it is local."""

    raise OddError("odd")


def die(inputs, params):
    os.kill(os.getpid(), 9)


def report_threads(inputs, params):
    return lambda item: {"mask": np.array([[int(os.environ["OMP_NUM_THREADS"])]], np.uint8)}


def report_kept(inputs, params):
    return lambda item: {"mask": np.array([[int(os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"])]], np.uint8)}


@pytest.fixture
def root(tmp_path) -> Path:
    return toy.make(tmp_path / "w", images=10)


def job(root: Path, run=double, device="cpu", **changes) -> MapJob:
    inputs = Inputs(dataset=toy.ToyDataset(root), store=Store(root / ".labelseg"), devices=device)
    return MapJob("double", run, None, inputs, {"version": 1}, has_masks=True, **changes)


def tasks(root: Path) -> list[Task]:
    return [Task(Entry(image_id, {}, {}), f"key-{image_id}") for image_id in toy.ToyDataset(root).ids("train")]


def compute(root: Path, workers: int, run=double, **changes):
    return compute_items(job(root, run, **changes), tasks(root), workers, lambda message: None)


def values(root: Path, outcome) -> dict[str, int]:
    store = Store(root / ".labelseg")
    return {i: int(store.read("double", place.part, place.index)["mask"][0, 0]) for i, place in sorted(outcome.places.items())}


@pytest.mark.parametrize(("workers", "device"), [(0, "cpu"), (2, "cpu"), (0, "cuda")])
def test_every_item_is_computed_and_can_be_read_back(root, workers, device):
    outcome = compute(root, workers, device=device)
    assert values(root, outcome) == {f"t{n:03d}": 2 * (n + 1) for n in range(10)}
    assert outcome.places["t003"].digest == array_digest({"mask": np.array([[8]], np.uint8)})


@pytest.mark.parametrize(("workers", "device"), [(0, "cpu"), (1, "cpu"), (0, "cuda"), (2, "cuda")])
def test_bad_items_are_told_with_their_cause_and_the_others_go_on(root, workers, device):
    for image_id, value in {"t001": 50, "t003": 51, "t005": 52, "t007": "x"}.items():
        toy.set_image(root, image_id, value)
    outcome = compute(root, workers, device=device)
    assert {f.id: f.error for f in outcome.failed} == {
        "t001": "ZeroDivisionError",
        "t003": "double for t003: expected an array 'mask', got scores.",
        "t005": "double for t005: expected a dict of arrays, got ndarray.",
        "t007": "t007: expected a number, got 'x'.",
    }
    assert all("Traceback" in f.trace for f in outcome.failed)
    assert len(outcome.places) == 6


def test_items_for_an_accelerator_are_computed_a_few_at_once_and_told_in_order(root):
    together, heard = threading.Barrier(worker.FEEDING_THREADS, timeout=20), []

    def slow(inputs, params):
        work = double(inputs, params)

        def compute(item):
            if item.id < "t004":
                together.wait()  # passed only if as many items are under way
            return work(item)

        return compute

    compute_items(job(root, slow, device="cuda"), tasks(root), 0, heard.append)
    assert [message.id for message in heard if isinstance(message, Computed)] == [f"t{n:03d}" for n in range(10)]


@pytest.mark.parametrize(("device", "asked", "processes"), [("cuda", None, 0), ("cuda", 3, 3), ("cpu", 3, 3), ("cuda", 99, 10)])
def test_an_accelerator_has_as_many_processes_as_are_asked_for(device, asked, processes):
    assert engine.share_out(10, device, asked) == processes


def test_threads_may_read_a_store_at_once(root):
    outcome = compute(root, 0)
    store = Store(root / ".labelseg")
    with ThreadPoolExecutor(4) as pool:
        read = list(
            pool.map(lambda place: int(store.read("double", place.part, place.index)["mask"][0, 0]), list(outcome.places.values()) * 50)
        )
    assert read == list(values(root, outcome).values()) * 50


def test_an_item_that_kills_its_worker_twice_is_failed_and_the_others_are_computed(root):
    toy.set_image(root, "t004", toy.KILLS)
    outcome = compute(root, 2)
    assert [(f.id, f.error) for f in outcome.failed] == [("t004", f"the worker process died on it twice ({KILLED}). {mishaps.MAP_MEMORY}")]
    assert list(values(root, outcome)) == [f"t{n:03d}" for n in range(10) if n != 4]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_stage_that_cannot_start_ends_the_work_with_its_error(root, workers):
    with pytest.raises(UsageError, match="this device does not exist"):
        compute(root, workers, refuse)


def test_an_error_that_cannot_travel_is_told_in_words(root):
    with pytest.raises(RuntimeError, match="OddError: odd"):
        compute(root, 1, refuse_oddly)


def test_a_worker_that_dies_while_starting_ends_the_work(root):
    with pytest.raises(LabelsegError, match=f"died while starting \\({KILLED}\\)\\. .*--workers 1"):
        compute(root, 2, die)


def test_workers_compute_with_one_thread_and_the_environment_is_restored(root, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert set(values(root, compute(root, 1, report_threads)).values()) == {1}
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_workers_bound_what_is_kept_of_each_image_size(root, monkeypatch):
    monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", raising=False)
    assert set(values(root, compute(root, 1, report_kept)).values()) == {128}
    assert "ONEDNN_PRIMITIVE_CACHE_CAPACITY" not in os.environ
    monkeypatch.setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "9")
    assert set(values(root, compute(root, 1, report_kept)).values()) == {9}


def test_threads_of_this_process_are_set_back(root):
    calls = []

    def set_threads(count: int) -> int:
        calls.append(count)
        return 4

    compute(root, 0, set_threads=set_threads)
    assert calls == [1, 1, 4]


def test_written_items_are_told_in_between(root, monkeypatch):
    monkeypatch.setattr(worker, "FLUSH_SECONDS", -1.0)
    heard = []
    compute_items(job(root), tasks(root), 0, heard.append)
    assert sum(isinstance(message, Written) for message in heard) == 10


def test_nothing_to_do_starts_nobody(root):
    assert compute_items(job(root), [], 2, lambda message: None).places == {}


@pytest.mark.parametrize(
    ("count", "workers", "sizes"), [(0, 2, []), (3, 2, [1, 1, 1]), (100, 2, [25] * 4), (300, 2, [64] * 4 + [44]), (100, 0, [50, 50])]
)
def test_chunks_are_small_enough_for_every_worker(count, workers, sizes):
    cut = chunks([Task(Entry(str(i), {}, {}), "") for i in range(count)], workers)
    assert [len(chunk) for chunk in cut] == sizes
    assert [task.entry.id for chunk in cut for task in chunk] == [str(i) for i in range(count)]


def test_many_tasks_make_few_pieces_that_get_smaller():
    cut = [len(chunk) for chunk in chunks([Task(Entry(str(i), {}, {}), "") for i in range(100_000)], 2)]
    assert (sum(cut), max(cut), cut[0], cut[-2]) == (100_000, 4096, 4096, 64)
    assert cut == sorted(cut, reverse=True)
    assert len(cut) < 70
    assert all(size <= max(64, rest // 8) for size, rest in zip(cut, [100_000 - sum(cut[:k]) for k in range(len(cut))], strict=True))


def test_items_know_their_image_and_nothing_that_is_not_read(root):
    items = Items([task.entry for task in tasks(root)], toy.ToyDataset(root), Store(root / ".labelseg"), frozenset({"labels"}))
    (root / "masks" / "t000.txt").write_text("2")
    assert len(items[2:4]) == 2
    assert items[0].read("labels")["mask"].tolist() == [[2, 2, 2], [2, 2, 2]]
    assert (items[0].tags, items[0].has("mask"), items[1].has("mask")) == ((1,), True, False)
    with pytest.raises(UsageError, match="nothing is read as 'cam'"):
        items[0].read("cam")


def test_a_failure_has_one_line(root):
    failure = Failed("a", mishaps.one_line(ValueError("two\nlines")), "")
    assert failure.error == "ValueError: two lines"
