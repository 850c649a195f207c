"""The words of an audit row name the money that the row is about."""

from billing.insight.timeline.descriptions import change_money, change_words


def test_a_credit_note_is_told_with_its_own_amount() -> None:
    detail = {"amount_minor": 250, "total_cents": 4900, "currency": "USD", "reason": "goodwill"}
    assert change_money(detail) == (250, "USD")
    assert "2.50 USD was taken back by a credit note: goodwill" in change_words(
        "invoice.credited", detail
    )


def test_an_invoice_is_told_with_its_total() -> None:
    assert change_money({"total_cents": 4900, "currency": "USD"}) == (4900, "USD")
