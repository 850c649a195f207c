"""The planted faults still fit the code: else `make mutants` would break nothing and prove less."""

import ast

import pytest

from devstack.options import ROOT
from tests.mutants.fault import Mutant
from tests.mutants.planted import MUTANTS


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_fault_still_fits_and_its_tests_are_there(mutant: Mutant) -> None:
    text = (ROOT / mutant.file).read_text()
    assert text.count(mutant.old) == 1, f"{mutant.file} has changed: plant the fault anew"
    broken = text.replace(mutant.old, mutant.new)
    assert broken != text
    if mutant.file.endswith(".py"):
        ast.parse(broken)
    chosen, *words = mutant.tests
    assert (ROOT / chosen).exists()
    if words:
        source = (ROOT / chosen).read_text()
        assert all(word in source for word in words[1].split(" or ")), words


def test_there_are_at_least_twelve() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 12
