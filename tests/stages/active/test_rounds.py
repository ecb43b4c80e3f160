"""Rounds of questions in two domains: what is asked, what is learned, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from labelseg.answers.answer_files import Answer, answers_path, append_answers, read_answers
from labelseg.class_ids import IGNORE
from labelseg.data.augment.transforms import normalize
from labelseg.errors import LabelsegError, UsageError, WaitingError
from labelseg.methods.active.selector_training import load_twins
from labelseg.models.networks import load_network
from labelseg.ops.active.points import class_points
from labelseg.pages.annotation.asked_items import read_questions
from labelseg.pipeline.plan.graph import resolve
from labelseg.pipeline.run.options import RunOptions
from labelseg.results.budgets import budgets
from labelseg.training import loop
from labelseg.workspace import Workspace
from tests.stages import labor_chain
from tests.stages.labor_chain import HERE, TRAIN


def digests(workspace, *instances):
    return [workspace.ref(name, TRAIN).digest for name in instances]


def points_of(arrays):
    return {tuple(place) for place in arrays["points"].tolist()}


def test_points_are_those_that_the_selector_disagrees_on(labor_root):
    workspace = Workspace(labor_root)
    twins = load_twins(workspace.model("train-selector@1"))
    for image_id, found in workspace["labor-select@1", TRAIN].items():
        image = torch.from_numpy(normalize(workspace.dataset.image(image_id)))[None]
        with torch.inference_mode():
            one, two = (logits[0].double() for logits in twins(image))
        differ = (one.argmax(0) != two.argmax(0)).numpy()
        expected = class_points(((one.softmax(0) + two.softmax(0)) / 2).numpy(), differ)
        assert (found["inconsistent"] > 0).mean() == pytest.approx(differ.mean(), abs=1e-3)
        assert len(found["points"]) > 0
        # two forms of one network round differently, and a point may move to its neighbour's likeness
        assert abs(len(found["points"]) - len(expected.places)) <= 1
        assert all(found["inconsistent"][y, x] for y, x in found["points"])
        assert len(set(found["guesses"].tolist())) == len(found["guesses"])


def test_nothing_is_asked_twice_and_no_image_beyond_its_budget(labor_root):
    workspace = Workspace(labor_root)
    first, second = (workspace[f"labor-select@{r}", TRAIN] for r in (1, 2))
    for image_id in first:
        assert not points_of(first[image_id]) & points_of(second[image_id])
        asked = second[image_id]["asked"]
        assert {tuple(place) for place in np.argwhere(asked == 1).tolist()} == points_of(first[image_id])
        assert {tuple(place) for place in np.argwhere(asked == 2).tolist()} == points_of(second[image_id])
        assert (asked > 0).sum() <= 9


def test_answers_are_those_of_the_true_masks_and_add_up(labor_root):
    workspace = Workspace(labor_root)
    for image_id, found in workspace["labor-annotate@2", TRAIN].items():
        truth = workspace.dataset.mask(image_id)
        rows, columns = found["points"].T
        np.testing.assert_array_equal(found["point_labels"], truth[rows, columns])
        expected = np.full(truth.shape, IGNORE)
        expected[rows, columns] = truth[rows, columns]
        np.testing.assert_array_equal(found["mask"], expected)
        of_rounds = [len(workspace[f"labor-select@{r}", TRAIN][image_id]["points"]) for r in (1, 2)]
        assert np.bincount(found["rounds"], minlength=3).tolist() == [0, *of_rounds]


def test_the_budget_is_counted_twice(labor_root):
    workspace = Workspace(labor_root)
    spent = {budget.instance: budget for budget in budgets(workspace)}
    arrays = list(workspace["labor-annotate@2", TRAIN].values())
    labels = np.concatenate([found["point_labels"] for found in arrays])
    last = spent["labor-annotate@2"]
    assert (last.asked, last.labelled) == (len(labels), (labels != IGNORE).sum())
    assert last.now == last.asked - spent["labor-annotate@1"].asked
    assert list(last.by_class.values()) == np.bincount(labels, minlength=256)[: len(workspace.dataset.classes)].tolist()
    assert last.grid == ""  # scenes have sizes of their own
    assert last.share == pytest.approx(len(labels) / sum(found["mask"].size for found in arrays))


def test_chance_asks_as_many_points_of_each_image_as_the_choice_it_is_compared_with(labor_root):
    workspace = Workspace(labor_root)
    chance, chosen = (workspace[name, TRAIN] for name in ("labor-select@chance-1", "labor-select@1"))
    assert [len(chance[i]["points"]) for i in chance] == [len(chosen[i]["points"]) for i in chosen]
    assert all((found["guesses"] == -1).all() for found in chance.values())


def test_processes_change_nothing_of_a_choice(rounds):
    before = digests(rounds, "labor-select@2")
    rounds.run("labor-select@2", TRAIN, options=RunOptions(workers=2, force=frozenset({"labor-select@2"})))
    assert digests(rounds, "labor-select@2") == before


@pytest.mark.parametrize("instance", ["train-uda@1", "train-selector@2"])
def test_an_interrupted_training_goes_on_to_the_bit(rounds, monkeypatch, instance):
    before = rounds.model(instance).tensors
    update, done = loop._Training._update, []

    def interrupted(self, batches):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(1)
        return update(self, batches)

    with monkeypatch.context() as patch:
        patch.setattr(loop._Training, "_update", interrupted)
        patch.setattr(loop.TrainTask, "checkpoint_seconds", 0.0, raising=False)
        patch.setattr(loop.time, "monotonic", iter(range(0, 10**9, 100)).__next__)
        with pytest.raises(KeyboardInterrupt):
            rounds.run(instance, options=RunOptions(workers=0, force=frozenset({instance})))
    rounds.run(instance, options=HERE)
    after = rounds.model(instance).tensors
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        np.testing.assert_array_equal(tensor, after[name], err_msg=name)


def test_a_later_round_goes_on_with_network_and_discriminator(labor_root):
    workspace = Workspace(labor_root)
    first, second = (workspace.model(f"train-uda@{r}") for r in (0, 1))
    helpers = [name for name in first.tensors if name.startswith("discriminator.")]
    assert len(helpers) == 10
    assert first.meta["helpers"] == second.meta["helpers"] == ["discriminator."]
    assert load_network(second, "segmenter").settings == load_network(first, "segmenter").settings
    assert {"loss_source", "loss_adversarial", "loss_discriminator"} <= first.curves[0].keys()
    assert "loss_answers" not in first.curves[0]
    assert np.isfinite(second.curves[0]["loss_answers"])


def test_both_heads_of_the_selector_begin_different_and_end_different(labor_root):
    model = Workspace(labor_root).model("train-selector@1")
    assert all(row["inconsistent"] > 0 for row in model.curves)
    twins = load_twins(model)
    pairs = zip(twins.segmenter.head.parameters(), twins.second.parameters(), strict=True)
    assert not all(torch.equal(one, two) for one, two in pairs)
    assert 0 < model.metrics["pseudo_labelled"] <= 1
    assert list(model.meta["thresholds"]) == model.meta["classes"]


def test_all_that_differs_is_asked_by_spl_up_to_its_share(rounds):
    options = RunOptions(workers=0, create=True)
    rounds.run("labor-select@all", TRAIN, options=options, strategy="spl")
    limited = rounds.run("labor-select@some", TRAIN, options=options, strategy="spl", spl_max_fraction=0.001)
    assert limited.results[-1].failed == 0
    for image_id, found in rounds["labor-select@all", TRAIN].items():
        assert points_of(found) == {tuple(place) for place in np.argwhere(found["inconsistent"]).tolist()}
        of_piece = {tuple(p): k for p, k in zip(found["points"].tolist(), found["regions"].tolist(), strict=True)}
        assert all(of_piece[y, x] == of_piece[y, x + 1] for y, x in of_piece if (y, x + 1) in of_piece)
        some = rounds["labor-select@some", TRAIN][image_id]
        assert points_of(some) <= points_of(found)
        assert len(some["points"]) == min(len(found["points"]), int(0.001 * found["asked"].size))


@pytest.mark.parametrize("strategy", ["entropy", "margin", "ripu", "pixelpick"])
def test_other_strategies_ask_a_number_of_points_with_a_guess(rounds, strategy):
    rounds.run(f"labor-select@{strategy}", TRAIN, options=HERE, strategy=strategy, points=4, region=3, grid=40)
    net = load_network(rounds.model("train-uda@0"), "segmenter")
    for image_id, found in rounds[f"labor-select@{strategy}", TRAIN].items():
        size = rounds.dataset.image(image_id).shape[:2]
        assert max(found["asked"].shape) == 40
        assert len(points_of(found)) == 4
        assert (found["asked"] > 0).sum() == 4
        assert all(0 <= y < size[0] and 0 <= x < size[1] for y, x in found["points"])
        assert set(found["guesses"].tolist()) <= set(range(net.settings["n_classes"]))


def test_a_round_on_another_grid_is_refused(rounds):
    with pytest.raises(LabelsegError, match=r"the grid is \d+ x 40 pixels, that of labor-select@1 .*give all the same --grid"):
        rounds.run("labor-select@other", TRAIN, options=HERE, round=2, grid=40)


def test_a_round_whose_round_before_is_missing_is_refused(rounds):
    with pytest.raises(UsageError, match="has no table"):
        rounds.run("labor-select@late", TRAIN, options=HERE, round=4)


def say(workspace, asking, label, places=slice(None), **more):
    """Answer the questions of an instance in one word; the points that were answered."""
    questions = read_questions(workspace, workspace.ref(asking, TRAIN))
    said = [Answer(image=q.image, y=y, x=x, label=label, **more) for q in questions for y, x in q.points][places]
    append_answers(answers_path(workspace.root, asking), said)
    return [one.point for one in said]


def states(workspace):
    return {row.instance: row.state for row in workspace.status()}


def test_people_are_waited_for_and_what_they_said_is_learned(rounds):
    asking, collecting = "labor-select@chance-1", "labor-annotate@chance-1"
    total = sum(len(found["points"]) for found in rounds[asking, TRAIN].values())
    with pytest.raises(WaitingError, match=f"{total} of {total} questions of {asking} .*labelseg annotate {asking}") as refused:
        rounds.run(collecting, TRAIN, options=HERE)
    assert refused.value.exit_code == 6
    assert states(rounds)[collecting] == "waiting"
    say(rounds, asking, "star", slice(1, None))
    with pytest.raises(WaitingError, match=f"1 of {total} questions"):
        rounds.run(collecting, TRAIN, options=HERE)
    (last,) = say(rounds, asking, None, slice(1))
    rounds.run(collecting, TRAIN, options=HERE)
    star = rounds.dataset.classes.index("star")
    for image_id, found in rounds[collecting, TRAIN].items():
        unsure = [(image_id, y, x) == last for y, x in found["points"].tolist()]
        assert found["point_labels"].tolist() == [IGNORE if one else star for one in unsure]
    assert states(rounds)[collecting] == "fresh"
    # another answer makes it stale, and only what depends on it
    say(rounds, asking, "star", slice(1))
    after = states(rounds)
    assert (after[collecting], after["labor-annotate@2"], after["train-uda@2"]) == ("stale", "fresh", "fresh")


def test_a_round_may_go_on_with_the_answers_there_are(rounds):
    points = say(rounds, "labor-select@chance-1", "star", slice(2))
    rounds.run("labor-annotate@chance-1", TRAIN, options=HERE, partial=True)
    found = [(image, *place) for image, arrays in rounds["labor-annotate@chance-1", TRAIN].items() for place in points_of(arrays)]
    assert sorted(found) == sorted(points)


def test_an_answer_of_another_class_list_is_told_and_answers_nothing(rounds, caplog):
    say(rounds, "labor-select@chance-1", "kite")
    with pytest.raises(LabelsegError, match=r"6 of 6 questions of labor-select@chance-1 \(target:train\) are open"):
        rounds.run("labor-annotate@chance-1", TRAIN, options=HERE)
    assert "'kite' is no class of the data" in caplog.text


def test_answers_to_pixels_that_nobody_asks_are_kept_and_count_for_nothing(rounds):
    asking = "labor-select@chance-1"
    append_answers(answers_path(rounds.root, asking), [Answer(image="target:train_0000", y=0, x=0, label="star")])
    say(rounds, asking, "star")
    rounds.run("labor-annotate@chance-1", TRAIN, options=HERE)
    assert points_of(rounds["labor-annotate@chance-1", TRAIN]["target:train_0000"]) == points_of(rounds[asking, TRAIN]["target:train_0000"])
    assert ("target:train_0000", 0, 0) in read_answers(answers_path(rounds.root, asking)).current()


def test_an_answer_file_that_ends_in_a_line_costs_that_answer_alone(rounds):
    asking = "labor-select@chance-1"
    total = len(say(rounds, asking, "star"))
    path = answers_path(rounds.root, asking)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(WaitingError, match=f"1 of {total} questions"):
        rounds.run("labor-annotate@chance-1", TRAIN, options=HERE)
    say(rounds, asking, "star", slice(-1, None))
    rounds.run("labor-annotate@chance-1", TRAIN, options=HERE)
    assert states(rounds)["labor-annotate@chance-1"] == "fresh"


def test_gc_leaves_answers_alone(rounds):
    path = answers_path(rounds.root, "labor-select@gone")
    append_answers(path, [Answer(image="a", y=0, x=0, label=None)])
    before = path.read_bytes()
    rounds.store.sweep()
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("stage", "table", "message"),
    [
        (
            "labor-select",
            {"round": 3, "previous": "labor-select@1"},
            "its round is 1, expected 2, as that of labor-select@odd is 3.*--round 2",
        ),
        (
            "labor-select",
            {"round": 1, "previous": "labor-select@1"},
            "its round is 1, expected 0, as that of labor-select@odd is 1.*--round 2",
        ),
        (
            "labor-select",
            {"round": 2, "previous": "segment"},
            "--previous segment: expected an instance of labor-select, got one of segment",
        ),
        ("labor-annotate", {"round": 3, "asked": "labor-select@2"}, "--asked labor-select@2: its round is 2, expected 3.*--round 2"),
        ("labor-annotate", {"round": 2, "previous": "labor-annotate@2"}, "its round is 2, expected 1.*--round 3"),
        ("labor-annotate", {"round": 1, "asked": "ask"}, "--asked ask: expected an instance of labor-select, got one of ask"),
    ],
)
def test_rounds_follow_one_another_and_none_is_left_out(tmp_path, stage, table, message):
    values = "\n".join(f"{key} = {json.dumps(value)}" for key, value in table.items())
    settings = f"{labor_chain.SETTINGS}\n[labor-select.3]\n\n[{stage}.odd]\n{values}\n"
    with pytest.raises(UsageError, match=message):
        resolve(labor_chain.make_workspace(tmp_path, settings).config, f"{stage}@odd", TRAIN)
