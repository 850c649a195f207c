"""The card that a payment names is the one that paid it, not always the one it began with."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from billing.matters.effects import Rows
from billing.money.payments.owed import Owed
from billing.money.payments.schemas import Attempt

AT = datetime(2027, 1, 1, tzinfo=UTC)
INVOICE, PAYMENT, OTHER = UUID(int=1), UUID(int=2), UUID(int=3)
FIRST, BACKUP = UUID(int=11), UUID(int=12)


def tried(number: int, status: Any, card: UUID, payment: UUID = PAYMENT) -> Attempt:
    """A try of a card, in its order."""
    return Attempt(
        id=UUID(int=100 + number), account_id=UUID(int=4), payment_id=payment, invoice_id=INVOICE,
        key=str(number), payment_method_id=card, status=status, started_at=AT, real_started_at=AT,
    )  # fmt: skip


@pytest.mark.parametrize("status", ["succeeded", "action"])
def test_the_backup_that_paid_or_was_confirmed_is_named(status: str) -> None:
    rows = Rows([tried(1, "declined", FIRST), tried(2, status, BACKUP)])
    paid = Owed(rows, INVOICE).paid_try(PAYMENT)
    assert paid is not None
    assert paid.payment_method_id == BACKUP


def test_a_card_that_did_not_pay_this_payment_is_not_named() -> None:
    rows = Rows([tried(1, "declined", FIRST), tried(2, "succeeded", BACKUP, OTHER)])
    assert Owed(rows, INVOICE).paid_try(PAYMENT) is None
