"""The lanes of the gate: each test is in one of them or left out by name, and the last line tells
the truth.
"""

import re
import signal
import subprocess
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.options import ROOT
from tests.gate import (
    AGAIN,
    BESIDE,
    FIRST,
    WHOLE,
    counts,
    failed,
    lane,
    only_flaky,
    skipped,
    verdict,
)
from tests.integration.broken_books import BROKEN

# What the gate's own script looks for in the output (.ci/run).
SUMMARY = re.compile(r"^=*.* (passed|failed|error).* in [0-9.]+")

MADE_UP = """
import pathlib

def test_fails_once():
    seen = pathlib.Path(__file__).with_suffix(".seen")
    known = seen.exists()
    seen.touch()
    assert known

def test_passes():
    assert True
"""
LEFT_BEHIND = """
LEFT = []

def test_leaves_something():
    LEFT.append(1)

def test_nothing_was_left():
    assert not LEFT
"""

NO_CASES = """
import pytest

@pytest.mark.parametrize("route", [])
def test_a_route(route):
    assert route
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of this repository, so that pytest finds its settings there."""
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as name:
        yield Path(name)


def test_what_is_taken_out_of_the_first_lane_is_there_once() -> None:
    taken = [path for paths in BESIDE for path in paths]
    assert all((ROOT / path).exists() for path in taken)
    assert len(set(taken)) == len(taken)


def test_each_path_of_the_settings_is_run_once() -> None:
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    beside = [path for paths in BESIDE for path in paths if path in options["testpaths"]]
    assert sorted([*FIRST, *beside]) == sorted(options["testpaths"])


@pytest.mark.parametrize("left", [*WHOLE, *BROKEN])
def test_what_is_left_out_is_there(left: str) -> None:
    path, _, name = left.partition("::")
    assert (ROOT / path).exists()
    function = re.escape(name.partition("[")[0])
    assert not name or re.search(rf"^(async )?def {function}\(", (ROOT / path).read_text(), re.M)


def test_what_the_lanes_say_is_summed_up() -> None:
    first = (
        "....\nSKIPPED [3] x: y\n"
        "=== 2 failed, 120 passed, 3 skipped, 1 error in 71.5s (0:01:11) ==="
    )
    second = "5 passed in 0.12s\n"
    assert counts(first) + counts(second) == Counter(failed=2, passed=125, skipped=3, error=1)
    assert counts("nothing was said") == Counter()
    assert SUMMARY.match("=== 1 error, 2 failed, 125 passed in 71.62s ===")


def test_a_test_that_lost_its_cases_is_an_error(folder: Path) -> None:
    file = folder / "test_no_cases.py"
    file.write_text(NO_CASES)
    assert lane([str(file)], folder / "first", subprocess.DEVNULL).wait() not in (0, 1)


def test_the_reasons_of_what_was_skipped_are_told_once() -> None:
    first = "..s\nSKIPPED [3] tests/x.py:159: no tool\nSKIPPED [1] tests/x.py:9: a rule: later\n"
    second = "SKIPPED [2] tests/y.py: no tool\n5 passed, 6 skipped in 0.12s\n"
    assert skipped(first + second) == ["SKIPPED 1: a rule: later", "SKIPPED 5: no tool"]


def test_a_test_whose_file_passes_alone_is_flaky(folder: Path) -> None:
    file = folder / "test_made_up.py"
    file.write_text(MADE_UP)
    cache = folder / "first"
    code = lane([str(file)], cache, subprocess.DEVNULL).wait()
    names = failed([cache])
    assert (code, len(names)) == (1, 1)
    assert names[0].endswith("::test_fails_once")
    assert only_flaky([0, code], names, folder, [])
    assert not only_flaky([0, 2], names, folder, []), "a lane broke off"
    many = [f"{number}_{names[0]}" for number in range(AGAIN + 1)]
    assert not only_flaky([1], many, folder, []), "too many files to be chance"
    assert not only_flaky([0], [], folder, [])


def test_a_test_that_judges_those_before_it_stays_red(folder: Path) -> None:
    file = folder / "test_left_behind.py"
    file.write_text(LEFT_BEHIND)
    name = f"{file.relative_to(ROOT)}::test_nothing_was_left"
    assert not only_flaky([0, 1], [name], folder, [])
    assert only_flaky([0, 1], [name], folder, [f"--deselect={name}"]), "the gate leaves it out"


def test_a_lane_that_a_signal_ended_or_that_says_nothing_is_red() -> None:
    passed = "5 passed in 0.12s\n"
    assert verdict([0, 0], [passed, passed]) == 0
    assert verdict([0, 1], [passed, passed]) == 1
    assert verdict([0, -signal.SIGKILL], [passed, passed]) == 1
    assert verdict([0, 0], [passed, "..."]) == 1
