"""Owed time that a pause has credited is no part of what an end credits of the same line."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from billing.core.errors import Conflict
from billing.matters.effects import Rows
from billing.money.disputes.schemas import Dispute, DisputeState
from billing.money.invoices.schemas import CreditNote, Invoice, InvoiceLine
from billing.money.refunds.schemas import Refund
from billing.money.subscriptions.periods.proration import NOT_SERVED, Credit, to_credit, unused

ME, INVOICE = UUID(int=1), UUID(int=2)
START = datetime(2027, 4, 1, tzinfo=UTC)
USE_MINOR = 50_000


def charged(position: int, kind: str, amount_minor: int) -> InvoiceLine:
    """A line of April, with its own tax of a fifth added."""
    tax = amount_minor // 5
    rate = {"jurisdiction": "AT", "name": "VAT", "rate": "20", "inclusive": False}
    return InvoiceLine(
        id=UUID(int=10 + position), account_id=ME, invoice_id=INVOICE, position=position,
        kind=kind, description=kind, quantity=Decimal(1), unit_amount=Decimal(amount_minor),
        amount_minor=amount_minor, tax_minor=tax, taxes=[rate | {"amount_minor": tax}],
        period_start=START, period_end=START + timedelta(days=30),
    )  # fmt: skip


def noted(amount_minor: int, reason: str = NOT_SERVED) -> CreditNote:
    tax = amount_minor // 6
    rate = {"jurisdiction": "AT", "name": "VAT", "rate": "20", "inclusive": False}
    part = {"position": 1, "description": "plan", "amount_minor": amount_minor}
    return CreditNote(
        id=UUID(int=20), account_id=ME, invoice_id=INVOICE, kind="unserved",
        fact_key="inv/unserved", series="C", reason=reason, amount_minor=amount_minor,
        currency="EUR", lines=[part], tax_minor=tax,
        taxes=[rate | {"amount_minor": tax}], created_at=START,
    )  # fmt: skip


def taken(amount_minor: int, state: DisputeState = "lost") -> Dispute:
    """A dispute in which a bank took this much of the invoice's payment."""
    at = None if state == "open" else START
    return Dispute(
        id=UUID(int=30), account_id=ME, payment_id=UUID(int=31), invoice_id=INVOICE,
        stripe_dispute_id="dp", status=state, state=state, amount_minor=amount_minor,
        note_minor=amount_minor, currency="EUR", reason="general", closed_at=at, created_at=START,
        booked_at=at,
    )  # fmt: skip


def credited(
    day: int, *notes: CreditNote | Dispute | Refund, by: Callable[..., list[Credit]] = unused
) -> list[tuple[int, int]]:
    """The credits of an end on this day of a plan of 36.00 beside much use: amount and tax."""
    plan, use = charged(1, "plan", 3000), charged(2, "usage", USE_MINOR)
    net = plan.amount_minor + use.amount_minor
    total = net + plan.tax_minor + use.tax_minor
    owed = {"total_minor": total, "amount_due_minor": total, "amount_paid_minor": total}
    paid: dict[str, Any] = owed | {"status": "paid", "settlement": "payment", "paid_at": START}
    invoice = Invoice(
        id=INVOICE, account_id=ME, workflow_id="subscription/x", fact_key="x", currency="EUR",
        subtotal_minor=net, tax_minor=total - net, finalized_at=START, created_at=START, **paid,
    )  # fmt: skip
    rows = Rows([invoice, plan, use, *notes])
    found = by(rows, [plan], START + timedelta(days=day))
    return [(one.total_minor, sum(one.part.taxes.values())) for one in found]


@pytest.mark.parametrize(
    ("day", "notes", "expected"),
    [
        (10, (), [(2400, 400)]),
        # All of the time after the tenth day was owed, and none of it is now.
        (10, (noted(2400),), []),
        (20, (noted(2400),), []),
        # A part of it was paid before.
        (10, (noted(1200),), [(1200, 200)]),
        (15, (noted(1200),), [(600, 100)]),
        # Another reason is another time, or none: it does not lower the price.
        (10, (noted(1200, "goodwill"),), [(2400, 400)]),
    ],
)
def test_what_is_left_of_a_line_behind_a_pause(
    day: int, notes: tuple[CreditNote, ...], expected: list[tuple[int, int]]
) -> None:
    assert credited(day, *notes) == expected


def undone(amount_minor: int) -> CreditNote:
    """The note of a wrong price: the plan should have cost so much less."""
    told = {"kind": "wrong_price", "fact_key": f"inv/price-{ME.hex}-1", "reason": "a slip"}
    return noted(amount_minor).model_copy(update=told)


def refunded(amount_minor: int, line: int | None = 1, failed: bool = False) -> Refund:
    """The refund of a wrong price, which names the plan's line, or of one that names none."""
    return Refund(
        id=UUID(int=40), account_id=ME, payment_id=UUID(int=31), invoice_id=INVOICE, key="r",
        status="failed" if failed else "succeeded", line=line, amount_minor=amount_minor,
        note_minor=amount_minor, currency="EUR", reason="a slip", created_at=START,
        booked_at=None if failed else START,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ((undone(1200),), [(1200, 200)]),
        ((undone(3600),), []),
        ((refunded(1200), noted(1200, "a slip")), [(1200, 200)]),
        ((refunded(1200, line=None), noted(1200, "a slip")), [(1800, 300)]),
        ((refunded(1200, line=2), noted(1200, "a slip")), [(1800, 300)]),
        ((refunded(1200, failed=True),), [(1800, 300)]),
        # A bank has a quarter of what was rightly charged, of all its time.
        ((undone(1200), taken(USE_MINOR // 5 * 6 + 600)), [(900, 150)]),
    ],
)
def test_half_of_a_month_credits_half_of_the_right_price(
    rows: tuple[CreditNote | Dispute | Refund, ...], expected: list[tuple[int, int]]
) -> None:
    assert credited(15, *rows) == expected


@pytest.mark.parametrize(
    ("day", "amount_minor", "expected"),
    [
        # Banks take the money for use first: that is 600.00 here.
        (15, 60_000, [(1800, 300)]),
        (15, 60_900, [(1350, 225)]),
        (0, 60_900, [(2700, 450)]),
        (15, 63_600, []),
    ],
)
def test_what_a_bank_took_of_the_price_is_not_given_back_of_the_unused_time(
    day: int, amount_minor: int, expected: list[tuple[int, int]]
) -> None:
    note = noted(amount_minor, "dispute lost: general")
    assert credited(day, taken(amount_minor), note) == expected


def test_what_a_bank_gave_back_again_is_credited_like_any() -> None:
    assert credited(15, taken(60_900, "won")) == [(1800, 300)]


def test_time_that_a_dispute_holds_a_part_of_is_not_credited_on_request() -> None:
    with pytest.raises(Conflict):
        credited(15, taken(60_900, "open"), by=to_credit)
    assert credited(15, taken(60_000, "open"), by=to_credit) == [(1800, 300)]
