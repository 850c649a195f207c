"""Customers whose money goes back, by an operator's word or by their bank's, while parts die.

It goes back once, with one note, and the credits go with it once; what is refused leaves all as it
was.
"""

from decimal import Decimal
from typing import ClassVar
from uuid import uuid4

from sandbox.control import Json
from tests.integration.actors import API, Actors
from tests.integration.faults.flows import START, Flow, NotYet, insist
from tests.integration.reversals.refunds_made import WHY, paid_for, shown
from tests.integration.waiting import body_of

DISPUTE = "charge.dispute"


class RefundedPurchase(Flow):
    """A pack of which an operator gives back a third."""

    name = "refund"
    ends: ClassVar[str] = "succeeded"

    @classmethod
    async def prepare(cls, actors: Actors) -> "RefundedPurchase":
        customer = await actors.customer()
        await customer.bought("small")
        # Else what is still heard of the payment stops at the places of what comes after it.
        await customer.until_handled("payment_intent.succeeded")
        return cls(customer)

    async def drive(self) -> None:
        async def decided() -> None:
            seen = await self.refund(self.key)
            if seen["status"] != self.ends:
                raise NotYet(str(seen))

        await insist(decided, f"{self.name} {self.key} is {self.ends}")

    async def refund(self, key: str, amount_cents: int = 333) -> Json:
        """The operator's request."""
        payment = await paid_for(self.customer)
        answer = await self.customer.actors.client.post(
            f"{API}/admin/payments/{payment['payment_id']}/refund",
            json=WHY | {"amount_cents": amount_cents},
            headers=self.customer.actors.headers("*", "admin", key),
        )
        return body_of(answer, None)

    async def prove(self) -> None:
        await self.gone([333], [333])
        assert await self.customer.credits() == Decimal("66.666667")
        told = await self.customer.published()
        assert told.count("evt.billing.refund.created") == 1
        assert told.count("evt.billing.refund.succeeded") == 1

    async def gone(self, refunds: list[int], notes: list[int]) -> None:
        """So much went back at the provider, and so much by the books."""
        await self.proven(charges=[999], grants=1, kind="purchase")
        customer = self.customer
        made = [one["amount"] for one in await customer.effects("refund.succeeded")]
        assert made == refunds
        seen, invoice = await shown(customer, await paid_for(customer))
        assert [one["amount"] for one in invoice["credit_notes"]] == notes
        assert seen["amount_refunded"] == invoice["amount_refunded"] == sum(notes)


class RefusedRefund(RefundedPurchase):
    """The same, refused by the provider: all stays as it was, and another may be asked for."""

    name = "refused refund"
    ends = "failed"

    @classmethod
    async def prepare(cls, actors: Actors) -> "RefusedRefund":
        flow = cls((await RefundedPurchase.prepare(actors)).customer)
        charged = await flow.customer.stripe_customer()
        await actors.sandbox.script(charged, "refused", purpose="refund")
        return flow

    async def prove(self) -> None:
        await self.gone([], [])
        assert await self.customer.credits() == 100
        told = await self.customer.published()
        assert told.count("evt.billing.refund.failed") == 1
        assert (await self.refund(str(uuid4()), 999))["status"] == "succeeded"
        await self.gone([999], [999])
        assert await self.customer.credits() == 0


class DoubtfulRefund(RefundedPurchase):
    """The same; if the provider refuses it for good, an operator asks for another."""

    name = "doubtful refund"

    async def drive(self) -> None:
        async def decided() -> None:
            seen = await self.refund(self.key)
            if seen["status"] == "failed" and self.may_be_refused:
                self.key, self.may_be_refused = str(uuid4()), False
            if seen["status"] != self.ends:
                raise NotYet(str(seen))

        await insist(decided, f"{self.name} {self.key} is {self.ends}")

    async def prove(self) -> None:
        await self.gone([333], [333])
        assert await self.customer.credits() == Decimal("66.666667")
        told = await self.customer.published()
        assert told.count("evt.billing.refund.succeeded") == 1
        failed = told.count("evt.billing.refund.failed")
        assert told.count("evt.billing.refund.created") == 1 + failed <= 2


class DisputedPurchase(RefundedPurchase):
    """A pack whose money the payer's bank asks back."""

    name = "dispute"
    ends = "open"
    told: ClassVar[str] = "opened"

    async def drive(self) -> None:
        payment = await insist(lambda: paid_for(self.customer), "what was paid is told")
        intent = payment["stripe_payment_intent_id"]
        assert (await self.customer.actors.sandbox.dispute(intent)).status == 200
        await self.until(self.ends)

    async def until(self, status: str) -> None:
        """The customer's one dispute has come to this."""
        path = f"/admin/disputes?account_id={self.customer.id}"

        async def there() -> None:
            seen = (await self.customer.actors.operate("GET", path))["data"]
            if [one["status"] for one in seen] != [status]:
                raise NotYet(str(seen))

        await insist(there, f"{self.name} of {self.customer.id} is {status}")

    async def prove(self) -> None:
        await self.booked([], 0)

    async def booked(self, notes: list[int], credits: int) -> None:
        """No refund of ours, these notes, and each word of it published once."""
        await self.gone([], notes)
        assert await self.customer.credits() == credits
        published = await self.customer.published()
        told = [one.rpartition(".")[2] for one in published if ".dispute." in one]
        assert told == list(dict.fromkeys(["opened", self.told]))


class LostDispute(DisputedPurchase):
    """The same, decided against us."""

    name = "dispute lost"
    ends = told = "lost"

    @classmethod
    async def prepare(cls, actors: Actors) -> "LostDispute":
        flow = cls((await RefundedPurchase.prepare(actors)).customer)
        payment = await paid_for(flow.customer)
        opened = await actors.sandbox.dispute(payment["stripe_payment_intent_id"])
        flow.key = opened.body["id"]
        await flow.until("open")
        for word in ("created", "funds_withdrawn"):
            await flow.customer.until_handled(f"{DISPUTE}.{word}")
        return flow

    async def drive(self) -> None:
        finished = await self.customer.actors.sandbox.finish_dispute(self.key, self.ends)
        assert finished.status == 200
        await self.until(self.ends)

    async def prove(self) -> None:
        await self.booked([999], 0)
        told = await self.customer.published()
        assert told.count("evt.billing.payment.refunded") == 1
        assert told.count("evt.billing.purchase.refunded") == 1


class WonDispute(LostDispute):
    """The same, decided for us: the credits come back."""

    name = "dispute won"
    ends = told = "won"

    async def prove(self) -> None:
        await self.booked([], 100)


class LateRest(Flow):
    """A renewal that a slow bank lets through after an end with a refund: of it half was served."""

    name = "rest of a late renewal"

    @classmethod
    async def prepare(cls, actors: Actors) -> "LateRest":
        customer = await actors.customer_on_clock(START)
        await customer.subscribed("basic")
        await customer.script("processing")
        await customer.advance(to="2027-02-15T10:00:00Z")
        body = {"at": "now", "refund": "refund"}
        await customer.ask("POST", "/billing/subscription/cancel", body)
        return cls(customer)

    async def drive(self) -> None:
        (payment,) = await self.customer.rows(
            "SELECT stripe_payment_intent_id AS id FROM payments"
            " WHERE account_id = %(me)s AND status = 'processing'"
        )
        assert (await self.customer.actors.sandbox.settle(payment["id"])).status == 200

        async def given_back() -> None:
            seen = (await self.customer.ask("GET", "/billing/payments"))["data"]
            if sorted(one["amount_refunded"] for one in seen) != [0, 950]:
                raise NotYet(str(seen))

        await insist(given_back, f"{self.name} is given back")

    async def prove(self) -> None:
        customer = self.customer
        assert [one["amount"] for one in await customer.effects()] == [1900, 1900]
        assert [one["amount"] for one in await customer.effects("refund.succeeded")] == [950]
        assert [one["status"] for one in await customer.invoices()] == ["paid", "paid"]
        entries = await customer.rows(
            "SELECT kind, amount_minor FROM balance_entries WHERE account_id = %(me)s ORDER BY id"
        )
        assert [tuple(one.values()) for one in entries] == [("overpaid", 950), ("refunded", -950)]
        told = await customer.published()
        assert told.count("evt.billing.subscription.rest_refunded") == 1
        assert told.count("evt.billing.refund.created") == 1
