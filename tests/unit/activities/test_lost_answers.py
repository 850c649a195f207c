"""A try whose answer was lost, on an intent that asks for 3-D Secure."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from temporalio.testing import ActivityEnvironment

from activities.dependencies import Dependencies
from activities.payment_calls import Charger
from billing.core.errors import ProviderFailure, Unavailable
from billing.money.payment_methods import store as method_store
from billing.money.payments import store
from billing.money.payments.rules import Charge, Decline, Outcome
from billing.money.payments.schemas import Attempt, AttemptCard, Payment
from gateways.provider import KEY_REUSED

PAYMENT: Any = {"stripe_payment_intent_id": "pi_1"}
TRIED: Any = {
    "account_id": UUID(int=1), "invoice_id": UUID(int=2), "key": "inv_1/card-mth_2",
    "real_started_at": datetime(2027, 1, 1, tzinfo=UTC),
}  # fmt: skip


class Provider:
    """An intent that asks the payer of the first card, until another card is confirmed."""

    def __init__(self, *made: Charge) -> None:
        self.confirmed: list[str] = []
        self.made = list(made)

    @asynccontextmanager
    async def tenant(self, _: UUID) -> AsyncIterator[str]:
        yield "tenant"

    @asynccontextmanager
    async def glancing(self, _: UUID) -> AsyncIterator[str]:
        yield "glancing"

    async def retrieve_intent(self, name: str) -> Outcome:
        return Outcome(kind="action", intent_id=name, card="pm_1")

    async def charges(self, _: str) -> list[Charge]:
        return self.made

    async def confirm_intent(self, name: str, _: str, card: str, **terms: bool) -> Outcome:
        self.confirmed.append(card)
        return Outcome(kind="succeeded", intent_id=name)


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> Callable[[Provider, str], Awaitable[Outcome]]:
    """Has an attempt of a card, whose answer was lost, tried again at this provider."""

    async def charges_on_record(*_: Any) -> set[str]:
        return {"ch_on_record"}

    async def charge(provider: Any, card: str) -> Outcome:
        async def card_of(*_: Any) -> AttemptCard:
            return AttemptCard("pending", UUID(int=3), card, "card")

        async def names_of(connection: str, *_: Any) -> set[str]:
            # In a glance only the calls of `answers` see rows.
            return {card, f"{card}_before"} if connection == "tenant" else set()

        monkeypatch.setattr(store, "card_of", card_of)
        monkeypatch.setattr(method_store, "names_of", names_of)
        charger = Charger(Dependencies(database=provider, settings=None, provider=provider))  # type: ignore[arg-type]
        payment, tried = Payment.model_construct(**PAYMENT), Attempt.model_construct(**TRIED)
        return await charger.charge(payment, tried, off_session=True, again=True)

    monkeypatch.setattr(store, "charges_on_record", charges_on_record)
    return charge


@pytest.mark.parametrize(
    ("card", "kind", "confirmed"),
    [("pm_1", "action", []), ("pm_2", "succeeded", ["pm_2"])],
    ids=["its own", "another"],
)
async def test_only_its_own_cards_question_is_the_result_of_a_try(
    tries: Callable[[Provider, str], Awaitable[Outcome]],
    card: str,
    kind: str,
    confirmed: list[str],
) -> None:
    provider = Provider()
    outcome = await tries(provider, card)
    assert (outcome.kind, provider.confirmed) == (kind, confirmed)


@pytest.mark.parametrize(
    ("charge", "card", "seconds", "kind"),
    [
        ("ch_new", "pm_2", -40, "declined"),
        ("ch_new", "pm_3", -40, "succeeded"),
        ("ch_new", "pm_3", -3, "succeeded"),
        ("ch_new", "pm_3", 3, "succeeded"),
        ("ch_new", "pm_2_before", -3, "declined"),
        ("ch_new", "pm_2", -400, "succeeded"),
        ("ch_on_record", "pm_2", -40, "succeeded"),
    ],
    ids=[
        "a clock that is ahead",
        "another card",
        "another card just before",
        "another card meanwhile",
        "given again since",
        "long before",
        "an earlier try",
    ],
)
async def test_a_decline_is_found_by_a_clock_that_is_ahead_of_the_providers(
    tries: Callable[[Provider, str], Awaitable[Outcome]],
    charge: str,
    card: str,
    seconds: int,
    kind: str,
) -> None:
    declined = Charge(
        charge_id=charge,
        created_at=TRIED["real_started_at"] + timedelta(seconds=seconds),
        paid=False,
        payment_method_id=card,
        decline=Decline(code="card_declined", message="it was declined"),
    )
    assert (await tries(Provider(declined), "pm_2")).kind == kind


async def test_a_key_that_was_used_otherwise_proves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def card_of(*_: Any) -> AttemptCard:
        return AttemptCard("pending", UUID(int=3), "pm_1", "sepa_debit")

    async def confirm_intent(*_: Any, **__: Any) -> Outcome:
        raise ProviderFailure(
            KEY_REUSED, "Stripe has already received this key with other parameters"
        )

    monkeypatch.setattr(store, "card_of", card_of)
    provider: Any = Provider()
    provider.confirm_intent = confirm_intent
    charger = Charger(Dependencies(database=provider, settings=None, provider=provider))  # type: ignore[arg-type]
    payment, tried = Payment.model_construct(**PAYMENT), Attempt.model_construct(**TRIED)
    with pytest.raises(Unavailable):
        await ActivityEnvironment().run(
            partial(charger.charge, off_session=False, again=False), payment, tried
        )


@pytest.mark.parametrize(
    ("now", "kind"), [("pm_1", "declined"), ("pm_2", "unreached")], ids=["gone", "given again"]
)
async def test_a_card_that_was_given_again_meanwhile_is_not_gone(
    monkeypatch: pytest.MonkeyPatch, now: str, kind: str
) -> None:
    cards = iter(["pm_1", now])

    async def card_of(*_: Any) -> AttemptCard:
        return AttemptCard("pending", UUID(int=3), next(cards), "card")

    async def confirm_intent(*_: Any, **__: Any) -> Outcome:
        raise ProviderFailure("PLATFORM_ERROR", "no such payment method")

    async def method_is_detached(_: str) -> bool:
        return True

    monkeypatch.setattr(store, "card_of", card_of)
    provider: Any = Provider()
    provider.confirm_intent, provider.method_is_detached = confirm_intent, method_is_detached
    charger = Charger(Dependencies(database=provider, settings=None, provider=provider))  # type: ignore[arg-type]
    payment, tried = Payment.model_construct(**PAYMENT), Attempt.model_construct(**TRIED)
    outcome = await charger.charge(payment, tried, off_session=True, again=False)
    assert outcome.kind == kind


@pytest.mark.parametrize(
    ("is_barred", "reason"),
    [(True, "card_barred"), (False, "card_gone")],
    ids=["barred", "removed"],
)
async def test_a_card_that_was_lost_since_its_try_began_is_declined_and_says_why(
    monkeypatch: pytest.MonkeyPatch, *, is_barred: bool, reason: str
) -> None:
    async def card_of(*_: Any) -> AttemptCard:
        return AttemptCard("pending", UUID(int=3), None, "card", is_barred)

    monkeypatch.setattr(store, "card_of", card_of)
    provider: Any = Provider()
    charger = Charger(Dependencies(database=provider, settings=None, provider=provider))  # type: ignore[arg-type]
    payment, tried = Payment.model_construct(**PAYMENT), Attempt.model_construct(**TRIED)
    outcome = await charger.charge(payment, tried, off_session=True, again=False)
    decline = outcome.decline
    assert decline is not None
    assert (outcome.kind, decline.reason, decline.decline_class) == ("declined", reason, "hard")
    assert provider.confirmed == []
