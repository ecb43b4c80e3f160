"""Choosing the settings of a chain from tags on stored artifacts: thresholds, background exponents, widths of the dense CRF."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from labelseg.errors import UsageError
from labelseg.inference.predictor import Predictor
from labelseg.inference.walks import Walker, start_of
from labelseg.methods.crf_params import has_updates
from labelseg.models.fast.inference_form import for_inference
from labelseg.models.networks import load_network
from labelseg.pipeline.instances import stage_of
from labelseg.pipeline.plan.graph import resolve
from labelseg.results.standing import Named, find_refs
from labelseg.tuning.judges import Judge, TagEvidence, TrueMasks
from labelseg.tuning.makers import Maker, RefinedMaps, ThresholdedMaps, WalkedMaps, gain_error, measure_with
from labelseg.tuning.search import Axis, Found, Settings, coarse_to_fine, geometric_middle, round_digits
from labelseg.tuning.stored_items import StoredItems

if TYPE_CHECKING:
    from labelseg.pipeline.store.manifests import Ref
    from labelseg.tuning.images import TuningImages
    from labelseg.workspace import Workspace

TUNABLE = ("refine", "propagate")
CHAIN = ("refine", "propagate")
THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
BACKGROUND_WEIGHTS = (0.7, 0.9, 1.1, 1.3, 1.5)
PSA_THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5)
WIDTHS = (20.0, 40.0, 80.0)  # pixels, of images with a longer side of 320
COLOURS = (3.0, 6.0, 12.0)  # grey levels
USUAL_SIDE = 320
APART = 0.1  # of the thresholds of the three readings of refine


@dataclass(frozen=True)
class Choice:
    """What was chosen for one table of ``labelseg.toml``.

    Attributes:
        step: What was scored: ``cam``, ``refine``, ``propagate@one``.
        table: The table that holds the values: ``evaluate``, or the instance.
        values: Parameter -> chosen value.
        before: Parameter -> value that stood; None where none was set.
        score, score_before: On the images that were chosen on.
        held, held_before: On the images that were held out; None where there are none.
        gain, error: By how much the best that was found scored higher than what stood, and the standard error of that. What stood is
            kept where the gain is no more than its error.
        tried: How many settings were scored.
        edges: Parameters whose chosen value is the first or last that was tried.
    """

    step: str
    table: str
    values: dict[str, float]
    before: dict[str, float | None]
    score: float
    score_before: float
    held: float | None = None
    held_before: float | None = None
    gain: float = 0.0
    error: float = 0.0
    tried: int = 0
    edges: tuple[str, ...] = field(default_factory=tuple)

    @property
    def changes(self) -> dict[str, float]:
        """What is to be written: the values that differ from those that stood."""
        return {name: value for name, value in self.values.items() if self.before.get(name) != value}


class Trial(NamedTuple):
    """What a search came to: what is taken, what the best gained with its error, and scores on what was held out."""

    found: Found
    gain: float
    error: float
    held: float | None = None
    held_before: float | None = None


def alpha_of(threshold: float) -> float:
    """Background exponent at which a class beats the background above a threshold: ``ln m / ln(1 - m)``, to three digits."""
    return round_digits(math.log(threshold) / math.log(1 - threshold), 3)


def threshold_of(alpha: float) -> float:
    """The threshold m above which a class beats the background ``(1 - m) ** alpha``, in (0, 1)."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if middle < (1 - middle) ** alpha else (low, middle)
    return (low + high) / 2


def middle_alpha(a: float, b: float) -> float:
    """The exponent half-way between two, by their thresholds."""
    return alpha_of((threshold_of(a) + threshold_of(b)) / 2)


def check_tunable(workspace: Workspace, instance: str) -> None:
    """Refuse an instance that has nothing to tune.

    Raises:
        UsageError: it is none of refine or propagate, or does not exist.
    """
    workspace.config.stage(instance)
    if stage_of(instance) not in TUNABLE:
        raise UsageError(f"tune --of {instance}: expected an instance of {' or '.join(TUNABLE)}.")


def sources_of(workspace: Workspace, instance: str) -> tuple[list[str], list[str]]:
    """List the maps and the models that tuning an instance reads."""
    params = workspace.config.params(instance)
    if stage_of(instance) == "refine":
        return [params.cam], []
    guard = [params.guard_masks] if params.guard != "off" else []
    features = [params.features] if params.affinity_kind == "features" else []
    return [params.cam, *guard, *features], [params.affinity] if params.affinity_kind == "learned" else []


def make_judge(workspace: Workspace, images: TuningImages, instance: str, split: str, device: str) -> Judge:
    """Choose what scores masks: true masks, or the classifier that the maps of an instance come from.

    Raises:
        UsageError: there is no mask, and no classifier of tags behind the instance.
    """
    dataset = workspace.dataset
    if images.by == "masks":
        return TrueMasks(dataset, dataset.classes)
    classifiers = [node.instance for node in resolve(workspace.config, instance, split) if node.stage.name == "train-classifier"]
    if not classifiers:
        raise UsageError(
            f"tune --of {instance}: without masks a classifier of tags judges, and there is none behind it. Give masks of some images."
        )
    net = for_inference(load_network(workspace.model(classifiers[0]), "classifier"))
    return TagEvidence(dataset, Predictor(net, device), 1 if dataset.has_background else 0)


class Tuner:
    """Chooses settings of one instance after the other.

    Args:
        workspace: The workspace.
        split: Split whose artifacts are read; None reads those of every split.
        images: Images to choose on and to hold out.
        judge: Scores masks.
        device: Torch device name.
        kernels: Whether widths of the CRF are looked for as well; they stay as they are otherwise.
        cautious: Whether what stands is kept unless the gain is more than its error; the best that was found is taken otherwise.
    """

    def __init__(
        self,
        workspace: Workspace,
        split: str | None,
        images: TuningImages,
        judge: Judge,
        device: str = "cpu",
        *,
        kernels: bool = True,
        cautious: bool = True,
    ) -> None:
        self._workspace, self._split, self._images, self._device = workspace, split, images, device
        self._kernels, self._cautious = kernels, cautious
        self.judge = judge

    def tune(self, instance: str) -> list[Choice]:
        """Choose the settings of an instance of refine or propagate, and for refine the threshold of its maps before.

        Raises:
            MissingArtifactError: what it reads has not been computed.
        """
        check_tunable(self._workspace, instance)
        # As workers do: beside busy processes several threads wait for each other, spinning, for longer than they work.
        before = self._workspace.set_threads(1)
        try:
            return self._tune_refine(instance) if stage_of(instance) == "refine" else [self._tune_propagate(instance)]
        finally:
            if before:
                self._workspace.set_threads(before)

    def threshold(self, instance: str) -> Choice:
        """Choose the threshold of class activation maps.

        Raises:
            MissingArtifactError: they have not been computed.
        """
        set_before = self._workspace.config.evaluate.get("threshold")
        standing = float(set_before) if isinstance(set_before, int | float) else 0.5
        axis, maker = (
            Axis("threshold", THRESHOLDS),
            ThresholdedMaps(self._workspace.dataset, StoredItems(self._workspace, instance, self._split)),
        )
        trial = self._search(instance, maker, [axis], None, {"threshold": standing})
        return _choice(instance, "evaluate", dict(trial.found.settings), {"threshold": set_before}, trial)

    def _tune_refine(self, instance: str) -> list[Choice]:
        """Choose the threshold of the maps, then the exponents and the kernel of the CRF."""
        params = self._workspace.config.params(instance)
        cams = StoredItems(self._workspace, params.cam, self._split)
        maps = self.threshold(params.cam)
        near = [m for m in (maps.values["threshold"] + step * APART for step in (-2, -1, 0, 1)) if 0.03 <= m <= 0.95]
        axes = [Axis("alpha", tuple(map(alpha_of, near)), middle_alpha), *self._kernel_axes(params)]
        trial = self._search(instance, RefinedMaps(self._workspace.dataset, cams, params, self._device), axes, params)
        values: dict[str, float] = dict(trial.found.settings)
        before: dict[str, float | None] = {axis.name: getattr(params, axis.name) for axis in axes}
        if values["alpha"] != params.alpha:
            middle = threshold_of(values["alpha"])
            values["alpha_low"] = alpha_of(min(middle + APART, 0.95))
            values["alpha_high"] = alpha_of(max(middle - APART, 0.02))
            before |= {"alpha_low": params.alpha_low, "alpha_high": params.alpha_high}
        own = [maps] if self._workspace.config.stage(params.cam).has_scores else []
        return [*own, _choice(instance, instance, values, before, trial)]

    def _tune_propagate(self, instance: str) -> Choice:
        """Choose what decides about background after the walk, and the kernel of the CRF."""
        params = self._workspace.config.params(instance)
        learned = params.affinity_kind == "learned"
        net = for_inference(load_network(self._workspace.model(params.affinity), "affinity-net|boundary-net")) if learned else None
        params = replace(params, start=start_of(params, net))
        axes = []
        if params.start in ("foreground-only", "irn"):
            axes.append(Axis("threshold", THRESHOLDS))
        elif params.start == "psa":
            axes.append(Axis("alpha", tuple(map(alpha_of, PSA_THRESHOLDS)), middle_alpha))
        if params.start == "background" or params.guard == "competitor":
            axes.append(Axis("background_weight", BACKGROUND_WEIGHTS))
        axes += self._kernel_axes(params)
        guards = StoredItems(self._workspace, params.guard_masks, self._split) if params.guard != "off" else {}
        with tempfile.TemporaryDirectory(prefix="labelseg-tune-") as folder:
            walker = Walker(params, net, self._device)
            cams = StoredItems(self._workspace, params.cam, self._split)
            features = StoredItems(self._workspace, params.features, self._split) if params.affinity_kind == "features" else {}
            maker = WalkedMaps(self._workspace.dataset, cams, params, walker, guards, Path(folder), features, self._device)
            trial = self._search(instance, maker, axes, params)
        return _choice(instance, instance, dict(trial.found.settings), {axis.name: getattr(params, axis.name) for axis in axes}, trial)

    def _search(self, told: str, maker: Maker, axes: Sequence[Axis], params: Any, standing: Settings | None = None) -> Trial:
        """Search on the images to choose on, keep what stands unless the gain is more than its error, and score both on those held out."""
        standing = standing or {axis.name: getattr(params, axis.name) for axis in axes}
        chosen_on, held_out = self._images.chosen_on, self._images.held_out
        found = coarse_to_fine(axes, standing, measure_with(maker, self.judge, chosen_on, f"tune {told}"))
        gain, error = found.score - found.before, 0.0
        if found.settings != standing and self._cautious:
            error = gain_error(maker, self.judge, chosen_on, (standing, found.settings), f"tune {told}, error of the gain")
        taken = gain > error or len(chosen_on) < 2 or not self._cautious
        kept = found if taken else replace(found, settings=dict(standing), score=found.before, edges=())
        if not held_out:
            return Trial(kept, gain, error)
        held, before = measure_with(maker, self.judge, held_out, f"hold out {told}")([kept.settings, standing])
        return Trial(kept, gain, error, held, before)

    def _kernel_axes(self, params: Any) -> list[Axis]:
        """List the widths of the CRF's kernel, in pixels of images of this size; nothing where no CRF runs."""
        if not self._kernels or not has_updates(params) or params.crf_weight <= 0:
            return []
        sides = sorted(max(self._workspace.dataset.image(image_id).shape[:2]) for image_id in self._images.chosen_on[:9])
        factor = sides[len(sides) // 2] / USUAL_SIDE
        widths = tuple(round_digits(width * factor, 2) for width in WIDTHS)
        return [Axis("crf_sxy", widths, geometric_middle), Axis("crf_srgb", COLOURS, geometric_middle)]


def standing_ref(workspace: Workspace, instance: str, split: str) -> Ref:
    """Find what an instance stands for in a split.

    Raises:
        MissingArtifactError: it never ran there.
    """
    return find_refs(workspace, Named(instance), split)[0]


def _choice(step: str, table: str, values: dict[str, float], before: dict[str, float | None], trial: Trial) -> Choice:
    """Put together what was found."""
    found = trial.found
    return Choice(
        step,
        table,
        values,
        before,
        found.score,
        found.before,
        trial.held,
        trial.held_before,
        trial.gain,
        trial.error,
        found.tried,
        found.edges,
    )
