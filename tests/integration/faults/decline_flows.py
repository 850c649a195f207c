"""Customers whose card says no, or takes too long to answer, while parts of the stack die.

What was declined stays declined, with its code and class, and is never tried twice.
"""

from typing import Final
from uuid import uuid4

from sandbox.control import Json
from tests.integration.actors import Actors, Unexpected
from tests.integration.dunning.dunning_setup import RENEWAL, START, under
from tests.integration.faults.flows import (
    CardPurchase,
    Flow,
    NotYet,
    SavedCardPurchase,
    insist,
)
from tests.integration.faults.recovery_flows import walked

CONFIRM: Final = "/v1/payment_intents/*/confirm"
HANGS_SECONDS: Final = 6.0


class HangingPurchase(SavedCardPurchase):
    """A pack by a stored card whose confirm hangs at Stripe for longer than we wait."""

    name = "purchase by a card that hangs"

    @classmethod
    async def prepare(cls, actors: Actors) -> "HangingPurchase":
        customer = await actors.customer()
        await customer.save_card()
        await actors.sandbox.fault(
            "hang",
            method="POST",
            path=CONFIRM,
            metadata={"account": customer.id},
            seconds=HANGS_SECONDS,
        )
        return cls(customer)

    async def prove(self) -> None:
        await super().prove()
        (tried,) = await self.customer.rows(
            "SELECT status FROM payment_attempts WHERE account_id = %(me)s"
        )
        assert tried["status"] == "succeeded"


class DeclinedPurchase(Flow):
    """A pack by a stolen card: one try, and the same answer however often it is asked for."""

    name = "declined purchase"

    @classmethod
    async def prepare(cls, actors: Actors) -> "DeclinedPurchase":
        customer = await actors.customer()
        await customer.save_card()
        await customer.script("stolen_card")
        return cls(customer)

    async def drive(self) -> None:
        await insist(self._refused, f"{self.name} {self.key} is refused")

    async def prove(self) -> None:
        await self.proven(charges=[], grants=0, kind="purchase")
        assert len(await self.customer.effects("charge.failed")) == 1
        said = await self._refused()
        assert (said["decline_code"], said["decline_class"]) == ("stolen_card", "hard")
        (tried,) = await self.customer.rows(
            "SELECT status, decline_code, decline_class FROM payment_attempts"
            " WHERE account_id = %(me)s"
        )
        assert tuple(tried.values()) == ("declined", "stolen_card", "hard")
        listed = await self.customer.ask("GET", "/billing/purchases")
        assert [one["status"] for one in listed["data"]] == ["failed"]
        assert len(await self.customer.effects("charge.failed")) == 1

    async def _refused(self) -> Json:
        try:
            begun = await self.customer.buy("small", "saved_card", key=self.key)
        except Unexpected as refused:
            said: Json = refused.answer.json()
            if said.get("code") != "CARD_DECLINED":
                raise
            return said
        raise NotYet(str(begun))


class CanceledPurchase(CardPurchase):
    """A pack whose buyer wants it no more: canceled at Stripe, and ended once."""

    name = "canceled purchase"

    async def drive(self) -> None:
        begun = await insist(self._begin, f"{self.name} {self.key} waits for its payer")
        path = f"/billing/purchases/{begun['purchase_id']}/cancel"
        await insist(lambda: self._canceled(path), f"{self.name} is canceled")

    async def prove(self) -> None:
        await self.proven(charges=[], grants=0, kind="purchase")
        listed = await self.customer.ask("GET", "/billing/purchases")
        assert [one["status"] for one in listed["data"]] == ["canceled"]
        (intent,) = await self.customer.rows(
            "SELECT status FROM payments WHERE account_id = %(me)s"
        )
        assert intent["status"] == "canceled"
        assert (await self.customer.published()).count("evt.billing.purchase.canceled") == 1

    async def _canceled(self, path: str) -> Json:
        seen = await self.customer.ask("POST", path, key=f"{self.key}-stop")
        if seen.get("status") != "canceled":
            raise NotYet(str(seen))
        return seen


class GivenUp(Flow):
    """A renewal that is declined at each slot, until its invoice is written off."""

    name = "final action"

    @classmethod
    async def prepare(cls, actors: Actors) -> "GivenUp":
        customer = await actors.customer_on_clock(START)
        await customer.subscribed("pro")
        await under(customer, {"final_action": "uncollectible"})
        await customer.script("insufficient_funds", then="last")
        await customer.advance(to="2027-02-08T12:00:00Z")
        return cls(customer)

    async def drive(self) -> None:
        await walked(self.customer, "2027-02-10T10:00:00Z")

    async def prove(self) -> None:
        assert len(await self.customer.effects("charge.failed")) == 3
        assert len(await self.customer.effects()) == 1
        assert [one["status"] for one in await self.customer.invoices()] == [
            "paid",
            "uncollectible",
        ]
        payments = await self.customer.rows(
            "SELECT status FROM payments WHERE account_id = %(me)s ORDER BY created_at, id"
        )
        assert [one["status"] for one in payments] == ["succeeded", "canceled"]
        told = await self.customer.published()
        assert told.count("evt.billing.invoice.uncollectible") == 1


class EndedInDebt(Flow):
    """A subscription that ends while its invoice is owed: a collection pursues that, once."""

    name = "end in debt"

    @classmethod
    async def prepare(cls, actors: Actors) -> "EndedInDebt":
        customer = await actors.customer_on_clock(START)
        await customer.subscribed("pro")
        await under(customer, {"days": [0, 40]})
        await customer.script("insufficient_funds")
        await customer.advance(to=RENEWAL)
        await customer.ask("POST", "/billing/subscription/cancel", {}, key=str(uuid4()))
        return cls(customer)

    async def drive(self) -> None:
        await walked(self.customer, "2027-03-01T10:00:00Z")
        await walked(self.customer, "2027-03-14T10:00:00Z")

    async def prove(self) -> None:
        assert [one["amount"] for one in await self.customer.effects()] == [4900, 4900]
        assert len(await self.customer.effects("charge.failed")) == 1
        assert [one["status"] for one in await self.customer.invoices()] == ["paid", "paid"]
        assert (await self.customer.subscription())["status"] == "canceled"
        cases = await self.customer.rows(
            "SELECT status FROM dunning_cases WHERE account_id = %(me)s"
        )
        assert [case["status"] for case in cases] == ["recovered"]
