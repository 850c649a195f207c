"""A hosted page that its payer left to his bank, and what the bank's no then means."""

from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities.dependencies import Dependencies
from activities.payment_calls import Charger
from billing.money.payments.rules import CheckoutSession, Decline, Outcome
from billing.money.payments.schemas import Payment

NO = Decline(code="card_declined", decline_code="insufficient_funds", message="no")
PAGE: Any = {"intent_key": "inv_1/intent-1", "stripe_checkout_session_id": "cs_1"}


class Provider:
    """A page that is not open any more, and the intent behind it."""

    def __init__(self, status: Any, outcome: Outcome) -> None:
        self.session = CheckoutSession(session_id="cs_1", url=None, status=status, intent_id="pi_1")
        self.outcome = outcome

    async def expire_checkout(self, *_: str) -> CheckoutSession:
        return self.session

    async def retrieve_intent(self, _: str) -> Outcome:
        return self.outcome


async def given_up(status: str, kind: Any, decline: Decline | None = None) -> Outcome:
    outcome = Outcome(kind=kind, intent_id="pi_1", decline=decline)
    provider: Any = Provider(status, outcome)
    charger = Charger(Dependencies(database=None, settings=None, provider=provider))  # type: ignore[arg-type]
    payment = Payment.model_construct(**PAGE)
    given: Outcome = await ActivityEnvironment().run(charger.give_up, payment)
    return given


async def test_a_debit_that_failed_on_a_page_that_is_done_is_over() -> None:
    over = await given_up("complete", "declined", NO)
    assert (over.kind, over.is_over, over.decline) == ("declined", True, NO)


@pytest.mark.parametrize("kind", ["processing", "succeeded"])
async def test_a_bank_that_decides_or_has_paid_is_not_over(kind: str) -> None:
    told = await given_up("complete", kind)
    assert (told.kind, told.is_over) == (kind, False)


async def test_a_bank_that_waits_for_its_payer_to_name_amounts_still_decides() -> None:
    assert (await given_up("complete", "action")).kind == "processing"


async def test_a_page_that_is_open_lets_its_payer_try_again() -> None:
    assert not (await given_up("open", "declined", NO)).is_over
