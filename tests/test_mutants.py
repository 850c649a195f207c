"""The planted faults still fit the code: else `make mutants` would break nothing and prove less."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from devstack.options import ROOT
from tests.mutants.__main__ import run_tests
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
        names = names_of_tests(ROOT / chosen)
        assert all(any(word in name for name in names) for word in words[1].split(" or ")), words


def names_of_tests(path: Path) -> list[str]:
    """The tests of a file or folder, which a word of `-k` chooses among."""
    files = path.rglob("test_*.py") if path.is_dir() else [path]
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [
        node.name
        for file in files
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, functions) and node.name.startswith("test")
    ]


def test_tests_that_hang_count_as_a_fault_that_was_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "test_long.py").write_text("import time\ndef test_long(): time.sleep(60)\n")
    monkeypatch.setattr("tests.mutants.__main__.SECONDS", 0.5)
    passed, failed, words = run_tests(tmp_path, ("test_long.py",), {})
    assert (passed, failed, words) == (0, 1, "it hung for 0.5 seconds")


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
