"""The totals of a receipt lead from what came to what the invoice took."""

from typing import Any

from billing.money.documents import rules
from tests.unit.documents.test_printing import AT, invoice, line, snapshot


def receipt_of(applied: int, **fields: Any) -> dict[str, Any]:
    """The receipt of an invoice of 49.00."""
    of = invoice(line(1), paid_at=AT, balance_applied_minor=applied, **fields)
    kept = snapshot(of.amount_due_minor, balance_applied_minor=applied)
    return rules.receipt(of, AT, [], kept)


def test_a_receipt_says_what_of_the_total_is_carried() -> None:
    paid = receipt_of(900, amount_due_minor=3950, amount_paid_minor=3500, amount_credited_minor=450)
    assert [(one["name"], one["amount"]) for one in paid["totals"]] == [
        ("Invoice total", "49.00 USD"),
        ("From the money balance", "-9.00 USD"),
        ("Carried in the money balance", "-0.50 USD"),
        ("Credited", "-4.50 USD"),
        ("Amount paid", "35.00 USD"),
    ]


def test_a_receipt_says_where_money_beyond_the_invoice_is() -> None:
    of = invoice(line(1), paid_at=AT, amount_paid_minor=4900)
    sent = [(AT.date(), "bank transfer T-1", 3000), (AT.date(), "bank transfer T-2", 3000)]
    paid = rules.receipt(of, AT, sent, snapshot(4900))
    assert [(one["name"], one["amount"]) for one in paid["totals"]][1:] == [
        ("Amount paid", "49.00 USD"), ("Received beyond it, to the money balance", "11.00 USD"),
    ]  # fmt: skip


def test_a_debt_that_was_carried_to_an_invoice_is_no_payment() -> None:
    owed = ("Carried from before", "9.00 USD")
    paid = receipt_of(-900, amount_due_minor=5800, amount_paid_minor=5800)
    of = invoice(line(1), balance_applied_minor=-900, amount_due_minor=5800)
    asked = rules.invoice(of, [line(1)], snapshot(5800, balance_applied_minor=-900))
    for content in (paid, asked):
        assert owed in [(one["name"], one["amount"]) for one in content["totals"]]


def test_a_receipt_of_what_the_balance_paid_says_so() -> None:
    paid = receipt_of(4900, amount_due_minor=0)
    assert paid["headline"] == "49.00 USD paid from the money balance on 1 Jan 2027"
