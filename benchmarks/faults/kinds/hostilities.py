"""Folders that someone with bad intent, or bad luck, has prepared: records that climb, links, pipes, deep and odd values."""

from __future__ import annotations

from benchmarks.faults.kinds import hostile_outputs, hostile_paths, hostile_people, hostile_records
from benchmarks.faults.kinds.hostility import Hostility


def all_hostilities() -> list[Hostility]:
    """List them, in a fixed order."""
    return [
        *hostile_paths.keys(),
        *hostile_paths.items(),
        *hostile_paths.links(),
        *hostile_paths.folders(),
        *hostile_paths.pipes(),
        *hostile_records.deep(),
        *hostile_records.odd_records(),
        *hostile_records.odd_parts(),
        *hostile_records.names(),
        *hostile_people.files(),
        *hostile_people.folders(),
        *hostile_people.records(),
        *hostile_outputs.outputs(),
    ]
