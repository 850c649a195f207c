"""A read that the provider refuses proves nothing of what was done before: it is asked again."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

import pytest
from temporalio.testing import ActivityEnvironment

from activities.customers import Customer
from activities.dependencies import Dependencies
from activities.order_calls import Orders
from activities.payment_calls import Charger
from activities.provider_calls import ProviderCalls
from activities.refund_calls import Refunder
from activities.tries import SAME_KEY_TRIES
from billing.core.errors import ProviderFailure, Unavailable
from billing.money.payment_methods import store as method_store
from billing.money.payments import service as payment_service
from billing.money.payments import store
from billing.money.payments.calls import Call
from billing.money.payments.rules import CheckoutSession, Outcome
from billing.money.payments.schemas import PAYPAL, AttemptCard, Payment
from billing.money.refunds.calls import SurveyCall
from gateways.provider import NO_CUSTOMER
from tests.unit.activities.test_lost_intents import ASKED, ME, TRIED
from tests.unit.activities.test_refused_keys import TRY
from tests.unit.activities.test_refused_keys import Provider as OfKeys
from tests.unit.activities.test_refused_keys import answer as answer_of

WORDS: Final = "Stripe refused the request: No such object"
DOUBT: Final = f"PROVIDER_KEY: {WORDS}"
BY_CARD: Final = ASKED.model_copy(update={"stripe_payment_intent_id": "pi_1"})
BY_PAGE: Final = ASKED.model_copy(update={"stripe_checkout_session_id": "cs_1"})
BY_PAYPAL: Final = BY_PAGE.model_copy(update={"flow": PAYPAL, "stripe_payment_intent_id": "cap_1"})


class Provider:
    """Refuses one kind of call; the intent was canceled, and the page is done."""

    def __init__(self, refused: str, code: str = "PROVIDER_REFUSED") -> None:
        self.refused, self.code = refused, code

    def __getattr__(self, name: str) -> Any:
        async def call(*_: Any, **__: Any) -> Any:
            if name == self.refused:
                raise ProviderFailure(self.code, WORDS)
            return _ANSWERS[name]

        return call

    @asynccontextmanager
    async def tenant(self, _: UUID) -> AsyncIterator[None]:
        yield

    glancing = tenant


_OVER: Final = Outcome(kind="canceled", intent_id="pi_1", is_over=True)
_PAGE: Final = CheckoutSession(session_id="cs_1", url=None, status="complete", intent_id="pi_1")
_ANSWERS: Final[dict[str, Any]] = {
    "retrieve_checkout": _PAGE, "expire_checkout": _PAGE, "retrieve_intent": _OVER,
    "cancel_intent": _OVER, "find_intent": None, "create_intent": _OVER,
    "customer_is_deleted": False,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _rows(monkeypatch: pytest.MonkeyPatch) -> None:
    async def card_of(*_: Any) -> AttemptCard:
        return AttemptCard("pending", UUID(int=3), "pm_1", "card")

    async def charges_on_record(*_: Any) -> set[str]:
        return set()

    async def names_of(*_: Any) -> set[str]:
        return {"pm_1"}

    async def attempts_of(*_: Any) -> list[Any]:
        return [TRIED.model_copy(update={"payment_id": ASKED.id})]

    async def record_session(_: Any, payment: Payment, page: CheckoutSession) -> Payment:
        return payment.model_copy(update={"stripe_payment_intent_id": page.intent_id})

    monkeypatch.setattr(store, "card_of", card_of)
    monkeypatch.setattr(store, "charges_on_record", charges_on_record)
    monkeypatch.setattr(method_store, "names_of", names_of)
    monkeypatch.setattr(store, "attempts_of", attempts_of)
    monkeypatch.setattr(payment_service, "record_session", record_session)


def parts(provider: Any) -> Dependencies:
    return Dependencies(database=provider, provider=provider, orders=provider, settings=None)  # type: ignore[arg-type]


async def opened(provider: Provider, call: Call) -> Any:
    """The step's second try to open a payment, which looks for the intent of the first one."""
    calls = ProviderCalls(replace(parts(provider), settings=_Settings))  # type: ignore[arg-type]
    calls._charger._customers._known[ME] = Customer("cus_1")
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, attempt=SAME_KEY_TRIES + 1)
    return await environment.run(calls.make, call)


class _Settings:
    public_url = "http://a"
    pay_link_secrets = ("s",)


@pytest.mark.parametrize(
    ("payment", "read"),
    [
        (BY_CARD, "retrieve_intent"), (BY_CARD, "charges"), (BY_PAGE, "retrieve_checkout"),
        (BY_PAGE, "retrieve_intent"),
    ],
    ids=["intent", "charges", "page", "intent of a page"],
)  # fmt: skip
async def test_a_look_at_a_payment_is_a_doubt(payment: Payment, read: str) -> None:
    with pytest.raises(Unavailable, match=DOUBT):
        await Charger(parts(Provider(read))).look(payment)


@pytest.mark.parametrize(
    ("payment", "read"),
    [(BY_CARD, "charges"), (BY_PAGE, "expire_checkout"), (BY_PAGE, "retrieve_intent")],
    ids=["charges", "page", "intent of a page"],
)
async def test_a_look_at_a_payment_that_is_called_back_is_a_doubt(
    payment: Payment, read: str
) -> None:
    with pytest.raises(Unavailable, match=DOUBT):
        await Charger(parts(Provider(read))).call_back(payment)


@pytest.mark.parametrize("verb", ["look", "call_back"])
async def test_a_look_at_an_order_is_a_doubt(verb: str) -> None:
    with pytest.raises(Unavailable, match=DOUBT):
        await getattr(Orders(parts(Provider("retrieve_order"))), verb)(BY_PAYPAL)


@pytest.mark.parametrize("payment", [BY_CARD, BY_PAYPAL], ids=["stripe", "paypal"])
async def test_a_survey_of_what_went_back_is_a_doubt(payment: Payment) -> None:
    with pytest.raises(Unavailable, match=DOUBT):
        await Refunder(parts(Provider("taken_back"))).look(SurveyCall(payment))


async def test_a_look_at_a_card_whose_charge_was_refused_is_a_doubt() -> None:
    class Card(OfKeys):
        async def method_is_detached(self, _: str) -> bool:
            raise ProviderFailure("PROVIDER_REFUSED", WORDS)

    with pytest.raises(Unavailable, match=DOUBT):
        await answer_of(Card(ProviderFailure("PROVIDER_REFUSED", "Your account cannot")), TRY, 1)


# -- an intent whose answer was lost -----------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [Call("open", ASKED, refusable=True), Call("open", ASKED, TRIED)],
    ids=["purchase", "renewal"],
)
async def test_a_refused_search_for_an_intent_neither_fails_its_payment_nor_uses_up_a_slot(
    call: Call,
) -> None:
    with pytest.raises(Unavailable, match=DOUBT):
        await opened(Provider("find_intent"), call)


async def test_a_payer_who_is_present_is_told_where_an_intent_cannot_be_searched_for() -> None:
    """It was never stored, so nothing has confirmed it."""
    said = await opened(Provider("find_intent"), Call("open", ASKED, TRIED, on_session=True))
    assert said.outcome == Outcome(kind="unreached")


async def test_a_search_that_finds_no_customer_asks_whether_he_was_deleted() -> None:
    call = Call("open", ASKED, refusable=True)
    with pytest.raises(Unavailable, match="PROVIDER_KEY: Stripe does not know cus_1"):
        await opened(Provider("find_intent", NO_CUSTOMER), call)


async def test_a_refused_look_at_the_customer_forgets_nobody() -> None:
    class Silent(Provider):
        async def find_intent(self, *_: Any) -> None:
            raise ProviderFailure(NO_CUSTOMER, "No such customer")

    with pytest.raises(Unavailable, match=DOUBT):
        await opened(Silent("customer_is_deleted"), Call("open", ASKED, refusable=True))
