"""Folders that someone with bad intent, or bad luck, has prepared: records that climb, links, pipes, deep and odd values."""

from __future__ import annotations

from benchmarks.faults.kinds.hostilities import leaves, outputs, paths, people, records
from benchmarks.faults.kinds.hostilities.hostility import Hostility


def all_hostilities() -> list[Hostility]:
    """List them, in a fixed order."""
    return [
        *paths.keys(),
        *paths.items(),
        *paths.links(),
        *paths.folders(),
        *paths.pipes(),
        *records.deep(),
        *records.odd_records(),
        *records.odd_parts(),
        *records.names(),
        *people.files(),
        *people.folders(),
        *people.records(),
        *outputs.outputs(),
        *leaves.files(),
        *leaves.records(),
    ]
