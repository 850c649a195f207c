"""A hosted page that its payer left to his bank, and what the bank's no then means."""

from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities.dependencies import Dependencies
from activities.payment_calls import Charger
from billing.core.errors import Unavailable
from billing.money.payments.rules import CheckoutSession, Decline, Outcome
from billing.money.payments.schemas import Payment

NO = Decline(code="card_declined", decline_code="insufficient_funds", message="no")
PAGE: Any = {"intent_key": "inv_1/intent-1", "stripe_checkout_session_id": "cs_1"}


class Provider:
    """A page that is not open any more, and the intent behind it."""

    def __init__(self, status: Any, outcome: Outcome) -> None:
        intent_id = outcome.intent_id
        self.session = CheckoutSession(
            session_id="cs_1", url=None, status=status, intent_id=intent_id
        )
        self.outcome, self.keys = outcome, list[str]()

    async def expire_checkout(self, _: str, key: str) -> CheckoutSession:
        self.keys.append(key)
        return self.session

    async def retrieve_intent(self, _: str) -> Outcome:
        return self.outcome


async def given_up(status: str, kind: Any, decline: Decline | None = None) -> Outcome:
    outcome = Outcome(kind=kind, intent_id="pi_1", decline=decline)
    return await asked(Provider(status, outcome))


async def asked(provider: Any) -> Outcome:
    charger = Charger(Dependencies(database=None, settings=None, provider=provider))  # type: ignore[arg-type]
    payment = Payment.model_construct(**PAGE)
    given: Outcome = await ActivityEnvironment().run(charger.call_back, payment)
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


@pytest.mark.parametrize("intent_id", [None, "pi_1"])
@pytest.mark.parametrize("kind", ["waiting", "action", "declined"])
async def test_a_page_that_stays_open_is_not_given_up(kind: Any, intent_id: str | None) -> None:
    decline = NO if kind == "declined" else None
    outcome = Outcome(kind=kind, intent_id=intent_id, decline=decline)
    with pytest.raises(Unavailable, match="PROVIDER_NOT_CANCELED"):
        await asked(Provider("open", outcome))


@pytest.mark.parametrize("intent_id", [None, "pi_1"])
async def test_a_page_that_expired_brings_no_money(intent_id: str | None) -> None:
    over = await asked(Provider("expired", Outcome(kind="waiting", intent_id=intent_id)))
    assert over.kind == "canceled"


async def test_no_page_is_closed_by_an_answer_of_before() -> None:
    provider = Provider("expired", Outcome(kind="canceled"))
    for _ in range(2):
        await asked(provider)
    assert len(set(provider.keys)) == 2
