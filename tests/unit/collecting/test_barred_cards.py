"""A card that its bank bars during our try is barred, whoever else may pay the same invoice."""

from datetime import timedelta

import pytest

from billing.money.payment_methods.schemas import Method
from billing.money.payments.schemas import Attempt
from tests.unit.collecting.told_debts import Debt, declined

FORBIDDEN = ("generic_decline", "do_not_try_again")


@pytest.mark.parametrize("is_offered", [False, True])
def test_a_card_is_barred_although_its_payer_was_offered_a_page(is_offered: bool) -> None:
    debt = Debt(
        "waiting", declined("ch_1"), declined("ch_2", *FORBIDDEN), "canceled", looks="waiting"
    )
    debt.go(until="attempt-0")
    if is_offered:
        debt.offer()
    debt.go()
    (card,) = debt.rows.of(Method)
    assert card.barred_at is not None
    assert debt.told.calls.count("try_card") == 2, "it is not tried again"
    tries = [(one.status, one.decline_code) for one in debt.rows.of(Attempt)]
    assert tries[2:] == [("skipped", "card_barred")]


def test_a_barred_card_that_its_bank_replaces_is_another_card() -> None:
    debt = Debt("waiting", declined("ch_1", *FORBIDDEN), "succeeded")
    debt.go(until="attempt-0")
    debt.now += timedelta(days=2)
    debt.reissue()
    debt.go()
    assert (debt.steps, debt.invoice.status) == (["attempt-0", "card-mth"], "paid")


@pytest.mark.parametrize("charge", ["ch_browser", "ch_1"])
def test_a_payer_who_tries_another_card_in_the_browser_bars_none(charge: str) -> None:
    """The provider may refuse that card without a charge, and then names our earlier one."""
    debt = Debt("waiting", declined("ch_1"), declined(charge, *FORBIDDEN))
    debt.go(until="attempt-0")
    debt.offer()
    debt.tell()
    debt.go(until="evt_1")
    (card,) = debt.rows.of(Method)
    assert (card.barred_at, debt.told.answers) == (None, [])


def test_a_card_is_barred_by_the_3d_secure_of_our_own_try() -> None:
    debt = Debt("waiting", "action", declined("ch_1", *FORBIDDEN))
    debt.go(until="attempt-0")
    debt.tell()
    debt.go(until="evt_1")
    (card,) = debt.rows.of(Method)
    assert (card.barred_at, debt.told.answers) == (debt.now, [])
