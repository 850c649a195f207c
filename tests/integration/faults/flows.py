"""Customers who do not give up: each drives one flow to its end through dead APIs and lost answers.

A lost answer counts as "maybe": the same request is sent again under the same key. What the end
must look like is judged by the sandbox's own journal first, then by the rows.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import ClassVar, Final, Self, TypeVar
from uuid import uuid4

import httpx2

from sandbox.control import Json
from tests.integration.actors import Actors, Customer, Unexpected, instant, wait_for

T = TypeVar("T")
# A dead API leaves its key's lease of 30 s behind; everything else heals sooner.
PATIENCE_SECONDS: Final = 100.0
START: Final = "2027-01-01T10:00:00Z"


class NotYet(Exception):
    """A part of the stack is down, or its answer was lost: ask again."""


async def insist(act: Callable[[], Awaitable[T]], what: str) -> T:
    """The answer of `act`, asked again through every outage."""

    async def once() -> T:
        try:
            found = await act()
        except httpx2.HTTPError as lost:
            raise NotYet(repr(lost)) from lost
        except Unexpected as refused:
            answer = refused.answer
            waiting = answer.status_code >= 500 or answer.status_code == 429
            waiting |= answer.json().get("status") == "accepted"
            if waiting or answer.json().get("code") == "IDEMPOTENCY_IN_FLIGHT":
                raise NotYet(str(refused)) from refused
            raise
        if isinstance(found, dict) and found.get("status") == "accepted":
            raise NotYet(str(found))
        return found

    return await wait_for(once, what, lambda _: True, patience=PATIENCE_SECONDS, despite=(NotYet,))


class Flow(ABC):
    """One customer's business: prepared in peace, driven through trouble, proven at the end."""

    name: ClassVar[str]

    def __init__(self, customer: Customer) -> None:
        self.customer = customer
        self.key = str(uuid4())
        self.ended_at = 0.0
        self.may_be_refused = False
        """True if Stripe refuses one call for good: what it was to open has failed then."""

    @classmethod
    @abstractmethod
    async def prepare(cls, actors: Actors) -> "Flow":
        """Whatever must be there before."""

    @abstractmethod
    async def drive(self) -> None:
        """To the end, whatever dies on the way."""

    @abstractmethod
    async def prove(self) -> None:
        """Exactly once: one charge, one grant, one invoice."""

    async def run(self) -> None:
        """Drive, and note when it was over."""
        await self.drive()
        self.ended_at = time.monotonic()

    async def proven(self, *, charges: list[int], grants: int, kind: str) -> None:
        """Check the end that every flow must reach, the sandbox's journal first."""
        customer = self.customer
        assert [effect["amount"] for effect in await customer.effects()] == charges
        assert len(await customer.grants(kind)) == grants
        invoices = [one for one in await customer.invoices() if one["status"] != "void"]
        assert [one["status"] for one in invoices] == ["paid"] * len(charges)
        assert [one["total_minor"] for one in invoices] == charges
        assert len({one["number"] for one in invoices} - {None}) == len(charges)
        undecided = await customer.rows(
            "SELECT key FROM payment_attempts WHERE account_id = %(me)s AND status = 'pending'"
        )
        assert undecided == []


class CardPurchase(Flow):
    """A pack, paid in the browser."""

    name = "purchase by card"
    flow: ClassVar[str] = "card"

    @classmethod
    async def prepare(cls, actors: Actors) -> "CardPurchase":
        return cls(await actors.customer())

    async def drive(self) -> None:
        begun = await insist(self._begin, f"{self.name} {self.key} can be paid")
        await self.customer.pay(begun)
        await insist(lambda: self._completed(begun["purchase_id"]), f"{self.name} is completed")

    async def _begin(self) -> Json:
        begun = await self.customer.buy("small", self.flow, key=self.key)
        if begun["next_action"]["type"] == "wait":
            raise NotYet(str(begun))
        return begun

    async def _completed(self, purchase_id: str) -> Json:
        seen = await self.customer.purchase(purchase_id)
        if seen["status"] != "completed":
            raise NotYet(str(seen))
        return seen

    async def prove(self) -> None:
        await self.proven(charges=[999], grants=1, kind="purchase")
        listed = await self.customer.ask("GET", "/billing/purchases")
        bought, *before = [one["status"] for one in listed["data"]]
        assert bought == "completed"
        assert before in ([], ["failed"] if self.may_be_refused else [])
        assert await self.customer.credits() == 100
        assert (await self.customer.published()).count("evt.billing.credits.purchased") == 1


class WithCard(Flow):
    """The business of a customer who has saved a card."""

    @classmethod
    async def prepare(cls, actors: Actors) -> Self:
        customer = await actors.customer()
        await customer.save_card()
        return cls(customer)


class SavedCardPurchase(WithCard, CardPurchase):
    """A pack, paid by a stored card at once."""

    name = "purchase by saved card"
    flow = "saved_card"

    async def drive(self) -> None:
        begun = await insist(self._begin, f"{self.name} {self.key} is decided")
        await insist(lambda: self._completed(begun["purchase_id"]), f"{self.name} is completed")


class TopUp(WithCard):
    """Credits that are bought by themselves when few are left."""

    name = "top-up"

    async def drive(self) -> None:
        body = {"threshold": "10", "pack": "small"}
        path = "/billing/credits/auto-top-up"
        await insist(lambda: self.customer.ask("PUT", path, body), f"{self.name} is wished for")

        async def filled() -> None:
            seen = (await self.customer.ask("GET", "/billing/credits/top-ups"))["data"]
            if [one["status"] for one in seen] != ["completed"]:
                raise NotYet(str(seen))

        await insist(filled, f"{self.name} is there")

    async def prove(self) -> None:
        await self.proven(charges=[999], grants=1, kind="purchase")
        assert await self.customer.credits() == 100
        assert (await self.customer.published()).count("evt.billing.top_up.completed") == 1


class SingleUse(WithCard):
    """A use that a saved card pays at once."""

    name = "single use"

    async def drive(self) -> None:
        body = {
            "product_id": "gpt-4", "usage_amount": "1000", "billing_method": "payment_charge",
            "event_id": self.key,
        }  # fmt: skip
        done = await insist(
            lambda: self.customer.ask("POST", "/usage/record", body), f"{self.name} is recorded"
        )
        path = f"/billing/records/{done['billing_id']}"

        async def paid() -> None:
            seen = await self.customer.ask("GET", path)
            if seen["billing_status"] != "completed":
                raise NotYet(str(seen))

        await insist(paid, f"{self.name} is paid")

    async def prove(self) -> None:
        await self.proven(charges=[200], grants=0, kind="purchase")
        records = await self.customer.rows(
            "SELECT event_id, billing_status, currency, total_amount FROM billing_records"
            " WHERE account_id = %(me)s"
        )
        assert [(one["event_id"], one["billing_status"]) for one in records] == [
            (self.key, "completed")
        ]
        assert (records[0]["currency"], records[0]["total_amount"]) == ("USD", 2)
        assert (await self.customer.published()).count("evt.billing.usage.settled") == 1


class Renewal(Flow):
    """A second month."""

    name = "renewal"
    days: ClassVar[int] = 31
    declines: ClassVar[tuple[str, ...]] = ()

    @classmethod
    async def prepare(cls, actors: Actors) -> "Renewal":
        customer = await actors.customer_on_clock(START)
        await customer.subscribed("pro")
        if cls.declines:
            await customer.script(*cls.declines)
        return cls(customer)

    async def drive(self) -> None:
        target = instant(START) + timedelta(days=self.days)

        async def walk() -> None:
            clock = await self.customer.clock()
            if clock["status"] == "advancing":
                raise NotYet(str(clock))
            if instant(clock["clock_at"]) < target:
                # Nobody heard of it yet, or the walk was blocked: send it off (again).
                await self.customer.aim_clock(to=target.isoformat())
                raise NotYet(str(clock))

        await insist(walk, f"the clock of a {self.name} arrives")

    async def prove(self) -> None:
        await self.proven(charges=[4900, 4900], grants=2, kind="plan")
        now = await self.customer.subscription()
        assert now["status"] == "active"
        assert instant(now["current_period_end"]) == instant("2027-03-01T10:00:00Z")
        failed = [effect["failure"] for effect in await self.customer.effects("charge.failed")]
        assert len(failed) == len(self.declines)


class Recovery(Renewal):
    """A second month whose first charge is declined, and whose second, on day 3, is not."""

    name = "dunning"
    days = 35
    declines = ("insufficient_funds",)

    async def prove(self) -> None:
        await super().prove()
        cases = await self.customer.rows(
            "SELECT status FROM dunning_cases WHERE account_id = %(me)s"
        )
        assert [case["status"] for case in cases] == ["recovered"]
        tried = await self.customer.rows(
            "SELECT slot, status FROM payment_attempts WHERE account_id = %(me)s"
            " AND started_at > %(start)s ORDER BY started_at",
            start=instant("2027-02-01T09:00:00Z"),
        )
        assert [(one["slot"], one["status"]) for one in tried] == [
            (0, "declined"),
            (1, "succeeded"),
        ]
