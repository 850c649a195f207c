"""The planted faults still fit the code: else `make mutants` would break nothing and prove less."""

import subprocess
import sys
from pathlib import Path

import pytest

from devstack.options import ROOT
from tests.mutants.fault import Mutant
from tests.mutants.planted import MUTANTS


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_fault_still_fits_and_its_tests_are_there(mutant: Mutant) -> None:
    text = (ROOT / mutant.file).read_text()
    assert text.count(mutant.old) == 1, f"{mutant.file} has changed: plant the fault anew"
    assert mutant.new != mutant.old
    chosen, *words = mutant.tests
    assert (ROOT / chosen).exists()
    if words:
        source = (ROOT / chosen).read_text()
        assert all(word in source for word in words[1].split(" or ")), words


def test_a_planted_fault_parses_and_uses_names_that_are_there(tmp_path: Path) -> None:
    """Any test notices a name that is not there, so the fault itself would never be tried."""
    for number, mutant in enumerate(MUTANTS):
        if mutant.file.endswith(".py"):
            broken = (ROOT / mutant.file).read_text().replace(mutant.old, mutant.new)
            (tmp_path / f"{number}.py").write_text(f"# {mutant.name}\n{broken}")
    words = ["check", "--isolated", "--no-cache", "--select", "F821", str(tmp_path)]
    looked = subprocess.run(
        [sys.executable, "-m", "ruff", *words], capture_output=True, text=True, check=False
    )
    assert looked.returncode == 0, looked.stdout + looked.stderr


def test_there_are_at_least_twelve() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 12
