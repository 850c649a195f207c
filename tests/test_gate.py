"""The lanes of the gate: together they are every test, and the last line tells the truth."""

import re
from collections import Counter

from devstack.options import ROOT
from tests.gate import BESIDE, counts

# What the gate's own script looks for in the output (.ci/run).
SUMMARY = re.compile(r"^=*.* (passed|failed|error).* in [0-9.]+")


def test_what_is_taken_out_of_the_first_lane_is_there_once() -> None:
    taken = [path for paths in BESIDE for path in paths]
    assert all((ROOT / path).exists() for path in taken)
    assert len(set(taken)) == len(taken)


def test_what_the_lanes_say_is_summed_up() -> None:
    first = (
        "....\nSKIPPED [3] x: y\n"
        "=== 2 failed, 120 passed, 3 skipped, 1 error in 71.5s (0:01:11) ==="
    )
    second = "5 passed in 0.12s\n"
    assert counts(first) + counts(second) == Counter(failed=2, passed=125, skipped=3, error=1)
    assert counts("nothing was said") == Counter()
    assert SUMMARY.match("=== 1 error, 2 failed, 125 passed in 71.62s ===")
