from __future__ import annotations

import pytest

from labelseg.data.dataset import VOC_CLASSES
from labelseg.data.tasks import ALIASES, COCO_IDS, TASKS, find_classes, step_classes, task_steps
from labelseg.errors import UsageError
from tests.recorded import wilson_tasks

RECORDED = wilson_tasks()
VOC_IDS = {name: k for k, name in enumerate(VOC_CLASSES)}
# Recorded dataset and task -> name here, and the ids of its classes in masks.
NAMES = {
    **{f"voc|{name}": (name, VOC_IDS) for name in ("19-1", "19-1b", "15-5", "15-1", "10-10", "10-5", "10-2")},
    "voc|offline": ("voc-offline", VOC_IDS),
    "coco|offline": ("coco-offline", COCO_IDS),
    "coco|voc": ("coco-to-voc", COCO_IDS),
    "coco-voc|voc": ("coco-to-voc", COCO_IDS),
}


def step_ids(task, ids, step):
    """Class ids of all channels up to a step, and the number of old channels."""
    steps = [[ids[name] for name in names] for names in task_steps(task)[: step + 1]]
    old = [0, *(k for names in steps[:-1] for k in names)]
    return [*old, *steps[-1]], len(old)


@pytest.mark.parametrize("key", list(RECORDED["meta"]))
def test_the_classes_and_channels_of_every_named_task_are_the_published_ones(key):
    dataset, task, step = key.split("|")
    recorded = RECORDED["meta"][key]
    order, n_old = step_ids(*NAMES[f"{dataset}|{task}"], int(step))
    assert order == recorded["order"]
    first = [0] if step == "0" else []
    assert first + order[n_old if step != "0" else 1 :] == recorded["labels"]


def test_coco_leaves_out_the_ids_that_it_never_used():
    assert set(range(1, 92)) - set(COCO_IDS.values()) == set(RECORDED["coco_ignore_labels_1based"])


def test_a_class_of_voc_is_found_under_its_name_in_coco():
    found = find_classes(VOC_CLASSES[1:], ["background", *COCO_IDS], "task")
    ids = [0, *COCO_IDS.values()]
    assert [ids[k] for k in found] == [RECORDED["voc_to_coco"][str(k)] for k in range(1, 21)]


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
def test_an_alias_is_the_same_task(alias, name):
    assert task_steps(alias) == TASKS[name]


def test_a_task_may_be_spelled_out():
    assert task_steps("cat, dog;cow;horse,sheep") == (("cat", "dog"), ("cow",), ("horse", "sheep"))
    assert step_classes("cat,dog;dining table", 1) == ("dining table",)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("15-55", "15-5"),
        ("cat,dog;cat", "'cat' is listed twice"),
        ("cat;;dog", "a step without a class"),
    ],
)
def test_a_wrong_task_is_told(task, message):
    with pytest.raises(UsageError, match=message):
        task_steps(task)


def test_a_step_beyond_the_task_is_told():
    with pytest.raises(UsageError, match="the steps 0 to 1, but no step 2"):
        step_classes("15-5", 2)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("cta",), "Did you mean 'cat'"),
        (("cat", "Cat"), "listed twice"),
        (("background",), "known at every step"),
        (("unicorn",), "Classes:"),
    ],
)
def test_a_wrong_class_is_told(names, message):
    with pytest.raises(UsageError, match=message):
        find_classes(names, ["background", "cat", "dog"], "wilson --new")
