"""Reasons to rerun: the one comparison of what should be with what was made. Pure, on plain JSON values.

A recipe says how an artifact is made, leaving out the data it is made from::

    {"stage": "cam", "version": 1, "params": {...}, "classes": [...], "splits": {"split": "train"},
     "sources": {"model": {"instance": "train-classifier", "recipe": {...}}}}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

State = Literal["fresh", "outdated", "stale", "missing", "running", "failed", "waiting"]
Recipe = Mapping[str, Any]

FILE_DIGEST = "blake3:"


def stale_reasons(current: Recipe, finished: Recipe) -> list[str]:
    """List why an artifact made by one recipe does not serve for another; empty means that it does.

    Args:
        current: The recipe that the configuration asks for now.
        finished: The recipe recorded with the artifact.

    Returns:
        Lines such as ``parameter beta: 8.0 -> 4.0``, ``version 1 -> 2``, ``weights changed``, ``labels: propagate -> masks`` and,
        for something read, directly or not, ``cam changed: parameter flip: true -> false``.
    """
    reasons = own_reasons(current, finished)
    now, then = current.get("sources", {}), finished.get("sources", {})
    for role in dict.fromkeys((*now, *then)):
        if _instance(now, role) != _instance(then, role):
            reasons.append(f"{role.replace('_', '-')}: {_instance(then, role) or 'nothing'} -> {_instance(now, role) or 'nothing'}")
        elif now[role].get("recipe") != then[role].get("recipe"):
            reasons += _upstream_reasons(now[role], then[role])
    return list(dict.fromkeys(reasons))


def own_reasons(current: Recipe, finished: Recipe) -> list[str]:
    """List the differences of two recipes without looking at what they read."""
    reasons = []
    if current["stage"] != finished["stage"]:
        reasons.append(f"stage {finished['stage']} -> {current['stage']}")
    if current["version"] != finished["version"]:
        reasons.append(f"version {finished['version']} -> {current['version']}")
    now, then = current["params"], finished["params"]
    for name in dict.fromkeys((*now, *then)):
        # A value absent on one side belongs to a parameter that came or went with a version.
        if name not in now or name not in then:
            reasons.append(f"parameter {name}: {_text(then.get(name))} -> {_text(now.get(name))}")
        elif now[name] != then[name] or type(now[name]) is not type(then[name]):
            contents = _is_file(now[name]) and _is_file(then[name])
            reasons.append(f"{name} changed" if contents else f"parameter {name}: {_text(then[name])} -> {_text(now[name])}")
    if current.get("classes") != finished.get("classes"):
        reasons.append(_class_reason(current.get("classes") or [], finished.get("classes") or []))
    if current.get("splits", {}) != finished.get("splits", {}):
        now, then = current.get("splits", {}), finished.get("splits", {})
        changed = [name for name in dict.fromkeys((*now, *then)) if now.get(name) != then.get(name)]
        reasons += [f"{name}: {then.get(name) or 'none'} -> {now.get(name) or 'none'}" for name in changed]
    return reasons


def data_reasons(now: Mapping[str, str], then: Mapping[str, str], *, trained: bool) -> list[str]:
    """List how the items of an artifact differ from those there are now.

    Args:
        now: Item -> digest of what it would be made from.
        then: Item -> digest of what it was made from.
        trained: Whether the artifact is a model; otherwise it is a map.

    Returns:
        ``trained on 1,000 of 1,010 images, 1 changed, 2 removed`` for a model, ``10 new images, 1 changed`` for a map;
        empty when nothing differs.
    """
    kept = now.keys() & then.keys()
    new, removed = len(now) - len(kept), len(then) - len(kept)
    changed = sum(now[item] != then[item] for item in kept)
    parts = [f"{changed:,} changed"] * bool(changed) + [f"{removed:,} removed"] * bool(removed)
    if not (new or parts):
        return [] if list(now) == list(then) else ["order of images changed"]
    if trained:
        return [", ".join([f"trained on {len(kept):,} of {len(now):,} images", *parts])]
    return [", ".join([f"{new:,} new {'image' if new == 1 else 'images'}"] * bool(new) + parts)]


def _upstream_reasons(now: Mapping[str, Any], then: Mapping[str, Any]) -> list[str]:
    """Trace a change in something read to the recipe where it begins."""
    current, finished = now.get("recipe"), then.get("recipe")
    if not current or not finished:
        return [f"{now['instance']} changed"]
    own = own_reasons(current, finished)
    below = stale_reasons({**current, **_SAME}, {**finished, **_SAME}) if current.get("sources") or finished.get("sources") else []
    own_changes = [f"{now['instance']} changed: {reason}" for reason in own]
    return own_changes + [reason if " changed: " in reason else f"{now['instance']} changed: {reason}" for reason in below]


# Overrides what own_reasons compares, so that stale_reasons tells of the sources only.
_SAME: dict[str, Any] = {"stage": "", "version": 0, "params": {}, "classes": [], "splits": {}}


def _instance(sources: Mapping[str, Any], role: str) -> str:
    """Name the instance read in a role; empty where nothing is."""
    return sources[role]["instance"] if role in sources else ""


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


def _class_reason(now: list[str], then: list[str]) -> str:
    """Tell which classes came and went."""
    came, went = [c for c in now if c not in then], [c for c in then if c not in now]
    parts = [f"{', '.join(came)} added"] * bool(came) + [f"{', '.join(went)} removed"] * bool(went)
    return f"classes: {'; '.join(parts) or 'order changed'}"
