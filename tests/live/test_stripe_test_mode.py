"""Against Stripe's own test mode: does the real thing behave as the sandbox says?

Opt-in: `STRIPE_SECRET_KEY=sk_test_… make test ARGS="tests/live -rs"`. Without such a key every
test here is skipped and says why; a live key is refused. Nothing of it runs in the gate.
"""

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import pytest
import stripe

from billing.core import ids
from billing.core.clock import real_now
from billing.core.errors import ProviderFailure
from billing.money.reconciliations.schemas import ObjectKind
from gateways.events import readable
from gateways.provider import CheckoutRequest, IntentRequest
from gateways.stripe import StripeGateway

SANDBOX_KEY: Final = "sk_test_sandbox"
KEY: Final = os.environ.get("STRIPE_SECRET_KEY", "")
REAL: Final = KEY.startswith(("sk_test_", "rk_test_")) and KEY != SANDBOX_KEY
PATIENCE_SECONDS: Final = 30.0

pytestmark = [
    pytest.mark.stripe_test_mode,
    pytest.mark.skipif(
        not REAL, reason="Stripe's test mode is not visited: STRIPE_SECRET_KEY is no sk_test_… key"
    ),
]


@pytest.fixture(scope="module")
async def gateway() -> AsyncIterator[StripeGateway]:
    """The product's own gateway, pointed at Stripe itself."""
    opened = StripeGateway(KEY, None, timeout_seconds=PATIENCE_SECONDS)
    yield opened
    await opened.close()


@pytest.fixture(scope="module")
async def v1() -> AsyncIterator[Any]:
    """Stripe's SDK, for what the payer's browser does."""
    http = stripe.AIOHTTPClient(timeout=PATIENCE_SECONDS)
    yield stripe.StripeClient(KEY, http_client=http).v1
    await http.close_async()  # type: ignore[no-untyped-call]


@pytest.fixture
async def customer(gateway: StripeGateway) -> str:
    """A fresh customer."""
    account = ids.new()
    name = ids.encode(ids.ACCOUNT, account)
    return await gateway.create_customer(account, f"{name}/customer", {"account": name})


def purchase(customer: str, **more: Any) -> IntentRequest:
    """A pack of 9.99 USD, under keys nobody used before."""
    payment = ids.encode(ids.PAYMENT, ids.new())
    return IntentRequest(
        key=f"{payment}/intent-1",
        amount_minor=999,
        currency="USD",
        customer_id=customer,
        description="Small (100.00 credits)",
        metadata={"payment": payment},
        **more,
    )


async def test_a_purchase_by_card_is_charged_once_under_its_key(
    gateway: StripeGateway, customer: str
) -> None:
    request = purchase(customer)
    made = await gateway.create_intent(request)
    assert made.kind == "waiting"
    assert made.intent_id is not None
    assert (await gateway.create_intent(request)).intent_id == made.intent_id
    key = f"{request.key}/attempt-0"
    for _ in range(2):
        paid = await gateway.confirm_intent(
            made.intent_id, key, "pm_card_visa", off_session=False, is_card=True
        )
        assert (paid.kind, paid.received_minor) == ("succeeded", 999)
    assert [charge.paid for charge in await gateway.charges(made.intent_id)] == [True]
    late = await gateway.cancel_intent(made.intent_id, f"{request.key}/cancel")
    assert late.kind == "succeeded", "an intent that is paid says so when it is canceled"


async def test_a_lost_answer_is_found_by_our_metadata(
    gateway: StripeGateway, customer: str
) -> None:
    request, before = purchase(customer), real_now() - timedelta(hours=1)
    made = await gateway.create_intent(request)
    found = await gateway.find_intent(customer, request.metadata["payment"], before)
    assert found is not None
    assert found.intent_id == made.intent_id


@pytest.mark.parametrize(
    ("card", "reason", "decline_class"),
    [
        ("pm_card_visa_chargeDeclinedInsufficientFunds", "insufficient_funds", "soft"),
        ("pm_card_visa_chargeDeclinedLostCard", "lost_card", "hard"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", "hard"),
    ],
)
async def test_a_decline_is_a_result_with_its_class(
    gateway: StripeGateway, customer: str, card: str, reason: str, decline_class: str
) -> None:
    request = purchase(customer)
    made = await gateway.create_intent(request)
    assert made.intent_id is not None
    declined = await gateway.confirm_intent(
        made.intent_id, f"{request.key}/attempt-0", card, off_session=False, is_card=True
    )
    assert declined.kind == "declined"
    assert declined.decline is not None
    assert (declined.decline.reason, declined.decline.decline_class) == (reason, decline_class)
    canceled = await gateway.cancel_intent(made.intent_id, f"{request.key}/cancel")
    assert canceled.kind == "canceled"


async def test_a_bank_that_asks_the_payer_is_waited_for(
    gateway: StripeGateway, customer: str
) -> None:
    made = await gateway.create_intent(purchase(customer))
    assert made.intent_id is not None
    asked = await gateway.confirm_intent(
        made.intent_id,
        str(uuid4()),
        "pm_card_authenticationRequired",
        off_session=False,
        is_card=True,
    )
    assert asked.kind == "action"


async def test_a_card_kept_by_the_first_payment_pays_the_next_without_its_owner(
    gateway: StripeGateway, customer: str
) -> None:
    first = await gateway.create_intent(purchase(customer, save_card=True))
    assert first.intent_id is not None
    await gateway.confirm_intent(
        first.intent_id, str(uuid4()), "pm_card_visa", off_session=False, is_card=True
    )
    card = await gateway.intent_card(first.intent_id)
    assert card is not None
    assert (card.brand, card.last4) == ("visa", "4242")
    renewal = await gateway.create_intent(purchase(customer, save_card=True))
    assert renewal.intent_id is not None
    paid = await gateway.confirm_intent(
        renewal.intent_id,
        str(uuid4()),
        card.stripe_payment_method_id,
        off_session=True,
        is_card=True,
    )
    assert paid.kind == "succeeded"
    await gateway.detach_method(card.stripe_payment_method_id)
    await gateway.detach_method(card.stripe_payment_method_id)


async def test_a_card_is_saved_without_a_charge(
    gateway: StripeGateway, v1: Any, customer: str
) -> None:
    begun = await gateway.create_setup_intent(customer, str(uuid4()), {})
    await v1.setup_intents.confirm_async(begun.setup_intent_id, {"payment_method": "pm_card_visa"})
    saved = await gateway.retrieve_setup_intent(begun.setup_intent_id)
    assert saved is not None
    assert saved.status == "succeeded"
    assert saved.card is not None
    assert saved.card.last4 == "4242"


async def test_a_hosted_page_opens_and_expires(gateway: StripeGateway, customer: str) -> None:
    wanted = purchase(customer).model_dump()
    request = CheckoutRequest(**wanted, return_url="https://shop.example/back")
    page = await gateway.create_checkout(request)
    assert (page.status, bool(page.url)) == ("open", True)
    assert (await gateway.expire_checkout(page.session_id, str(uuid4()))).status == "expired"
    again = await gateway.expire_checkout(page.session_id, str(uuid4()))
    assert again.status == "expired", "its own word counts"


async def test_what_happened_is_listed_for_those_who_missed_it(
    gateway: StripeGateway, customer: str
) -> None:
    began = datetime.now(UTC) - timedelta(seconds=30)
    made = await gateway.create_intent(purchase(customer))
    assert made.intent_id is not None
    await gateway.confirm_intent(
        made.intent_id, str(uuid4()), "pm_card_visa", off_session=False, is_card=True
    )
    assert [
        event
        async for page in gateway.events_between(began, datetime.now(UTC))
        for event in readable(page.events)
        if event.type == "payment_intent.succeeded" and event.object_id == made.intent_id
    ]


async def test_a_key_of_other_parameters_is_refused(gateway: StripeGateway, customer: str) -> None:
    request = purchase(customer)
    await gateway.create_intent(request)
    with pytest.raises(ProviderFailure, match="PROVIDER_KEY_REUSED"):
        await gateway.create_intent(request.model_copy(update={"amount_minor": 1000}))


@pytest.mark.parametrize("kind", ["payment", "refund", "dispute"])
async def test_the_key_may_read_what_the_comparison_reads(
    gateway: StripeGateway, kind: ObjectKind
) -> None:
    """A restricted key needs a right for each object that the lists expand."""
    now = datetime.now(UTC)
    await gateway.money_page(kind, now - timedelta(days=14), now, None)
