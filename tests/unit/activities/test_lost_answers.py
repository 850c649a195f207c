"""A try whose answer was lost, on an intent that asks for 3-D Secure."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from temporalio.testing import ActivityEnvironment

from activities.matter import Dependencies
from activities.payment_calls import Charger
from billing.core.errors import ProviderFailure, Unavailable
from billing.money.payments import store
from billing.money.payments.rules import Charge, Outcome
from billing.money.payments.schemas import Attempt, Payment
from gateways.provider import KEY_REUSED

PAYMENT: Any = {"stripe_payment_intent_id": "pi_1"}
TRIED: Any = {
    "account_id": UUID(int=1), "invoice_id": UUID(int=2), "key": "inv_1/card-mth_2",
    "real_started_at": datetime(2027, 1, 1, tzinfo=UTC),
}  # fmt: skip


class Provider:
    """An intent that asks the payer of the first card, until another card is confirmed."""

    def __init__(self) -> None:
        self.confirmed: list[str] = []

    @asynccontextmanager
    async def tenant(self, _: UUID) -> AsyncIterator[None]:
        yield

    async def retrieve_intent(self, name: str) -> Outcome:
        return Outcome(kind="action", intent_id=name, card="pm_1")

    async def charges(self, _: str) -> list[Charge]:
        return []

    async def confirm_intent(self, name: str, _: str, card: str, **terms: bool) -> Outcome:
        self.confirmed.append(card)
        return Outcome(kind="succeeded", intent_id=name)


@pytest.mark.parametrize(
    ("card", "kind", "confirmed"),
    [("pm_1", "action", []), ("pm_2", "succeeded", ["pm_2"])],
    ids=["its own", "another"],
)
async def test_only_its_own_cards_question_is_the_result_of_a_try(
    monkeypatch: pytest.MonkeyPatch, card: str, kind: str, confirmed: list[str]
) -> None:
    async def card_of(*_: Any) -> store.AttemptCard:
        return store.AttemptCard("pending", UUID(int=3), card, "card")

    async def charges_on_record(*_: Any) -> set[str]:
        return set()

    monkeypatch.setattr(store, "card_of", card_of)
    monkeypatch.setattr(store, "charges_on_record", charges_on_record)
    provider: Any = Provider()
    charger = Charger(Dependencies(database=provider, settings=None, provider=provider))  # type: ignore[arg-type]
    payment, tried = Payment.model_construct(**PAYMENT), Attempt.model_construct(**TRIED)
    outcome = await charger.charge(payment, tried, off_session=True, again=True)
    assert (outcome.kind, provider.confirmed) == (kind, confirmed)


async def test_a_key_that_was_used_otherwise_proves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def card_of(*_: Any) -> store.AttemptCard:
        return store.AttemptCard("pending", UUID(int=3), "pm_1", "sepa_debit")

    async def confirm_intent(*_: Any, **__: Any) -> Outcome:
        raise ProviderFailure(KEY_REUSED, "Stripe saw this key with other parameters")

    monkeypatch.setattr(store, "card_of", card_of)
    provider: Any = Provider()
    provider.confirm_intent = confirm_intent
    charger = Charger(Dependencies(database=provider, settings=None, provider=provider))  # type: ignore[arg-type]
    payment, tried = Payment.model_construct(**PAYMENT), Attempt.model_construct(**TRIED)
    with pytest.raises(Unavailable):
        await ActivityEnvironment().run(
            partial(charger.charge, off_session=False, again=False), payment, tried
        )
