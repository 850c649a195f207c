"""A provider that refuses our key, not the card: a try waits for a better key, except that of a
present payer whose card was proven not to be reached.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, Final
from uuid import UUID

import pytest
from temporalio.testing import ActivityEnvironment

from activities.customers import Customer
from activities.dependencies import Dependencies
from activities.provider_calls import ProviderCalls
from activities.tries import SAME_KEY_TRIES
from billing.core.errors import ProviderFailure, Unavailable
from billing.money.payment_methods import store as method_store
from billing.money.payments import store
from billing.money.payments.calls import Answer, Call
from billing.money.payments.rules import CHARGE_REFUSED, Charge, Outcome
from billing.money.payments.schemas import AttemptCard
from gateways.provider import IntentRequest
from tests.unit.activities.test_lost_intents import ASKED, ME, TRIED

WORDS: Final = "Stripe does not allow this to our key: it lacks rak_payment_intent_write"
REFUSED: Final = ProviderFailure("PROVIDER_REFUSED", "Stripe refused the request: resource_missing")
UNKNOWN: Final = ProviderFailure("PROVIDER_REFUSED", "No such payment_intent: 'pi_1'")
OPEN: Final = Call("open", ASKED, TRIED)
TRY: Final = Call(
    "try_card",
    ASKED.model_copy(update={"stripe_payment_intent_id": "pi_1"}),
    TRIED,
    save_card=False,
)


class Provider:
    """Its answer to each call that needs a right, and to a look at the intent, if that fails."""

    def __init__(self, said: Exception, look: Exception | None = None) -> None:
        self.said, self.failed_look = said, look

    @asynccontextmanager
    async def tenant(self, _: UUID) -> AsyncIterator[None]:
        yield

    glancing = tenant

    async def find_intent(self, *_: Any) -> None:
        return None

    async def create_intent(self, _: IntentRequest) -> Outcome:
        raise self.said

    async def confirm_intent(self, *_: Any, **__: Any) -> Outcome:
        raise self.said

    async def retrieve_intent(self, name: str) -> Outcome:
        if self.failed_look is not None:
            raise self.failed_look
        return Outcome(kind="waiting", intent_id=name)

    async def charges(self, _: str) -> list[Charge]:
        return []

    async def method_is_detached(self, _: str) -> bool:
        return False


@pytest.fixture(autouse=True)
def _rows(monkeypatch: pytest.MonkeyPatch) -> None:
    async def card_of(*_: Any) -> AttemptCard:
        return AttemptCard("pending", UUID(int=3), "pm_1", "card")

    async def charges_on_record(*_: Any) -> set[str]:
        return set()

    async def names_of(*_: Any) -> set[str]:
        return {"pm_1"}

    monkeypatch.setattr(store, "card_of", card_of)
    monkeypatch.setattr(store, "charges_on_record", charges_on_record)
    monkeypatch.setattr(method_store, "names_of", names_of)


async def answer(provider: Provider, call: Call, number: int = SAME_KEY_TRIES + 1) -> Outcome:
    """The result of one try of the step, the first one that would count as unreached."""
    settings = SimpleNamespace(public_url="http://a", pay_link_secrets=["s"])
    parts: Any = {
        "provider": provider, "orders": provider, "database": provider, "settings": settings,
    }  # fmt: skip
    calls = ProviderCalls(Dependencies(**parts))
    calls._charger._customers._known[ME] = Customer("cus_1")
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, attempt=number)
    said: Any = await environment.run(calls.make, call)
    assert isinstance(said, Answer)
    assert said.outcome is not None
    return said.outcome


@pytest.mark.parametrize("call", [OPEN, TRY], ids=lambda call: call.what)
async def test_a_key_that_lacks_a_right_proves_nothing_of_a_card(call: Call) -> None:
    with pytest.raises(Unavailable, match="lacks rak_payment_intent_write"):
        await answer(Provider(Unavailable("PROVIDER_KEY", WORDS)), call)


@pytest.mark.parametrize("call", [OPEN, TRY], ids=lambda call: call.what)
async def test_a_payer_who_is_present_is_told_where_a_look_proves_that_no_card_was_reached(
    call: Call,
) -> None:
    asked = replace(call, on_session=True)
    outcome = await answer(Provider(Unavailable("PROVIDER_KEY", WORDS)), asked)
    assert outcome.kind == "unreached"


@pytest.mark.parametrize("call", [OPEN, TRY], ids=lambda call: call.what)
async def test_an_outage_is_tried_hourly_as_before(call: Call) -> None:
    outcome = await answer(Provider(Unavailable("PROVIDER_UNAVAILABLE")), call)
    assert (outcome.kind, outcome.decline) == ("unreached", None)


async def test_a_charge_that_the_provider_refuses_keeps_its_words() -> None:
    words = "Stripe refused the request: Your account cannot currently make live charges."
    outcome = await answer(Provider(ProviderFailure("PROVIDER_REFUSED", words)), TRY, 1)
    said = outcome.decline
    assert said is not None
    assert (outcome.kind, said.reason, said.message) == ("unreached", CHARGE_REFUSED, words)


@pytest.mark.parametrize("present", [False, True], ids=["without its payer", "payer present"])
@pytest.mark.parametrize("again", [False, True], ids=["first", "again"])
@pytest.mark.parametrize(
    "said", [REFUSED, Unavailable("PROVIDER_UNAVAILABLE")], ids=["refused", "doubt"]
)
async def test_a_key_that_does_not_know_the_payment_proves_nothing(
    said: Exception, *, again: bool, present: bool
) -> None:
    """That of another account, or of the other mode: an earlier try may have reached the card."""
    call = replace(TRY, again=again, on_session=present)
    with pytest.raises(Unavailable, match="PROVIDER_KEY: No such payment_intent"):
        await answer(Provider(said, look=UNKNOWN), call)


@pytest.mark.parametrize("again", [False, True], ids=["first", "again"])
async def test_a_payer_waits_where_our_key_may_not_read_the_payment(*, again: bool) -> None:
    revoked = Unavailable("PROVIDER_KEY", "Stripe does not accept our key")
    with pytest.raises(Unavailable, match="does not accept our key"):
        await answer(Provider(revoked, look=revoked), replace(TRY, again=again, on_session=True))


async def test_the_payer_of_a_purchase_waits_where_our_key_may_open_no_payment() -> None:
    call = Call("open", ASKED, refusable=True)
    with pytest.raises(Unavailable, match="lacks rak_payment_intent_write"):
        await answer(Provider(Unavailable("PROVIDER_KEY", WORDS)), call)
