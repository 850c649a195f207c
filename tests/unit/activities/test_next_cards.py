"""A declined intent asks to keep the card that pays it next, whatever its try has asked for."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, Final
from uuid import UUID

import pytest

from activities.dependencies import Dependencies
from activities.provider_calls import ProviderCalls
from billing.core.errors import Unavailable
from billing.money.payments.calls import Answer, Call, What
from billing.money.payments.rules import Outcome
from billing.money.payments.schemas import PAYPAL, Attempt, Payment

DECLINED: Final = Outcome(kind="declined", intent_id="pi_1")
PAYMENT: Any = {
    "account_id": UUID(int=1), "invoice_id": UUID(int=2), "stripe_payment_intent_id": "pi_1",
}  # fmt: skip
TRIED: Any = {"key": "inv_1/attempt-0"}


class Charger:
    """Knows one outcome, and what was asked of its intent."""

    def __init__(self, outcome: Outcome, *, away: bool = False) -> None:
        self.outcome, self.away = outcome, away
        self.kept: list[str] = []

    async def charge(self, *_: Any, **__: Any) -> Outcome:
        return self.outcome

    async def look(self, payment: Payment, **_: Any) -> tuple[Payment, Outcome]:
        return payment, self.outcome

    async def keep_next_card(self, intent_id: str) -> None:
        if self.away:
            raise Unavailable("PROVIDER_UNAVAILABLE", "Stripe did not decide")
        self.kept.append(intent_id)


async def make(charger: Any, wanted: Call) -> Answer:
    settings: Any = SimpleNamespace(public_url="http://a", pay_link_secrets=["s"])
    calls = ProviderCalls(Dependencies(database=charger, settings=settings, provider=charger))
    calls._charger = calls._orders = charger
    answer = await calls.make(wanted)
    assert isinstance(answer, Answer)
    return answer


def call(what: What, flow: str = "saved_card") -> Call:
    payment = Payment.model_construct(**PAYMENT | {"flow": flow})
    return Call(what, payment, Attempt.model_construct(**TRIED))


@pytest.mark.parametrize("what", ["try_card", "look"])
async def test_it_is_asked_for_however_the_decline_is_heard(what: What) -> None:
    charger = Charger(DECLINED)
    await make(charger, call(what))
    assert charger.kept == ["pi_1"]


@pytest.mark.parametrize(
    ("wanted", "outcome"),
    [
        (call("look"), DECLINED.model_copy(update={"keeps_card": True})),
        (call("look"), DECLINED.model_copy(update={"is_over": True})),
        (call("look"), DECLINED.model_copy(update={"kind": "processing"})),
        (replace(call("look"), save_card=False), DECLINED),
        (call("look", PAYPAL), DECLINED),
    ],
    ids=["asked for already", "over", "undecided", "a purchase", "no card"],
)
async def test_it_is_asked_for_where_one_may_be_kept(wanted: Call, outcome: Outcome) -> None:
    charger = Charger(outcome)
    await make(charger, wanted)
    assert charger.kept == []


async def test_a_decline_is_told_only_when_it_is_asked_for() -> None:
    with pytest.raises(Unavailable):
        await make(Charger(DECLINED, away=True), call("try_card"))
