"""Postings: exact, balanced, and under the names that the documents explain."""

import re
from datetime import date
from typing import Final, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.core import ids
from billing.core.money import show_decimal
from billing.insight.accounting.chart import CHART, LedgerAccount, Side
from billing.insight.accounting.rules import Document, postings
from devstack.options import ROOT

ACCOUNT: Final = ids.new()
PAGE: Final = (ROOT / "docs" / "operate.md").read_text()


def document(currency: str = "EUR", /, **minor: int) -> Document:
    known = {name: minor[name] for name in CHART if name in minor}
    day = date(2027, 1, 31)
    return Document("invoice", "inv_1", "INV-000007", ACCOUNT, day, currency, known)


def test_an_invoice_with_tax_is_three_postings() -> None:
    found = postings(document(receivable=5831, revenue=-4900, tax=-931))
    shown = [
        (one.posting_id, one.side, one.amount_minor, show_decimal(one.amount)) for one in found
    ]
    assert shown == [
        ("inv_1/receivable", "debit", 5831, "58.31"),
        ("inv_1/revenue", "credit", -4900, "-49.00"),
        ("inv_1/tax", "credit", -931, "-9.31"),
    ]
    assert {(one.document, one.document_id, one.document_number) for one in found} == {
        ("invoice", "inv_1", "INV-000007")
    }
    assert {one.account_id for one in found} == {ids.encode(ids.ACCOUNT, ACCOUNT)}


@pytest.mark.parametrize(
    ("currency", "amount"), [("JPY", "1234567.00"), ("KWD", "1234.567"), ("USD", "12345.67")]
)
def test_an_amount_is_in_whole_units_of_its_currency(currency: str, amount: str) -> None:
    cash, receivable = sorted(
        postings(document(currency, cash=1234567, receivable=-1234567)),
        key=lambda one: one.ledger_account,
    )
    assert show_decimal(cash.amount) == amount
    assert receivable.amount == -cash.amount


@given(st.lists(st.integers(-(10**15), 10**15), min_size=6, max_size=6))
def test_what_is_zero_is_left_out_and_the_rest_sums_to_zero(parts: list[int]) -> None:
    minor = dict(zip(map(str, CHART), [*parts, -sum(parts)], strict=True))
    found = postings(document(**minor))
    assert {one.ledger_account: one.amount_minor for one in found} == {
        name: part for name, part in minor.items() if part
    }
    assert sum(one.amount_minor for one in found) == 0


def test_a_document_whose_sides_differ_is_a_defect() -> None:
    with pytest.raises(ValueError, match="inv_1: debits and credits differ"):
        postings(document(receivable=5831, revenue=-4900))


def test_the_documents_explain_the_chart() -> None:
    explained = dict(re.findall(r"^\| `(\w+)` \| (debit|credit) \|", PAGE, re.MULTILINE))
    assert explained == CHART
    assert set(CHART) == set(get_args(LedgerAccount))
    assert set(CHART.values()) == set(get_args(Side))
