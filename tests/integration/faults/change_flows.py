"""Customers whose subscription changes once that is paid: more of an add-on, a new start.

The charge comes first. Whatever dies on the way, it is made once, and what it pays for comes once.
"""

from typing import ClassVar

from sandbox.control import Json
from tests.integration.actors import Actors, Customer
from tests.integration.faults.flows import START, Flow, NotYet, insist
from tests.integration.faults.recovery_flows import CONFIRM, walked

SUBSCRIPTION = "/billing/subscription"


class MoreOfAnAddOn(Flow):
    """An add-on of an active subscription, paid by its card."""

    name = "add-on"
    charges: ClassVar[tuple[int, ...]] = (1900, 700)
    verb: ClassVar[tuple[str, str, Json]] = (
        "PUT", SUBSCRIPTION, {"add_ons": [{"add_on": "ai-500", "quantity": 1}]}
    )  # fmt: skip

    @classmethod
    async def prepare(cls, actors: Actors) -> "MoreOfAnAddOn":
        customer = await actors.customer()
        await customer.subscribed("basic")
        # Else what is still heard of the first payment stops at the places of the second.
        await customer.until_handled("payment_intent.succeeded")
        return cls(customer)

    async def drive(self) -> None:
        method, path, body = self.verb
        await insist(
            lambda: self.customer.ask(method, path, body, key=self.key), f"{self.name} is ordered"
        )

        async def applied() -> None:
            seen = await self.customer.subscription()
            if seen["pending_change"] is not None:
                raise NotYet(str(seen))

        await insist(applied, f"{self.name} is decided")

    async def prove(self) -> None:
        await self.proven(charges=list(self.charges), grants=1, kind="plan")
        await self.changed_once("add_ons")
        now = await self.customer.subscription()
        assert now["status"] == "active"
        assert [(one["add_on"], one["quantity"]) for one in now["add_ons"]] == [("ai-500", 1)]
        rights = await self.customer.ask("GET", "/billing/entitlements/ai_responses")
        assert rights["limit"]["included"] == "1000.00"
        told = await self.customer.published()
        assert told.count("evt.billing.subscription.add_ons_chosen") == 1

    async def changed_once(self, kind: str) -> None:
        """One change, paid by one invoice with one payment, whose card was asked under one key."""
        customer = self.customer
        changes = await customer.rows(
            "SELECT kind, status, invoice_id FROM subscription_changes WHERE account_id = %(me)s"
        )
        assert [(one["kind"], one["status"]) for one in changes] == [(kind, "applied")]
        payments = await customer.rows(
            "SELECT status, stripe_payment_intent_id AS intent FROM payments"
            " WHERE account_id = %(me)s AND invoice_id = %(invoice)s",
            invoice=changes[0]["invoice_id"],
        )
        assert [one["status"] for one in payments] == ["succeeded"]
        asked = await customer.actors.sandbox.requests(name=CONFIRM, object=payments[0]["intent"])
        assert len({one["key"] for one in asked}) == 1
        told = await customer.published()
        assert told.count("evt.billing.subscription.change_begun") == 1
        assert told.count("evt.billing.subscription.change_dropped") == 0


class NewStart(MoreOfAnAddOn):
    """A subscription that paused when its trial ended, begun anew with a first paid period."""

    name = "resumption"
    charges = (1900,)
    verb = ("POST", f"{SUBSCRIPTION}/resume", {})

    @classmethod
    async def prepare(cls, actors: Actors) -> "NewStart":
        customer = await paused(actors)
        assert len(await customer.grants("plan")) == 1, "the trial's own"
        await customer.save_card()
        return cls(customer)

    async def prove(self) -> None:
        await self.proven(charges=list(self.charges), grants=2, kind="plan")
        await self.changed_once("resume")
        now = await self.customer.subscription()
        assert (now["status"], now["pause_reason"]) == ("active", None)
        assert now["current_period_end"] == "2027-02-20T10:00:00Z"
        assert await self.customer.credits() == 100


class NeverPaid(MoreOfAnAddOn):
    """An add-on whose payer never confirms: it is given up after 23 hours, and cannot be paid."""

    name = "add-on that nobody pays"
    charges = (1900,)
    offered: Json

    @classmethod
    async def prepare(cls, actors: Actors) -> "NeverPaid":
        customer = await actors.customer_on_clock(START)
        await customer.subscribed("basic")
        await customer.until_handled("payment_intent.succeeded")
        await customer.script("authentication_required", then="normal")
        method, path, body = cls.verb
        flow = cls(customer)
        flow.offered = await customer.ask(method, path, body, key=flow.key)
        return flow

    async def drive(self) -> None:
        await walked(self.customer, "2027-01-02T10:00:00Z")

    async def prove(self) -> None:
        customer = self.customer
        assert (await customer.confirm(self.offered)).status == 400, "called back at the provider"
        await self.proven(charges=list(self.charges), grants=1, kind="plan")
        changes = await customer.rows(
            "SELECT c.status, i.status AS invoice, p.status AS payment FROM subscription_changes c"
            " JOIN invoices i ON i.id = c.invoice_id JOIN payments p ON p.invoice_id = i.id"
            " WHERE c.account_id = %(me)s"
        )
        assert [tuple(one.values()) for one in changes] == [("expired", "void", "canceled")]
        now = await customer.subscription()
        assert (now["status"], now["add_ons"], now["pending_change"]) == ("active", [], None)
        told = await customer.published()
        assert told.count("evt.billing.subscription.change_dropped") == 1


async def paused(actors: Actors) -> Customer:
    """A customer whose trial ended on 15 January without a card, on the 20th."""
    customer = await actors.customer_on_clock(START)
    await customer.subscribe("basic", trial=True)
    await customer.rows(
        "UPDATE subscriptions SET trial_end_behavior = 'pause' WHERE account_id = %(me)s"
    )
    await customer.advance(to="2027-01-20T10:00:00Z")
    return customer
