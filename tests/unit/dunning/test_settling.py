"""No code settles an invoice by a note without ending its recovery."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from devstack.options import ROOT

MONEY: Final = ROOT / "billing" / "money"
NOTES: Final = {"credit_note", "credit_tax"}


def plain_notes(path: Path) -> Iterator[int]:
    """The lines on which a file writes a note that may settle, past `dunning.settling`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        called = node.func
        is_note = isinstance(called.value, ast.Name) and called.value.id == "notes"
        if not is_note or called.attr not in NOTES:
            continue
        to_balance = [one.value for one in node.keywords if one.arg == "to_balance"]
        if not any(isinstance(one, ast.Constant) and one.value is True for one in to_balance):
            yield node.lineno


def test_every_note_that_may_settle_an_invoice_ends_its_recovery() -> None:
    files = [one for one in MONEY.rglob("*.py") if one.parent.name != "dunning"]
    assert len(files) > 100
    found = [f"{one.relative_to(ROOT)}:{line}" for one in files for line in plain_notes(one)]
    assert found == []
    assert list(plain_notes(MONEY / "dunning" / "settling.py")), "the search finds them"
