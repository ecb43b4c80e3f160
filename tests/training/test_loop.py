from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

from labelseg.errors import LabelsegError, UsageError
from labelseg.training.loop import TrainTask, train
from labelseg.training.optimization import Optimization, ParameterGroup, parameter_groups

REFERENCE = Path(__file__).parent.parent / "reference" / "psa"


class Blobs:
    """Noisy images of two kinds; a sample is drawn anew by every rng."""

    def __init__(self, count: int = 10) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def sample(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.float32]:
        label = index % 2
        return (rng.normal(size=(2, 6, 6)) + label).astype(np.float32), np.float32(label)


class Numbers(Blobs):
    """Samples that tell which they are and what their rng draws."""

    def sample(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return np.full(1, index, np.float32), rng.normal(size=1).astype(np.float32)


def small_net() -> nn.Module:
    torch.manual_seed(5)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1)
    )
    return net


def logistic_loss(net, batch):
    images, labels = batch
    return {"loss": F.binary_cross_entropy_with_logits(net(images)[:, 0], labels)}


def task(**changes) -> TrainTask:
    net = changes.pop("module", None) or small_net()
    settings = {
        "module": net,
        "loss": logistic_loss,
        "dataset": Blobs(),
        "groups": [ParameterGroup(parameters=list(net.parameters()), weight_decay=1e-3)],
        "optimization": Optimization(lr=0.05, warmup=2),
        "batch_size": 3,
        "epochs": 3,
        "seed": 7,
    }
    return TrainTask(**{**settings, **changes})


def equal(left, right) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


class Crash(Exception):
    pass


def crash_at(call: int):
    calls = 0

    def loss(net, batch):
        nonlocal calls
        calls += 1
        if calls == call:
            raise Crash
        return logistic_loss(net, batch)

    return loss


def seen_by(**changes) -> list[tuple[list[int], list[float]]]:
    """Batches of a training: indices and draws."""
    net = nn.Linear(1, 1)
    seen = []

    def loss(net, batch):
        seen.append((batch[0][:, 0].int().tolist(), batch[1][:, 0].tolist()))
        return {"loss": net(batch[1]).square().mean()}

    train(task(**{"module": net, "dataset": Numbers(), "loss": loss, **changes}))
    return seen


# --- schedule and optimiser -------------------------------------------------------------------------------------------


def test_poly_sgd_matches_the_published_trajectory():
    vectors = np.load(REFERENCE / "polysgd_psa.npz")
    decay = float(vectors["weight_decay"])
    parameters = [nn.Parameter(torch.from_numpy(row.copy())) for row in vectors["p0"]]
    groups = [
        ParameterGroup(parameters=[parameter], lr_scale=scale, weight_decay=weight_decay)
        for parameter, scale, weight_decay in zip(parameters, (1, 2, 10, 20), (decay, 0, decay, 0), strict=True)
    ]
    optimization = Optimization(
        lr=float(vectors["base_lr"]), momentum=float(vectors["sgd_momentum_effective"]), power=float(vectors["poly_power"])
    )
    optimizer = optimization.build(groups)
    for step, gradients in enumerate(vectors["grads"]):
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = torch.from_numpy(gradient.copy())
        optimization.apply(optimizer, step, int(vectors["max_step"]))
        np.testing.assert_allclose([group["lr"] for group in optimizer.param_groups], vectors["lrs"][step], rtol=1e-12)
        optimizer.step()
        after = np.stack([parameter.detach().numpy() for parameter in parameters])
        np.testing.assert_allclose(after, vectors["params_after"][step], rtol=1e-5, atol=1e-6)


def test_warm_up_grows_linearly_and_then_leaves_the_polynomial():
    warm, cold = Optimization(lr=1, warmup=4), Optimization(lr=1)
    shares = [warm.factor(t, 100) / cold.factor(t, 100) for t in range(6)]
    assert shares == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])


def test_groups_give_new_layers_ten_times_and_biases_twice_the_rate():
    net = nn.Module()
    net.backbone, net.head = nn.Conv2d(1, 2, 1), nn.Conv2d(2, 1, 1)
    found = {id(parameter): (group.lr_scale, group.weight_decay) for group in parameter_groups(net, 0.1) for parameter in group.parameters}
    expected = {
        id(net.backbone.weight): (1, 0.1),
        id(net.backbone.bias): (2, 0),
        id(net.head.weight): (10, 0.1),
        id(net.head.bias): (20, 0),
    }
    assert found == expected


def test_frozen_parameters_are_left_out_and_nothing_to_train_is_an_error():
    net = nn.Linear(2, 2)
    net.bias.requires_grad_(False)
    optimizer = Optimization(lr=1).build([ParameterGroup(parameters=list(net.parameters()))])
    assert [group["params"] for group in optimizer.param_groups] == [[net.weight]]
    net.requires_grad_(False)
    with pytest.raises(UsageError, match="frozen"):
        Optimization(lr=1).build([ParameterGroup(parameters=list(net.parameters()))])


# --- batches ----------------------------------------------------------------------------------------------------------


def test_each_epoch_has_every_sample_at_most_once_in_a_new_order():
    batches = [indices for indices, _ in seen_by()]
    epochs = [[index for indices in batches[first : first + 3] for index in indices] for first in (0, 3, 6)]
    assert [len(set(epoch)) for epoch in epochs] == [9, 9, 9]
    assert len(set(map(tuple, epochs))) == 3


def test_batches_depend_on_the_seed_alone_and_not_on_the_workers():
    assert seen_by() == seen_by()
    assert seen_by() != seen_by(seed=8)
    assert seen_by(epochs=1) == seen_by(epochs=1, workers=1)


def test_draws_of_a_sample_differ_between_epochs_and_samples_and_seeds():
    draws = [draw for seed in (7, 8) for _, batch in seen_by(seed=seed) for draw in batch]
    assert len(set(draws)) == len(draws)


def test_set_smaller_than_a_batch_is_taken_whole():
    batches = seen_by(dataset=Numbers(2), batch_size=16, epochs=2)
    assert [sorted(indices) for indices, _ in batches] == [[0, 1], [0, 1]]


def test_iterations_stop_inside_an_epoch():
    result = train(task(epochs=None, iterations=5))
    assert [(record["epoch"], record["iteration"]) for record in result.curves] == [(1, 3), (2, 5)]


def test_accumulation_gives_the_update_of_the_whole_batch():
    whole = train(task(module=nn.Sequential(nn.Flatten(), nn.Linear(72, 1)), batch_size=5))
    states = []
    for accumulate in (1, 2):
        torch.manual_seed(1)
        net = nn.Sequential(nn.Flatten(), nn.Linear(72, 1))
        states.append(train(task(module=net, batch_size=5, accumulate=accumulate)).last)
    torch.testing.assert_close(states[0], states[1])
    assert whole.curves[-1]["iteration"] == 6


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": None},
        {"iterations": 4},
        {"epochs": 0},
        {"batch_size": 0},
        {"accumulate": 0},
        {"seed": -1},
        {"dataset": Blobs(0)},
        {"precision": "16"},
        {"device": "tpu"},
    ],
)
def test_wrong_setting_is_a_usage_error(changes):
    with pytest.raises(UsageError):
        train(task(**changes))


# --- training ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("precision", "channels_last"), [("32-true", False), ("bf16-mixed", True)])
def test_loss_falls(precision, channels_last):
    result = train(task(epochs=20, precision=precision, channels_last=channels_last, dataset=Blobs(24), batch_size=8))
    losses = [record["loss"] for record in result.curves]
    assert losses[-1] < 0.7 * losses[0]
    assert all(value.dtype in (torch.float32, torch.int64) and value.is_contiguous() for value in result.last.values())


def test_training_twice_gives_equal_weights_and_leaves_the_random_state_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    net = small_net()
    torch.manual_seed(3)
    first = train(task(module=net))
    assert torch.equal(torch.rand(1), expected)
    assert equal(first.last, train(task()).last)
    assert not equal(first.last, train(task(seed=8)).last)


def test_best_epoch_is_the_first_highest_and_its_state_is_kept():
    states = []

    def evaluate(net, epoch):
        assert not net.training
        assert not torch.is_grad_enabled()
        states.append({name: value.clone() for name, value in net.state_dict().items()})
        return {"score": [1, 4, 4, 2][epoch - 1]}

    result = train(task(epochs=4, evaluate=evaluate, select="score"))
    assert result.best_epoch == 2
    assert equal(result.best, states[1])
    assert equal(result.last, states[3])
    assert [record["score"] for record in result.curves] == [1, 4, 4, 2]


def test_evaluation_every_third_epoch_and_at_the_end():
    epochs = []
    train(task(epochs=7, evaluate_every=3, evaluate=lambda net, epoch: epochs.append(epoch) or {}))
    assert epochs == [3, 6, 7]


def test_non_finite_loss_names_iteration_rate_and_remedy():
    def loss(net, batch):
        return {"loss": net(batch[0]).mean() * float("nan")}

    with pytest.raises(LabelsegError, match=r"nan at iteration 1 of 9 \(epoch 1, learning rate 0\.025\).*learning rate"):
        train(task(loss=loss))


def test_clipping_bounds_the_update():
    net = nn.Sequential(nn.Flatten(), nn.Linear(72, 1))
    before = net[1].weight.detach().clone()
    optimization = Optimization(lr=1, momentum=0, clip_norm=0.01)
    groups = [ParameterGroup(parameters=list(net.parameters()))]
    train(task(module=net, groups=groups, optimization=optimization, epochs=None, iterations=1))
    assert 0 < (net[1].weight - before).norm() <= 0.0101


def test_log_and_progress_tell_of_every_epoch_and_update():
    records, updates = [], []

    class Bar:
        def update(self, n):
            updates.append(n)

    @contextmanager
    def progress(total, title, done):
        updates.append((total, title, done))
        yield Bar()

    train(task(log=records.append, progress=progress))
    assert updates == [(9, "training", 0), *[1] * 9]
    assert [(record["event"], record["epoch"], record["iteration"]) for record in records] == [
        ("epoch", 1, 3),
        ("epoch", 2, 6),
        ("epoch", 3, 9),
    ]
    assert json.loads(json.dumps(records)) == records


# --- resuming ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sgd", "adam"])
@pytest.mark.parametrize(("precision", "channels_last"), [("32-true", False), ("bf16-mixed", True)])
def test_training_that_crashed_in_mid_epoch_goes_on_to_equal_weights(tmp_path, kind, precision, channels_last):
    def evaluate(net, epoch):
        return {"score": -epoch}

    changes = {
        "optimization": Optimization(kind=kind, lr=0.02),
        "precision": precision,
        "channels_last": channels_last,
        "evaluate": evaluate,
        "select": "score",
    }
    straight = train(task(**changes))
    changes |= {"checkpoints": tmp_path / "run", "checkpoint_seconds": 0}
    for call in (6, 3):  # in the second epoch, then in the third
        with pytest.raises(Crash):
            train(task(loss=crash_at(call), **changes))
    calls = []
    resumed = train(task(loss=lambda net, batch: calls.append(1) or logistic_loss(net, batch), **changes))
    assert len(calls) == 2
    assert equal(resumed.last, straight.last)
    assert equal(resumed.best, straight.best)
    assert (resumed.best_epoch, resumed.curves) == (straight.best_epoch, straight.curves)


KILLED = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import torch
torch.set_num_threads(1)
from test_loop import task, logistic_loss
from labelseg.training.loop import train
calls = 0
def loss(net, batch):
    global calls
    calls += 1
    if calls == 6:
        print("ready", flush=True)
        time.sleep(60)
    return logistic_loss(net, batch)
train(task(loss=loss, checkpoints=Path(sys.argv[1]), checkpoint_seconds=0))
"""


def test_killed_training_goes_on_to_equal_weights(tmp_path):
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": str(here.parent.parent)}
    command = [sys.executable, "-c", KILLED, str(tmp_path / "run"), str(here)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    resumed = train(task(checkpoints=tmp_path / "run"))
    assert equal(resumed.last, train(task()).last)


def test_finished_training_is_not_repeated(tmp_path):
    first = train(task(checkpoints=tmp_path / "run"))
    again = train(task(checkpoints=tmp_path / "run", loss=crash_at(1)))
    assert equal(first.last, again.last)
    assert first.curves == again.curves


def test_write_that_fails_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    with pytest.raises(Crash):
        train(task(loss=crash_at(4), checkpoints=folder))
    before = load_file(folder / "last.safetensors")

    def torn(tensors, path, metadata):
        Path(path).write_bytes(b"torn")
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr("labelseg.training.checkpoints.save_file", torn)
        with pytest.raises(OSError, match="disk full"):
            train(task(checkpoints=folder))
    assert equal(load_file(folder / "last.safetensors"), before)
    assert equal(train(task(checkpoints=folder)).last, train(task()).last)


def half_trained(folder, **changes):
    """Leave the checkpoints of a training that was killed in its fourth update."""
    with pytest.raises(Crash):
        train(task(loss=crash_at(4), checkpoints=folder, checkpoint_seconds=0, **changes))
    return folder / "last.safetensors", folder / "before.safetensors"


def test_checkpoint_of_another_training_is_told_and_never_becomes_this_one(tmp_path, caplog):
    half_trained(tmp_path / "run")
    assert equal(train(task(checkpoints=tmp_path / "run", seed=8)).last, train(task(seed=8)).last)
    assert "last.safetensors is of another training" in caplog.text


def test_checkpoint_of_equal_settings_under_another_key_is_told_and_not_used(tmp_path, caplog):
    half_trained(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    assert equal(train(task(checkpoints=tmp_path / "b")).last, train(task()).last)
    assert "last.safetensors is of another training" in caplog.text


def flip(path, position):
    data = bytearray(path.read_bytes())
    data[int(position * (len(data) - 1))] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("position", [0.0, 0.1, 0.3, 0.6, 0.9, 1.0])
def test_training_goes_on_from_the_checkpoint_before_a_damaged_one_to_the_same_weights(tmp_path, caplog, position):
    last, _ = half_trained(tmp_path / "run")
    flip(last, position)
    resumed = train(task(checkpoints=tmp_path / "run", loss=crash_at(8)))  # two of the nine updates stand
    assert "last.safetensors is not a readable checkpoint" in caplog.text
    assert equal(resumed.last, train(task()).last)


def test_a_checkpoint_that_changes_once_it_is_read_changes_nothing(tmp_path):
    last, before = half_trained(tmp_path / "run")

    def spoiled(net, batch):
        for path in (last, before):
            with path.open("r+b") as file:  # the same file, of other bytes
                file.write(b"\xff" * path.stat().st_size)
        return logistic_loss(net, batch)

    assert equal(train(task(checkpoints=tmp_path / "run", loss=spoiled, checkpoint_seconds=1e9)).last, train(task()).last)


def test_changed_counters_of_a_checkpoint_are_noticed(tmp_path, caplog):
    last, before = half_trained(tmp_path / "run")
    for path in (last, before):
        path.write_bytes(path.read_bytes().replace(b'\\"iteration\\": ', b'\\"iteration\\":1'))
    assert equal(train(task(checkpoints=tmp_path / "run")).last, train(task()).last)
    assert caplog.text.count("is not a readable checkpoint") == 2


def test_a_damaged_checkpoint_never_takes_the_place_of_the_one_before(tmp_path):
    last, before = half_trained(tmp_path / "run")
    sound = before.read_bytes()
    flip(last, 0.9)
    with pytest.raises(Crash):
        train(task(loss=crash_at(2), checkpoints=tmp_path / "run", checkpoint_seconds=0))
    assert before.read_bytes() == sound


def test_best_state_of_another_epoch_is_noticed(tmp_path, caplog):
    scored = {"evaluate": lambda net, epoch: {"score": epoch}, "select": "score"}
    train(task(checkpoints=tmp_path / "run", **scored))
    (tmp_path / "run" / "best-2.safetensors").replace(tmp_path / "run" / "best-3.safetensors")
    assert equal(train(task(checkpoints=tmp_path / "run", **scored)).best, train(task(**scored)).best)
    assert "best-3.safetensors is of another training, or another epoch of this one" in caplog.text


def test_only_the_best_states_of_both_checkpoints_are_kept(tmp_path):
    train(task(checkpoints=tmp_path / "run", evaluate=lambda net, epoch: {"score": epoch}, select="score"))
    found = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert found == ["before.safetensors", "best-2.safetensors", "best-3.safetensors", "last.safetensors"]


@pytest.mark.parametrize("missing", [{}, {"score": float("nan"), "other": 1.0}])
def test_a_metric_that_is_missing_costs_its_epoch_only(tmp_path, caplog, missing):
    scores = [{"score": 2.0}, missing, {"score": 1.0}]
    result = train(task(checkpoints=tmp_path / "run", evaluate=lambda net, epoch: scores[epoch - 1], select="score"))
    assert [record.get("score") for record in result.curves] == [2.0, None, 1.0]
    assert result.curves[1].get("other") == missing.get("other")
    assert result.best_epoch == 1
    assert [record.getMessage() for record in caplog.records] == ["epoch 2: its evaluation gave no score, so it cannot be the best"]
    result = train(task(evaluate=lambda net, epoch: missing, select="score", patience=1))
    assert result.best_epoch == len(result.curves) == 3
    assert result.best is result.last


# --- teacher, ratios, patience ----------------------------------------------------------------------------------------


def teacher_of(net):
    import copy

    return copy.deepcopy(net)


def test_a_teacher_is_the_average_that_the_schedule_says():
    states = []

    def loss(net, batch):
        states.append({name: value.clone() for name, value in net.state_dict().items()})
        return logistic_loss(net, batch)

    net = small_net()
    result = train(task(module=net, teacher=teacher_of(net), loss=loss, epochs=1))
    states.append(net.state_dict())
    expected = dict(states[1].items())
    for update, ratio in ((1, 0.5), (2, 2 / 3)):
        expected = {name: (value * ratio + states[update + 1][name].double() * (1 - ratio)) for name, value in expected.items()}
        expected = {name: value.to(states[0][name].dtype) for name, value in expected.items()}
    for name, value in result.last.items():
        torch.testing.assert_close(value, expected[name])
    assert not equal(result.last, net.state_dict())


def test_the_teacher_is_evaluated_and_kept():
    net = small_net()
    teacher, seen = teacher_of(net), []

    def evaluate(module, epoch):
        seen.append(module is teacher)
        return {"score": -epoch}

    result = train(task(module=net, teacher=teacher, evaluate=evaluate, select="score"))
    assert seen == [True] * 3
    assert equal(result.last, teacher.state_dict())
    assert result.best_epoch == 1
    assert not teacher.training


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_a_teacher_that_crashed_in_mid_epoch_goes_on_to_equal_weights(tmp_path, kind):
    def run(**changes):
        net = small_net()
        return train(task(module=net, teacher=teacher_of(net), optimization=Optimization(kind=kind, lr=0.02), **changes))

    straight = run()
    with pytest.raises(Crash):
        run(loss=crash_at(5), checkpoints=tmp_path / "run", checkpoint_seconds=0)
    assert equal(run(checkpoints=tmp_path / "run").last, straight.last)


def test_a_ratio_is_pooled_over_the_epoch_and_absent_without_ground():
    counts = iter([(1.0, 1.0), (0.0, 3.0), (0.0, 0.0)] + [(0.0, 0.0)] * 6)

    def loss(net, batch):
        right, counted = next(counts)
        return {**logistic_loss(net, batch), "right": torch.tensor(right), "counted": torch.tensor(counted)}

    curves = train(task(loss=loss, ratios={"accuracy": ("right", "counted")})).curves
    assert curves[0]["accuracy"] == pytest.approx(0.25)
    assert "accuracy" not in curves[1]
    assert not {"right", "counted"} & curves[0].keys()


@pytest.mark.parametrize(("scores", "epochs", "best"), [((1, 3, 2, 2, 9), 4, 2), ((1, 2, 3, 4, 5), 5, 5), ((5, 1, 6, 1, 1), 5, 3)])
def test_training_ends_after_two_evaluations_without_a_new_best(tmp_path, scores, epochs, best):
    changes = {"epochs": 5, "evaluate": lambda net, epoch: {"score": scores[epoch - 1]}, "select": "score", "patience": 2}
    result = train(task(checkpoints=tmp_path / "run", **changes))
    assert (len(result.curves), result.best_epoch) == (epochs, best)
    again = train(task(checkpoints=tmp_path / "run", loss=crash_at(1), **changes))
    assert equal(again.last, result.last)


def test_what_a_network_draws_differs_between_updates_and_between_seeds():
    def draws(seed):
        found = []

        def loss(net, batch):
            found.append(torch.rand(4).tolist())
            return logistic_loss(net, batch)

        train(task(loss=loss, seed=seed))
        return found

    first, second = draws(7), draws(8)
    assert first == draws(7)
    assert len({tuple(row) for row in first + second}) == len(first) + len(second) == 18
