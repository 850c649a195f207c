"""An intent whose answer was lost is looked for from its own time on, not among all there are."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, Final
from uuid import UUID

import pytest
from temporalio.testing import ActivityEnvironment

from activities.customers import Customer
from activities.dependencies import Dependencies
from activities.provider_calls import ProviderCalls
from billing.core import ids
from billing.core.clock import real_now
from billing.core.errors import ProviderFailure
from billing.money.payments.calls import Answer, Call
from billing.money.payments.rules import Outcome
from billing.money.payments.schemas import Attempt, Payment
from gateways.provider import IntentRequest

ME, PAYMENT = UUID(int=1), UUID(int=2)
BEGUN: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
MADE: Final = Outcome(kind="waiting", intent_id="pi_1")
ASKED: Final = Payment(
    id=PAYMENT, account_id=ME, invoice_id=UUID(int=3), workflow_id="charge/x", flow="saved_card",
    intent_key="k", status="pending", amount_minor=999, currency="USD", created_at=BEGUN,
)  # fmt: skip
TRIED: Final = Attempt(
    id=UUID(int=4), account_id=ME, invoice_id=UUID(int=3), key="k/attempt-0", status="pending",
    started_at=BEGUN, real_started_at=BEGUN,
)  # fmt: skip


REFUSED: Final = "PROVIDER_REFUSED"


class Provider:
    """Knows the intent, if it is asked for a time before it was made."""

    def __init__(self, made_at: datetime) -> None:
        self.made_at = made_at
        self.log: list[str] = []

    async def find_intent(self, customer: str, payment: str, since: datetime) -> Outcome | None:
        assert (customer, payment) == ("cus_1", ids.encode(ids.PAYMENT, PAYMENT))
        self.log.append("find")
        return MADE if since <= self.made_at else None

    async def create_intent(self, _: IntentRequest) -> Outcome:
        self.log.append("create")
        return MADE

    async def opened(self, attempt: Attempt | None, number: int) -> list[str]:
        """One try of the step that opens the payment; what was asked."""
        self.log.clear()
        environment = ActivityEnvironment()
        environment.info = replace(environment.info, attempt=number)
        settings = SimpleNamespace(public_url="http://a", pay_link_secrets=["s"])
        both: Any = {"provider": self, "orders": self, "database": None, "settings": settings}
        calls = ProviderCalls(Dependencies(**both))
        calls._charger._customers._known[ME] = Customer("cus_1")
        answer: Any = await environment.run(calls.make, Call("open", ASKED, attempt))
        assert isinstance(answer, Answer)
        assert answer.outcome == MADE
        return list(self.log)


@pytest.mark.parametrize(
    ("made_after", "asked"),
    [
        (timedelta(seconds=3), ["find"]),
        (-timedelta(minutes=59), ["find"]),
        (-timedelta(hours=2), ["find", "create"]),
    ],
)
async def test_a_try_looks_from_an_hour_before_its_attempt_on(
    made_after: timedelta, asked: list[str]
) -> None:
    provider = Provider(BEGUN + made_after)
    assert await provider.opened(TRIED, 1) == ["create"], "nothing can be lost yet"
    assert await provider.opened(TRIED, 2) == asked


@pytest.mark.parametrize(
    ("age", "asked"), [(timedelta(days=1), ["find"]), (timedelta(days=3), ["find", "create"])]
)
async def test_what_the_payer_confirms_is_looked_for_among_those_of_two_days(
    age: timedelta, asked: list[str]
) -> None:
    assert await Provider(real_now() - age).opened(None, 2) == asked


class Refusing(Provider):
    """Refuses at first, and repeats under each key what it said there, as Stripe does."""

    def __init__(self) -> None:
        super().__init__(BEGUN - timedelta(days=9))
        self.is_repaired = False
        self.said: dict[str, ProviderFailure | None] = {}

    async def create_intent(self, request: IntentRequest) -> Outcome:
        is_new = request.key not in self.said
        said = self.said.setdefault(
            request.key, None if self.is_repaired else ProviderFailure(REFUSED, "no")
        )
        if said is not None:
            said.is_repeated = not is_new
            raise said
        return await super().create_intent(request)


async def test_a_refusal_that_the_provider_repeats_is_asked_again_under_a_new_key() -> None:
    provider = Refusing()
    for number in (1, 2):
        with pytest.raises(ProviderFailure):
            await provider.opened(TRIED, number)
    assert len(provider.said) == 2, "the account is not repaired yet"
    provider.is_repaired = True
    assert await provider.opened(TRIED, 1) == ["create"]
    [asked] = [key for key, said in provider.said.items() if said is None]
    assert asked.startswith("k/again-")
