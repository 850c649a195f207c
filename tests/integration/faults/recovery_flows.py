"""More customers: hosted pages, expiries, cards kept and removed, and tries that may be refused.

Each calls Stripe in a way of its own, so that every call can be made to fail somewhere.
"""

from datetime import timedelta
from typing import ClassVar
from uuid import uuid4

from sandbox.control import Json
from tests.integration.actors import Actors, Customer, instant
from tests.integration.faults.flows import (
    START,
    CardPurchase,
    Flow,
    NotYet,
    Renewal,
    SavedCardPurchase,
    WithCard,
    insist,
)


async def walked(customer: Customer, target: str) -> None:
    """The account's clock is at `target`, whatever stood in its way."""

    async def walk() -> None:
        clock = await customer.clock()
        if clock["status"] == "advancing":
            raise NotYet(str(clock))
        if instant(clock["clock_at"]) < instant(target):
            await customer.aim_clock(to=target)
            raise NotYet(str(clock))

    await insist(walk, f"the clock of {customer.id} arrives")


class KnownBuyer(WithCard, CardPurchase):
    """A pack paid in the browser, by an account that Stripe knows already."""

    name = "purchase of a known buyer"


class PutOff(CardPurchase):
    """A use that was put off, and the pack that pays it."""

    name = "use put off"

    @classmethod
    async def prepare(cls, actors: Actors) -> "PutOff":
        customer = await actors.customer()
        body = {"product_id": "gpt-4", "usage_amount": "1000", "on_insufficient": "defer"}
        await customer.ask("POST", "/usage/record", body, status=201)
        return cls(customer)

    async def drive(self) -> None:
        await super().drive()

        async def paid() -> None:
            (use,) = (await self.customer.ask("GET", "/billing/records"))["data"]
            if use["billing_status"] != "completed":
                raise NotYet(str(use))

        await insist(paid, f"{self.name} is paid")

    async def prove(self) -> None:
        await self.proven(charges=[999], grants=1, kind="purchase")
        assert await self.customer.credits() == 98
        assert (await self.customer.published()).count("evt.billing.usage.settled") == 1


class PagePurchase(CardPurchase):
    """A pack, paid on the hosted page."""

    name = "purchase on a page"
    flow = "checkout"

    async def drive(self) -> None:
        begun = await insist(self._page, f"{self.name} {self.key} has a page")
        session = begun["checkout_url"].rpartition("/")[2]
        assert (await self.customer.actors.sandbox.pay_session(session)).status == 200
        await insist(lambda: self._completed(begun["purchase_id"]), f"{self.name} is completed")

    async def _page(self) -> Json:
        body = {"return_url": "https://shop.example/back"}
        begun = await self.customer.buy("small", self.flow, key=self.key, **body)
        if begun["checkout_url"] is None:
            raise NotYet(str(begun))
        return begun


class PayPalPurchase(PagePurchase):
    """A pack, approved at PayPal and captured by us."""

    name = "purchase by PayPal"
    flow = "paypal"

    async def drive(self) -> None:
        begun = await insist(self._page, f"{self.name} {self.key} has a page")
        (order,) = await self._orders(begun["purchase_id"])
        await self.customer.actors.sandbox.paypal_approve(order["id"])
        await insist(lambda: self._completed(begun["purchase_id"]), f"{self.name} is completed")

    async def prove(self) -> None:
        listed = await self.customer.ask("GET", "/billing/purchases")
        assert [one["status"] for one in listed["data"]] == ["completed"]
        (order,) = await self._orders(listed["data"][0]["purchase_id"])
        assert (order["status"], order["tries"]) == ("COMPLETED", 1), "captured once"
        assert len(await self.customer.grants()) == 1
        assert await self.customer.credits() == 100
        assert [one["status"] for one in await self.customer.invoices()] == ["paid"]
        assert await self.customer.effects() == []

    async def _orders(self, purchase_id: str) -> list[Json]:
        return await self.customer.actors.sandbox.paypal(f"purchase/{purchase_id}")


class DoubtfulPurchase(SavedCardPurchase):
    """A pack by a stored card; a try that is proven not charged may be made anew."""

    name = "doubtful purchase"

    async def prove(self) -> None:
        await self.proven(charges=[999], grants=1, kind="purchase")
        listed = await self.customer.ask("GET", "/billing/purchases")
        statuses = sorted(one["status"] for one in listed["data"])
        assert statuses in (["completed"], ["completed", "failed"])
        await self.one_key_per_intent()

    async def one_key_per_intent(self) -> None:
        """However often it was asked: one try, one key."""
        for payment in await self.customer.rows(
            "SELECT stripe_payment_intent_id AS id FROM payments WHERE account_id = %(me)s"
        ):
            tried = await self.customer.actors.sandbox.requests(name=CONFIRM, object=payment["id"])
            assert len({one["key"] for one in tried if one["actor"] == "api"}) == 1


class Expiry(Flow):
    """A purchase nobody pays, canceled at Stripe after a day."""

    name = "expiry"
    flow: ClassVar[str] = "card"

    @classmethod
    async def prepare(cls, actors: Actors) -> "Expiry":
        customer = await actors.customer_on_clock(START)
        page = {} if cls.flow == "card" else {"return_url": "https://shop.example/back"}
        await customer.buy("small", cls.flow, **page)
        return cls(customer)

    async def drive(self) -> None:
        await walked(self.customer, (instant(START) + timedelta(days=1)).isoformat())

    async def prove(self) -> None:
        await self.proven(charges=[], grants=0, kind="purchase")
        listed = await self.customer.ask("GET", "/billing/purchases")
        assert [one["status"] for one in listed["data"]] == ["expired"]
        (payment,) = await self.customer.rows(
            "SELECT status FROM payments WHERE account_id = %(me)s"
        )
        assert payment["status"] == "canceled"


class PageExpiry(Expiry):
    """The same with a hosted page."""

    name = "expiry of a page"
    flow = "checkout"


class DoubtfulRenewal(Renewal):
    """A second month whose charge may be found to have never reached the card."""

    name = "doubtful renewal"

    async def prove(self) -> None:
        # A try that proved not to have reached the card is made again after an hour.
        await walked(self.customer, "2027-02-01T12:00:00Z")
        await super().prove()


class FirstMonth(Flow):
    """A subscription's first payment, whose card is kept for the next ones."""

    name = "first month"

    @classmethod
    async def prepare(cls, actors: Actors) -> "FirstMonth":
        return cls(await actors.customer_on_clock(START))

    async def drive(self) -> None:
        begun = await insist(self._begin, f"{self.name} {self.key} can be paid")
        await self.customer.pay(begun)

        async def active() -> None:
            seen = await self.customer.subscription()
            if seen["status"] != "active":
                raise NotYet(str(seen))

        await insist(active, f"{self.name} is active")

    async def _begin(self) -> Json:
        body = {"plan": "pro", "trial": False}
        begun = await self.customer.ask("POST", "/billing/subscription", body, key=self.key)
        if begun["next_action"]["type"] == "wait":
            raise NotYet(str(begun))
        return begun

    async def prove(self) -> None:
        await self.proven(charges=[4900], grants=1, kind="plan")
        methods = await self.customer.ask("GET", "/billing/payment-methods")
        assert len(methods["data"]) == 1, "the card is kept"


class LateMoney(Flow):
    """A first payment that a slow bank lets through after its subscription was canceled."""

    name = "late money"

    @classmethod
    async def prepare(cls, actors: Actors) -> "LateMoney":
        customer = await actors.customer()
        await customer.save_card()
        await customer.script("processing")
        await customer.subscribe("basic")
        await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"})
        return cls(customer)

    async def drive(self) -> None:
        (payment,) = await self.customer.rows(
            "SELECT stripe_payment_intent_id AS id FROM payments WHERE account_id = %(me)s"
        )
        assert (await self.customer.actors.sandbox.settle(payment["id"])).status == 200

        async def given_back() -> None:
            (seen,) = (await self.customer.ask("GET", "/billing/payments"))["data"]
            if seen["status"] != "refunded":
                raise NotYet(str(seen))

        await insist(given_back, f"{self.name} is given back")

    async def prove(self) -> None:
        customer = self.customer
        assert [one["amount"] for one in await customer.effects()] == [1900]
        assert [one["amount"] for one in await customer.effects("refund.succeeded")] == [1900]
        assert [one["status"] for one in await customer.invoices()] == ["void"]
        kept = await customer.rows("SELECT id FROM balance_entries WHERE account_id = %(me)s")
        assert kept == []
        assert (await customer.published()).count("evt.billing.payment.refunded") == 1


class KeptCard(Flow):
    """A card saved without a charge."""

    name = "kept card"

    @classmethod
    async def prepare(cls, actors: Actors) -> "KeptCard":
        return cls(await actors.customer())

    async def drive(self) -> None:
        begun = await insist(self._begin, f"{self.name} {self.key} can be saved")
        reference = begun["provider_reference"]
        assert (await self.customer.actors.sandbox.confirm_as_client(reference)).status == 200

        async def kept() -> None:
            seen = await self.customer.ask("GET", "/billing/payment-methods")
            if len(seen["data"]) != 1:
                raise NotYet(str(seen))

        await insist(kept, f"{self.name} is there")

    async def _begin(self) -> Json:
        path = "/billing/payment-methods/setup-intent"
        begun = await self.customer.ask("POST", path, {}, key=self.key)
        if not begun.get("provider_reference"):
            raise NotYet(str(begun))
        return begun

    async def prove(self) -> None:
        await self.proven(charges=[], grants=0, kind="purchase")


class RenewedCard(WithCard, KeptCard):
    """A stored card of which Stripe says that the bank has renewed it."""

    name = "renewed card"
    cards: ClassVar[int] = 1

    async def drive(self) -> None:
        reference = await self.reference()
        subject = {"id": reference, "object": "payment_method", "metadata": {}}
        event = await self.customer.actors.sandbox.emit("payment_method.updated", subject)

        async def handled() -> None:
            rows = await self.customer.rows(
                "SELECT status FROM stripe_webhook_events WHERE stripe_event_id = %(id)s",
                id=event["id"],
            )
            if [row["status"] for row in rows] != ["handled"]:
                raise NotYet(str(rows))

        await insist(handled, f"{self.name} is looked into")

    async def prove(self) -> None:
        await super().prove()
        cards = await self.customer.ask("GET", "/billing/payment-methods")
        left = 0 if self.may_be_refused else self.cards
        assert len(cards["data"]) == left, "a refusal to answer says nothing of a card"

    async def reference(self) -> str:
        """Stripe's name of the one card."""
        (row,) = await self.customer.rows(
            "SELECT stripe_payment_method_id AS id FROM payment_methods WHERE account_id = %(me)s"
        )
        return str(row["id"])


class RemovedCard(RenewedCard):
    """A stored card that Stripe must forget."""

    name = "removed card"
    cards = 0

    async def drive(self) -> None:
        (card,) = (await self.customer.ask("GET", "/billing/payment-methods"))["data"]
        path, body = f"/billing/payment-methods/{card['id']}", {"confirm": "DELETE"}
        await insist(
            lambda: self.customer.ask("DELETE", path, body, key=str(uuid4())),
            f"{self.name} is removed here",
        )

        async def forgotten() -> None:
            rows = await self.customer.rows("SELECT key FROM steps WHERE account_id = %(me)s")
            if not any("detach" in row["key"] for row in rows):
                raise NotYet(str(rows))

        await insist(forgotten, f"{self.name} is forgotten at Stripe")


class UnheardPurchase(CardPurchase):
    """A pack whose webhooks are lost, found among Stripe's events."""

    name = "purchase without webhooks"

    async def drive(self) -> None:
        sandbox = self.customer.actors.sandbox
        drop = await sandbox.webhooks("drop", metadata={"account": self.customer.id})
        try:
            await super().drive()
        finally:
            await sandbox.clear("webhooks", drop)


CONFIRM = "POST /v1/payment_intents/{intent}/confirm"
