"""Class-incremental tasks: which classes are learned at which step, by name or spelled out."""

from __future__ import annotations

import re
from collections.abc import Sequence

from labelseg.class_ids import BACKGROUND
from labelseg.data.dataset import VOC_CLASSES
from labelseg.errors import UsageError
from labelseg.suggestions import suggestion

Steps = tuple[tuple[str, ...], ...]

_COCO_NAMES = """
person;bicycle;car;motorcycle;airplane;bus;train;truck;boat;traffic light;fire hydrant;stop sign;parking meter;bench;bird;cat;dog;horse;
sheep;cow;elephant;bear;zebra;giraffe;backpack;umbrella;handbag;tie;suitcase;frisbee;skis;snowboard;sports ball;kite;baseball bat;
baseball glove;skateboard;surfboard;tennis racket;bottle;wine glass;cup;fork;knife;spoon;bowl;banana;apple;sandwich;orange;broccoli;
carrot;hot dog;pizza;donut;cake;chair;couch;potted plant;bed;dining table;toilet;tv;laptop;mouse;remote;keyboard;cell phone;microwave;
oven;toaster;sink;refrigerator;book;clock;vase;scissors;teddy bear;hair drier;toothbrush
"""
_COCO_GAPS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
# Name -> category id, as COCO's masks of things hold it; 0 is background.
COCO_IDS = dict(zip(_COCO_NAMES.replace("\n", "").split(";"), (k for k in range(1, 91) if k not in _COCO_GAPS), strict=True))
# Spellings of one class in VOC and in COCO.
VOC_IN_COCO = {
    "aeroplane": "airplane", "diningtable": "dining table", "motorbike": "motorcycle", "pottedplant": "potted plant",
    "sofa": "couch", "tvmonitor": "tv",
}  # fmt: skip

_VOC = VOC_CLASSES[1:]
_VOC_OF_COCO = {VOC_IN_COCO.get(name, name) for name in _VOC}


def _cut(classes: Sequence[str], *sizes: int) -> Steps:
    """Cut a list of classes into steps."""
    ends = [sum(sizes[: k + 1]) for k in range(len(sizes))]
    return tuple(tuple(classes[end - size : end]) for end, size in zip(ends, sizes, strict=True))


TASKS: dict[str, Steps] = {
    "19-1": _cut(_VOC, 19, 1),
    "19-1b": (tuple(name for name in _VOC if name != "bottle"), ("bottle",)),
    "15-5": _cut(_VOC, 15, 5),
    "15-1": _cut(_VOC, 15, 1, 1, 1, 1, 1),
    "10-10": _cut(_VOC, 10, 10),
    "10-5": _cut(_VOC, 10, 5, 5),
    "10-2": _cut(_VOC, 10, 2, 2, 2, 2, 2),
    "voc-offline": (_VOC,),
    "coco-offline": (tuple(COCO_IDS),),
    "coco-to-voc": (
        tuple(name for name in COCO_IDS if name not in _VOC_OF_COCO),
        tuple(name for name in COCO_IDS if name in _VOC_OF_COCO),
    ),
}
ALIASES = {"15-5s": "15-1", "10-5-5": "10-5", "coco-voc": "coco-to-voc", "offline": "voc-offline"}


def task_steps(task: str) -> Steps:
    """List the classes of each step of a task.

    Args:
        task: A name such as ``15-5``, or the classes themselves: ``cat,dog;cow;horse,sheep``.

    Raises:
        UsageError: no such task, an empty step, or a class listed twice.
    """
    name = ALIASES.get(task, task)
    if name in TASKS:
        return TASKS[name]
    if re.fullmatch(r"\d+(-\d+\w*)+", task) or not task.strip():
        hint = suggestion(task, [*TASKS, *ALIASES], listed="")
        raise UsageError(
            f"task {task!r}: expected one of {', '.join([*TASKS, *ALIASES])}, or classes such as cat,dog;cow;horse,sheep.{hint}"
        )
    steps = tuple(tuple(name.strip() for name in part.split(",") if name.strip()) for part in task.split(";"))
    if not all(steps):
        raise UsageError(f"task {task!r}: a step without a class. Write classes of a step between ',' and steps between ';'.")
    check_unique([name for step in steps for name in step], f"task {task!r}")
    return steps


def step_classes(task: str, step: int) -> tuple[str, ...]:
    """List the classes of one step of a task.

    Raises:
        UsageError: no such task or step.
    """
    steps = task_steps(task)
    if step >= len(steps):
        raise UsageError(f"task {task}: it has the steps 0 to {len(steps) - 1}, but no step {step}.")
    return steps[step]


def check_unique(names: Sequence[str], where: str) -> None:
    """Refuse a class that is listed twice.

    Raises:
        UsageError: naming it.
    """
    twice = [name for k, name in enumerate(names) if name in names[:k]]
    if twice:
        raise UsageError(f"{where}: class '{twice[0]}' is listed twice. List it once.")


def find_classes(names: Sequence[str], classes: Sequence[str], where: str) -> tuple[int, ...]:
    """Find the ids of classes by name; VOC's and COCO's spellings of one class are equal, and so are case, blanks and underscores.

    Args:
        names: What to find.
        classes: Class names by id, as the data has them.
        where: Subject of an error message.

    Raises:
        UsageError: an unknown class, background, or a class listed twice.
    """
    known = {_plain(name): k for k, name in enumerate(classes)}
    found = []
    for name in names:
        if _plain(name) not in known:
            raise UsageError(f"{where}: the data has no class '{name}'.{suggestion(name, classes, listed='Classes')}")
        found.append(known[_plain(name)])
        if classes[found[-1]] == BACKGROUND:
            raise UsageError(f"{where}: '{BACKGROUND}' is known at every step and cannot be learned as a class. Leave it out.")
    check_unique([classes[k] for k in found], where)
    return tuple(found)


def _plain(name: str) -> str:
    """Write a class name in one way."""
    plain = re.sub(r"[ _-]", "", name.casefold())
    return {voc: re.sub(" ", "", coco) for voc, coco in VOC_IN_COCO.items()}.get(plain, plain)
