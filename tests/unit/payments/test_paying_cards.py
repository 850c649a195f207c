"""The card that a payment names is the one that paid it, not always the one it began with."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from billing.matters.effects import Rows
from billing.money.payments.owed import Owed
from billing.money.payments.rules import Outcome
from billing.money.payments.schemas import Attempt, Payment
from billing.money.payments.transitions import record
from tests.unit.collecting.told_debts import Debt

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


@pytest.mark.parametrize(
    ("looks", "status"), [("succeeded", "succeeded"), ("declined", "declined")]
)
def test_a_try_that_its_payer_was_asked_to_confirm_ends_as_the_payer_says(
    looks: str, status: str
) -> None:
    debt = Debt("waiting", "action", "declined", "declined", "canceled", looks=looks)
    debt.go()
    assert next(one.status for one in debt.rows.of(Attempt)) == status


def test_another_card_that_paid_leaves_the_try_of_the_saved_one_unconfirmed() -> None:
    other = Outcome(kind="succeeded", intent_id="pi_1", received_minor=4900, card="pm_other")
    debt = Debt("waiting", "action", other)
    step = debt.next_step()
    assert step is not None
    debt.do(step)
    (payment,) = debt.rows.of(Payment)
    record(debt.work(), payment, other)
    assert [one.status for one in debt.rows.of(Attempt)] == ["action"]
    assert [one.payment_method_id for one in debt.rows.of(Payment)] == [None]
