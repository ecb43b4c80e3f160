"""Reasons to rerun: the one comparison of what should be with what was made. Pure, on plain JSON values.

A recipe says how an artifact is made, leaving out the data it is made from::

    {"stage": "cam", "version": 1, "params": {...}, "classes": [...], "splits": {"split": "train"},
     "sources": {"model": {"instance": "train-classifier", "recipe": {...}}}}

A reason is data until it is told: ``str(reason)`` is the only place that words it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from labelseg.pipeline.plan.class_lists import class_changes

State = Literal["fresh", "outdated", "stale", "missing", "damaged", "running", "failed", "waiting"]
Kind = Literal[
    # Differences of recipes.
    "stage", "version", "parameter", "file", "classes", "split", "source", "artifact",
    # Differences of the data.
    "images", "trained-images", "order", "failed-images", "model",
    # What stands.
    "never-ran", "manifest-gone", "damaged", "failed-items", "lost-items", "will-change", "unchecked",
    # What the last run left, or what this one was told.
    "asked", "running", "run-failed", "run-killed", "forced", "not-done",
]  # fmt: skip
Recipe = Mapping[str, Any]

FILE_DIGEST = "blake3:"
NAMED = 3  # instances named one by one in a row of a table


@dataclass(frozen=True)
class Reason:
    """Why something is not fresh, or is worked on.

    Attributes:
        kind: What differs.
        subject: What it concerns: a parameter, a split, a role, an instance; empty where the kind says all.
        before, after: JSON values: what it was made with and what is asked for, or the numbers and words of the kind.
        of: Instance in which the change lies, where that is not the one the reason is given for.
    """

    kind: Kind
    subject: str = ""
    before: Any = None
    after: Any = None
    of: str = ""

    def __str__(self) -> str:
        """Word the reason: ``parameter beta: 8.0 -> 4.0``, ``cam changed: parameter flip: true -> false``."""
        return f"{self.of} changed: {self._own_text()}" if self.of else self._own_text()

    def _own_text(self) -> str:
        """Word the reason for the instance in which the change lies."""
        then, now, subject = self.before, self.after, self.subject
        match self.kind:
            case "stage" | "version":
                return f"{self.kind} {then} -> {now}"
            case "parameter":
                return f"parameter {subject}{_change(then, now)}"
            case "file" | "artifact":
                return f"{subject} changed"
            case "classes":
                return f"classes: {class_changes(now, then)}"
            case "split":
                return f"{subject}: {then or 'none'} -> {now or 'none'}"
            case "source":
                return f"{subject}: {then or 'nothing'} -> {now or 'nothing'}"
            case "images":
                new = [f"{now['new']:,} new {'image' if now['new'] == 1 else 'images'}"] * bool(now["new"])
                return f"{f'{subject}: ' if subject else ''}{', '.join([*new, *_counts(now)])}"
            case "trained-images":
                return ", ".join([f"trained on {now['total'] - now['new']:,} of {now['total']:,} images", *_counts(now)])
            case "order":
                return f"{f'{subject}: ' if subject else ''}order of images changed"
            case "failed-images":
                return "images that failed changed"
            case "model":
                return f"{subject} was retrained"
            case "never-ran":
                return "never ran"
            case "manifest-gone":
                return "its manifest is gone"
            case "failed-items":
                return f"{now['failed']:,} of {now['total']:,} items failed"
            case "lost-items":
                return f"{now['lost']:,} of {now['total']:,} items were damaged"
            case "will-change":
                return f"{', '.join(now)} will change"
            case "unchecked" | "asked" | "damaged":
                return str(now)
            case "running":
                return f"since {now['started']}, process {now['pid']} on {now['host']}"
            case "run-failed":
                return f"the last run failed: {now}"
            case "run-killed":
                return "the last run was killed"
            case "forced":
                return "forced"
            case "not-done":
                return f"{subject} is not done"

    def to_json(self) -> dict[str, Any]:
        """Return the reason as JSON values."""
        return asdict(self)


def reasons_text(reasons: Sequence[Reason]) -> str:
    """Join reasons; of several changes of one thing that is read, tell the first and count the others."""
    groups: dict[str, list[Reason]] = {}
    for reason in reasons:
        groups.setdefault(f"of {reason.of}" if reason.of else str(reason), []).append(reason)
    return "; ".join(f"{group[0]}" + (f" and {len(group) - 1} more" if len(group) > 1 else "") for group in groups.values())


def causes(rows: Iterable[tuple[str, Sequence[Reason]]]) -> list[str]:
    """Word the reasons of the rows of a table, of what is read before what reads it: each cause once, below only where it lies.

    Args:
        rows: Instance -> its reasons.

    Returns:
        A text for each row: ``parameter iters: 5 -> 6`` where the change lies, ``refine changed`` for all that read it.
    """
    told: set[tuple[str, str]] = set()
    texts = []
    for instance, reasons in rows:
        new = [reason for reason in reasons if (reason.of or instance, reason._own_text()) not in told or not reason.of]
        old = dict.fromkeys(reason.of for reason in reasons if reason not in new)
        told.update((reason.of or instance, reason._own_text()) for reason in new)
        # Where more changed in the same place, that is told with it.
        names = [name for name in old if all(reason.of != name for reason in new)]
        shown = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
        texts.append("; ".join(filter(None, (reasons_text(new), f"{shown} changed" if names else ""))))
    return texts


def stale_reasons(current: Recipe, finished: Recipe) -> list[Reason]:
    """List why an artifact made by one recipe does not serve for another; empty means that it does.

    Args:
        current: The recipe that the configuration asks for now.
        finished: The recipe recorded with the artifact.

    Returns:
        Such as ``parameter beta: 8.0 -> 4.0``, ``version 1 -> 2``, ``weights changed``, ``labels: propagate -> masks`` and,
        for something read, directly or not, ``cam changed: parameter flip: true -> false``.
    """
    return _once(_recipe_reasons(current, finished))


def _recipe_reasons(current: Recipe, finished: Recipe) -> list[Reason]:
    """List the differences of two recipes; parameters that only began or ceased to count are told where nothing else explains it."""
    read = _once(_source_reasons(current.get("sources", {}), finished.get("sources", {})))
    return [*_own_reasons(current, finished), *read] or _counting_reasons(current, finished)


def _own_reasons(current: Recipe, finished: Recipe) -> list[Reason]:
    """List the differences of two recipes without looking at what they read."""
    reasons = []
    for name in ("stage", "version"):
        if current.get(name) != finished.get(name):
            reasons.append(Reason(name, before=finished.get(name), after=current.get(name)))
    reasons += _parameter_reasons(current, finished)
    before, after = finished.get("classes"), current.get("classes")
    if after != before:
        reasons.append(Reason("classes", before=before or [], after=after or []))
    then, now = finished.get("splits", {}), current.get("splits", {})
    changed = [name for name in dict.fromkeys((*now, *then)) if now.get(name) != then.get(name)]
    return reasons + [Reason("split", name, then.get(name), now.get(name)) for name in changed]


def _parameter_reasons(current: Recipe, finished: Recipe) -> Iterable[Reason]:
    """Compare the parameters that count for either; one that does not count on a side has the value there at which it rests."""
    now, then = ({**recipe.get("resting", {}), **recipe.get("params", {})} for recipe in (current, finished))
    for name in dict.fromkeys((*current.get("params", {}), *finished.get("params", {}))):
        # A value absent on one side belongs to a parameter that came or went with a version.
        before, after = then.get(name), now.get(name)
        if name not in now or name not in then or after != before or type(after) is not type(before):
            contents = _is_file(after) and _is_file(before)
            yield Reason("file" if contents else "parameter", name, before, after)


def _counting_reasons(current: Recipe, finished: Recipe) -> list[Reason]:
    """List the parameters that count on one side only: nobody gave them another value."""
    now, then = current.get("params", {}), finished.get("params", {})
    return [Reason("parameter", name, then.get(name), now.get(name)) for name in (*now, *then) if (name in now) != (name in then)]


def data_reasons(now: Mapping[str, str], then: Mapping[str, str], *, trained: bool, subject: str = "", same: int = 0) -> list[Reason]:
    """List how the items of an artifact differ from those there are now.

    Args:
        now: Item -> digest of what it would be made from.
        then: Item -> digest of what it was made from.
        trained: Whether the items are what a model learned from.
        subject: Name of the split where there are several.
        same: Number of further items that are the same.

    Returns:
        ``trained on 1,000 of 1,010 images, 1 changed, 2 removed`` for a model, ``10 new images, 1 changed`` for a map;
        empty when nothing differs.
    """
    kept = now.keys() & then.keys()
    counts = {
        "total": len(now) + same,
        "new": len(now) - len(kept),
        "changed": sum(now[item] != then[item] for item in kept),
        "removed": len(then) - len(kept),
    }
    if not (counts["new"] or counts["changed"] or counts["removed"]):
        return [] if list(now) == list(then) else [Reason("order", subject)]
    return [Reason("trained-images" if trained else "images", subject, {"total": len(then) + same}, counts)]


def _source_reasons(now: Mapping[str, Any], then: Mapping[str, Any]) -> Iterable[Reason]:
    """Compare what is read: another instance is a reason, one made in another way gives the reasons for that."""
    for role in dict.fromkeys((*now, *then)):
        before, after = (sources[role]["instance"] if role in sources else "" for sources in (then, now))
        if before != after:
            yield Reason("source", role.replace("_", "-"), before, after)
        elif now[role].get("recipe") != then[role].get("recipe"):
            yield from _upstream_reasons(after, now[role].get("recipe"), then[role].get("recipe"))


def _upstream_reasons(instance: str, current: Recipe | None, finished: Recipe | None) -> list[Reason]:
    """Trace a change in something read to the recipe where it begins."""
    if not current or not finished:
        return [Reason("artifact", instance)]
    found = _recipe_reasons(current, finished)
    # A change further up is told as the change of the instance in which it lies.
    return [reason if reason.of or reason.kind == "artifact" else replace(reason, of=instance) for reason in found]


def _once(reasons: Iterable[Reason]) -> list[Reason]:
    """Leave out reasons that were told before; their values may be lists, which no set takes."""
    found: list[Reason] = []
    for reason in reasons:
        if not any(str(reason) == str(other) for other in found):
            found.append(reason)
    return found


def _is_file(value: object) -> bool:
    """Whether a value stands for the content of a file."""
    return isinstance(value, str) and value.startswith(FILE_DIGEST)


def _text(value: object) -> str:
    """Write a value as a person would: true, [1.0, 2.0], none, the file."""
    if value is None or value == "":
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(_text(v) for v in value)}]"
    return "a file" if _is_file(value) else str(value)


def _change(then: object, now: object) -> str:
    """Write how a parameter changed; a value of None is that of a parameter that came or went."""
    if _text(then) != _text(now):
        return f": {_text(then)} -> {_text(now)}"
    if then is None or now is None:
        return " is new" if then is None else " is gone"
    return f": {then!r} -> {now!r}"


def _counts(counts: Mapping[str, int]) -> list[str]:
    """Tell how many images changed and went."""
    return [f"{counts[name]:,} {name}" for name in ("changed", "removed") if counts[name]]
