"""The Mitel-style tests and the bad lines, numbered and seeded, beside spandsp in the same run.

This is a seeded part of what `make bench-dsp` measures: 7 tries for each of 16 keys at each limit, 5
strings of 17 keys over each of 34 lines. The whole, and its figures, are in docs/benchmarks.md.
"""

import pytest
from dsp_lab import measure
from dsp_lab.impairments import IMPAIRMENTS
from dsp_lab.limits import LIMITS

STRINGS_A_LINE = 5
TRIES = 7


@pytest.mark.parametrize("limit", LIMITS, ids=[f"{n:02}-{limit.name}" for n, limit in enumerate(LIMITS, 1)])
def test_limit(limit):
    kept = measure.limit_held(limit, TRIES)
    ours, theirs = (sum(kept[who].values()) / 16 for who in ("dsp", "spandsp"))
    assert ours >= 0.98
    assert ours >= theirs - 0.01  # one try in 112


@pytest.fixture(scope="module")
def strings():
    return {name: measure.strings_over(name, STRINGS_A_LINE) for name in IMPAIRMENTS}


def test_there_are_34_lines():
    assert len(IMPAIRMENTS) == 34


@pytest.mark.parametrize("line", IMPAIRMENTS, ids=[f"{n:02}-{name}" for n, name in enumerate(IMPAIRMENTS, 1)])
def test_line(strings, line):
    found = strings[line]
    assert found["dsp"].exact >= found["spandsp"].exact
    assert found["dsp"].exact >= STRINGS_A_LINE - 2


def test_over_all_lines(strings):
    ours, theirs = measure.Strings(), measure.Strings()
    for found in strings.values():
        ours.merge(found["dsp"])
        theirs.merge(found["spandsp"])
    assert ours.exact / ours.strings >= 0.95
    assert ours.exact > theirs.exact
    assert ours.doubled / ours.keys <= 0.002
