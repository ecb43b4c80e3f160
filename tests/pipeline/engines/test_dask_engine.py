"""Workers of Dask: the same values as here, whatever becomes of a worker, and workers that cannot do the work."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest

from labelseg.errors import DataError, LabelsegError, MissingExtraError, UsageError
from labelseg.pipeline.engines import dask_engine
from labelseg.pipeline.engines.dask_engine import Call, DaskEngine
from labelseg.pipeline.engines.engine import compute_items
from labelseg.pipeline.engines.messages import Computed
from tests.pipeline.engines.test_engine import double, job, tasks, values
from tests.pipeline.toy import ToyDataset, make, set_image

ALONE = Call("one", "", "/", "0.0")


def die_once(inputs, params):
    """Double images; number 40 takes its worker with it when it is met first, number 41 whenever it is met."""
    work, mark = double(inputs, params), inputs.dataset.root / "died"

    def compute(item):
        value = int(item.image()[0, 0, 0])
        if value == 41 or (value == 40 and not mark.exists()):
            with mark.open("a") as file:
                file.write(f"{os.getpid()}\n")
            os.kill(os.getpid(), 9)
        return work(item)

    return compute


def refuse(inputs, params):
    raise DataError("this stage does not start.")


def tell_threads(inputs, params):
    return lambda item: {"mask": np.array([[int(os.environ["OMP_NUM_THREADS"]), os.getpid() % 251]], np.uint8)}


@pytest.fixture(scope="module")
def address():
    """Two workers on this machine, each of which starts again where it is killed; Dask itself gives up on a task at the first loss."""
    import dask
    from distributed import LocalCluster

    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50) as cluster,
    ):
        yield cluster.scheduler_address


@pytest.fixture
def root(tmp_path):
    return make(tmp_path / "w", images=10)


def compute(root, address, run=double, heard=None):
    return compute_items(job(root, run), tasks(root), 1, (heard if heard is not None else []).append, DaskEngine(address))


def test_items_are_those_computed_here_and_bad_ones_are_told(root, address):
    set_image(root, "t004", 50)
    heard: list = []
    outcome = compute(root, address, heard=heard)
    here = compute_items(job(root), tasks(root), 0, lambda message: None)
    assert values(root, outcome) == {f"t{n:03d}": 2 * (n + 1) for n in range(10) if n != 4}
    assert {i: place.digest for i, place in outcome.places.items()} == {i: place.digest for i, place in here.places.items()}
    assert [(f.id, f.error) for f in outcome.failed] == [("t004", "ZeroDivisionError")]
    assert sorted(m.id for m in heard if isinstance(m, Computed)) == sorted(outcome.places)
    assert list((root / ".labelseg" / "tmp").iterdir()) == []


def test_a_lost_worker_fails_no_item(root, address):
    set_image(root, "t002", 40)
    outcome = compute(root, address, die_once)
    assert (outcome.failed, len(outcome.places)) == ([], 10)
    assert values(root, outcome)["t002"] == 80
    assert len((root / "died").read_text().split()) == 1


@pytest.mark.cluster
def test_an_item_that_takes_every_worker_with_it_ends_the_run_after_all_others_and_is_not_counted_as_failed(root, address):
    set_image(root, "t002", 41)
    heard: list = []
    with pytest.raises(LabelsegError, match=r"1 items of double took .* t002 the first; all other items are computed"):
        compute(root, address, die_once, heard)
    written = {image_id for message in heard for image_id, _ in getattr(message, "places", ())}
    assert written == {f"t{n:03d}" for n in range(10) if n != 2}


def test_what_the_stage_raises_ends_the_run(root, address):
    with pytest.raises(DataError, match="this stage does not start"):
        compute(root, address, refuse)


def test_relative_paths_lead_where_they_do_for_the_caller(root, address, monkeypatch):
    monkeypatch.chdir(root.parent)
    relative = root.relative_to(root.parent)
    assert values(root, compute(relative, address))["t003"] == 8


def test_workers_that_see_another_folder_or_have_another_version_are_refused_before_the_work(root, address, monkeypatch):
    monkeypatch.setattr(dask_engine, "__version__", "9.9")
    with pytest.raises(
        LabelsegError, match=r"the Dask worker tcp://.* has version .* of labelseg, expected 9\.9\. Install that there, and run"
    ):
        compute(root, address)
    assert dask_engine._probe(ALONE)().endswith("expected 0.0. Install that there")
    monkeypatch.setitem(sys.modules, "labelseg", None)
    assert dask_engine._probe(ALONE)().startswith("cannot load labelseg: ")


def test_a_worker_that_does_not_see_the_workspace_computes_nothing(root):
    from labelseg import __version__

    call = Call("one", "", str(root / ".labelseg" / "tmp" / "gone"), __version__)
    with pytest.raises(LabelsegError, match=r"does not see .*\.labelseg\. Put the workspace"):
        dask_engine._compute(call, job(root), tasks(root))
    assert not (root / ".labelseg" / "objects").exists()


def test_no_scheduler_no_address_and_no_dask_are_told(root, monkeypatch):
    monkeypatch.setattr(dask_engine, "ANSWER_SECONDS", 0.3)
    with pytest.raises(LabelsegError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9 within 0 s"):
        compute(root, "tcp://127.0.0.1:9")
    with pytest.raises(UsageError, match="--scheduler odd://x: expected an address"):
        compute(root, "odd://x")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingExtraError, match=r"needs distributed\. Run: pip install 'labelseg\[dask\]'"):
        compute(root, None)
    assert ToyDataset(root).ids("train")


@pytest.mark.cluster
def test_without_an_address_workers_start_here_with_one_thread_each(root):
    outcome = compute(root, None, tell_threads)
    from labelseg.pipeline.store.store import Store

    store = Store(root / ".labelseg")
    masks = [store.read("double", place.part, place.index)["mask"][0] for place in outcome.places.values()]
    assert {int(mask[0]) for mask in masks} == {1}
    assert os.getpid() % 251 not in {int(mask[1]) for mask in masks}
