"""Each golden case is run by a test, or says which term of its source is not sold here."""

import ast
import json
from pathlib import Path
from typing import Final

import pytest

from tests.unit.golden.cases import FOLDER

TESTS: Final = Path(__file__).resolve().parents[2]
ASKED_BY_INPUT: Final = ("refunds", "credit_note")
"""Cases of one kind that several tests share, each those whose input has its names."""


def runners() -> set[tuple[str, ...]]:
    """The file and kind of each call of `cases` in a test."""
    return {
        tuple(str(word.value) for word in call.args if isinstance(word, ast.Constant))
        for path in TESTS.rglob("test_golden*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "cases"
    }


def names_of_refunds() -> list[set[str]]:
    """The names by which the tests of credit notes choose their cases."""
    tree = ast.parse((TESTS / "unit/golden/test_golden_refunds.py").read_text())
    return [
        {str(word.value) for word in call.args if isinstance(word, ast.Constant)}
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "has"
    ]


@pytest.mark.parametrize("file", sorted(path.stem for path in FOLDER.glob("*.json")))
def test_each_case_is_run_or_says_why_not(file: str) -> None:
    known, names = runners(), names_of_refunds()
    for one in json.loads((FOLDER / f"{file}.json").read_text()):
        if one.get("peer_only"):
            assert one["rule"], one["id"]
        elif (file, one["kind"]) == ASKED_BY_INPUT:
            assert any(chosen <= one["input"].keys() for chosen in names), one["id"]
        else:
            assert (file, one["kind"]) in known, one["id"]
