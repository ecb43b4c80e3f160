"""Text of tables, durations, sizes."""

from __future__ import annotations

import pytest

from labelseg.commands.tables import bytes_text, format_table
from labelseg.wording import seconds_text


def test_columns_are_aligned():
    assert format_table(("A", "N"), [("x", "1"), ("long", "22")], right=("N",)) == "A      N\nx      1\nlong  22"


@pytest.mark.parametrize(("seconds", "text"), [(0.04, "0.0 s"), (9.94, "9.9 s"), (75.4, "75 s"), (725, "12 min 5 s"), (7380, "2 h 3 min")])
def test_durations(seconds, text):
    assert seconds_text(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (999, "999 B"), (1400, "1.4 kB"), (2_500_000, "2.5 MB"), (3e12, "3.0 TB")])
def test_sizes(count, text):
    assert bytes_text(count) == text
