"""Schedules of published trainings: learning rates by update, and how fast a teacher follows."""

from __future__ import annotations


def polynomial(step: int, total: int, power: float = 0.9) -> float:
    """Return ``(1 - step / total) ** power``, 0 from ``total`` on."""
    return (1 - min(step, total) / total) ** power


def delayed_polynomial(step: int, total: int, power: float = 0.9) -> float:
    """Return the polynomial factor of the update before: a rate set after each update reaches the next one only.

    Source: the published code of UniMatch; unimatch.md 1.6. The first two updates have the full rate.
    """
    return polynomial(max(step - 1, 0), total, power)


def slow_start(step: int, total: int, base: float, slow_steps: int, slow_rate: float, power: float = 0.9) -> float:
    """Return the learning rate of a schedule that begins with a constant one.

    Args:
        step: Update, from 0.
        total: Updates in all.
        base: Rate after the slow updates; it falls to 0 over the remaining ones.
        slow_steps: Updates at ``slow_rate``.

    Source: the published code of PseudoSeg; pseudoseg.md 1.9.
    """
    if step < slow_steps:
        return slow_rate
    return base * polynomial(step - slow_steps, total - slow_steps, power)


def teacher_ratio(update: int, limit: float = 0.996) -> float:
    """Return the share of its own that a teacher keeps at an update counted from 0: ``min(1 - 1 / (update + 1), limit)``.

    Source: Yang et al. 2025 (UniMatch V2); unimatch.md 6. At update 0 the teacher becomes a copy of the student.
    """
    return min(1 - 1 / (update + 1), limit)
