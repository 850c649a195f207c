"""The words of an audit row name the money that the row is about, and to a member no caller."""

import pytest

from billing.insight.timeline.descriptions import change_money, change_words, role_of


def test_a_credit_note_is_told_with_its_own_amount() -> None:
    detail = {"amount_minor": 250, "total_cents": 4900, "currency": "USD", "reason": "goodwill"}
    assert change_money(detail) == (250, "USD")
    assert "2.50 USD was taken back by a credit note: goodwill" in change_words(
        "invoice.credited", detail
    )


def test_an_invoice_is_told_with_its_total() -> None:
    assert change_money({"total_cents": 4900, "currency": "USD"}) == (4900, "USD")


@pytest.mark.parametrize(
    ("method", "asked", "done"),
    [
        (
            "provider",
            "2.50 USD is to go back to the payer: sorry",
            "2.50 USD is back with the payer",
        ),
        (
            "balance",
            "2.50 USD is to go to the money balance: sorry",
            "2.50 USD is on the money balance",
        ),
    ],
)
def test_a_refund_is_told_with_where_its_money_goes(method: str, asked: str, done: str) -> None:
    detail = {"amount_cents": 250, "currency": "USD", "reason": "sorry", "method": method}
    assert change_words("refund.created", detail) == asked
    assert change_words("refund.succeeded", detail) == done
    assert change_words("payment.refunded", detail) == "all 2.50 USD was refunded"


@pytest.mark.parametrize(
    ("actor", "shown"),
    [
        ("admin:ops@shop.example", "admin"),
        ("system", "system"),
        ("workflow:purchase/pur_1", "workflow:purchase/pur_1"),
    ],
)
def test_a_role_is_shown_without_the_name(actor: str, shown: str) -> None:
    assert role_of(actor) == shown
