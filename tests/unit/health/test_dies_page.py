"""Each line of docs/what-if-it-dies.md is held by a test that is there."""

import ast
import re
from typing import Final

from devstack.options import ROOT

_PAGE: Final = (ROOT / "docs" / "what-if-it-dies.md").read_text()
_NAMED: Final = re.compile(r"`(tests/[\w/.]+\.py)::(\w+)`")


def test_every_test_that_is_named_is_there() -> None:
    named = _NAMED.findall(_PAGE)
    assert len(named) > 25
    for file, name in named:
        found = {
            node.name
            for node in ast.walk(ast.parse((ROOT / file).read_text()))
            if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef)
        }
        assert name in found, f"{file}::{name}"


def test_every_line_of_a_table_with_tests_names_one() -> None:
    *_, rest = _PAGE.partition("## A part is away")
    lines = [line for line in rest.splitlines() if line.startswith("| ") and "held by" not in line]
    assert lines
    assert [line for line in lines if not _NAMED.search(line)] == []
