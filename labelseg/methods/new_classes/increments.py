"""A step of class-incremental learning: what is known before and after it, and which images it learns from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labelseg.class_ids import IGNORE
from labelseg.data.label_maps import select_images
from labelseg.data.tasks import find_classes
from labelseg.errors import DataError, UsageError
from labelseg.models.networks import known_classes
from labelseg.pipeline.engines.inputs import Inputs, Item, Model
from labelseg.training.samples import readable

if TYPE_CHECKING:
    from labelseg.methods.new_classes.step_params import Params

SOFTMAX, SIGMOID = "softmax", "sigmoid"


@dataclass(frozen=True)
class Increment:
    """One step.

    Attributes:
        name: Instance, for messages.
        step: Number, from 0.
        scenario: ``overlap``, ``disjoint`` or ``separate``.
        classes: Class names of the data by id.
        class_ids: Class id of each channel after the step, background first.
        n_old: Number of channels before it, background included.
    """

    name: str
    step: int
    scenario: str
    classes: tuple[str, ...]
    class_ids: tuple[int, ...]
    n_old: int

    @property
    def new_ids(self) -> tuple[int, ...]:
        """Class ids learned in the step."""
        return self.class_ids[self.n_old :]

    def meta(self, activation: str, **settings: Any) -> dict[str, Any]:
        """Say in JSON what the model of the step knows."""
        return {
            "classes": list(self.classes),
            "class_ids": list(self.class_ids),
            "activation": activation,
            "increment": {"step": self.step, "scenario": self.scenario, "n_old": self.n_old, **settings},
        }

    def select(self, items: Sequence[Item], classes_of: Callable[[Item], Iterable[int]]) -> list[Item]:
        """Pick the images of the step.

        Raises:
            DataError: a new class is in none of them.
        """
        items, present = _classified(items, classes_of)
        chosen = select_images(present, self.class_ids, self.new_ids, self.scenario)  # type: ignore[arg-type]
        for class_id in self.new_ids:
            if not any(class_id in present[k] for k in chosen):
                held = sum(class_id in classes for classes in present)
                why = f"{held:,} of the split hold it beside a class of a later step" if held else "none of the split holds it"
                missing = f"no image of the new class '{self.classes[class_id]}' ({why})"
                raise DataError(f"{self.name}: {missing}. Name another --split, or leave it out.")
        return [items[k] for k in chosen]

    def without_new(self, items: Sequence[Item], classes_of: Callable[[Item], Iterable[int]]) -> list[Item]:
        """Pick the images that hold none of the new classes, and in other scenarios than overlap none of a later step."""
        items, present = _classified(items, classes_of)
        allowed = set(range(256)) if self.scenario == "overlap" else {*self.class_ids, IGNORE}
        return [item for item, found in zip(items, present, strict=True) if found.isdisjoint(self.new_ids) and found <= allowed]


def read_increment(inputs: Inputs, params: Params, before: Model | None) -> Increment:
    """Check a step against the data and the model before it.

    Args:
        inputs: Of the stage.
        params: Of the stage.
        before: The model to start from or to take over; None at a step 0 that is trained.

    Raises:
        UsageError: the step is not possible so.
    """
    name = inputs.instance or "wilson"
    if not inputs.has_background:
        raise UsageError(f"{name}: the data has no background, which holds the classes not known yet. Make 'background' the first class.")
    new = find_classes(params.new, inputs.classes, f"{name} --new")
    if before is None:
        return _increment(name, inputs, params, (0,), new)
    source = params.previous or params.adopt
    if before.meta.get("network") != "segmenter":
        raise UsageError(f"{name}: expected {source} to be a segmenter, got {before.meta.get('network')}. Name another instance.")
    if before.meta["settings"].get("head") == "deeplabv2":
        raise UsageError(f"{name}: {source} has the head deeplabv2, which has no one layer to add classes to. Name another instance.")
    if list(before.meta.get("classes", ())) != list(inputs.classes):
        raise UsageError(f"{name}: {source} was trained with another list of classes. Train it again.")
    known = tuple(known_classes(before.meta))
    if params.adopt:
        unknown = [inputs.classes[k] for k in new if k not in known]
        if unknown:
            raise UsageError(f"{name}: {params.adopt} does not know '{unknown[0]}'. Leave it out of step 0.")
        return _increment(name, inputs, params, (0,), new or known[1:])
    _check_follows(name, params, before)
    twice = [inputs.classes[k] for k in new if k in known]
    if twice:
        raise UsageError(f"{name}: class '{twice[0]}' is already known after {params.previous}. Leave it out of --new.")
    return _increment(name, inputs, params, known, new)


def single_class_refusal(name: str, class_name: str) -> UsageError:
    """Say why one class cannot be learned from its own images alone."""
    return UsageError(
        f"{name}: '{class_name}' is the only new class, so every image of the step holds it and none shows the localizer what it is not. "
        "Name images with tags but without it: --negatives SPLIT"
    )


def _classified(items: Sequence[Item], classes_of: Callable[[Item], Iterable[int]]) -> tuple[list[Item], list[set[int]]]:
    """Tell the classes in each image; images whose mask cannot be read are left out."""
    pairs = list(readable(items, lambda item: (item, set(classes_of(item)))))
    return [item for item, _ in pairs], [classes for _, classes in pairs]


def _increment(name: str, inputs: Inputs, params: Params, known: tuple[int, ...], new: tuple[int, ...]) -> Increment:
    if not new:
        raise UsageError(f"{name}: no classes to learn. Name them: --new cow,sheep, or for all steps --task 'cat,dog;cow,sheep' or 15-5")
    return Increment(name, params.step, params.scenario, inputs.classes, (*known, *new), len(known))


def _check_follows(name: str, params: Params, before: Model) -> None:
    """Refuse a gap in the chain, and another scenario than that of the step before."""
    then: Mapping[str, Any] = before.meta.get("increment", {"step": 0, "scenario": params.scenario})
    if then["step"] != params.step - 1:
        raise UsageError(f"{name} is step {params.step}, but {params.previous} is step {then['step']}. Expected step {params.step - 1}.")
    if then["scenario"] != params.scenario:
        raise UsageError(
            f"{name}: scenario {params.scenario}, but {params.previous} was trained with {then['scenario']}; all steps have one in common. "
            f"Set it for all: labelseg config wilson.scenario {then['scenario']}"
        )
