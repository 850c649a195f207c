"""Two flows that pay one invoice at once, in every order: one settles it, no money is lost.

The gate takes a part of the pairs, and their orders in turn; `WHOLE=1` all of them.
The other's money never moves, or comes to the customer's balance, or goes back.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import permutations, product
from typing import Final
from uuid import uuid4

from tests.integration.actors import Actors, Customer, Json, wait_for
from tests.integration.dunning.dunning_setup import case, overdue, owed
from tests.integration.money_seen import money
from tests.integration.payments.test_paypal import order_of

PRICE: Final = 4900
ORDERS: Final = ("one then two", "two then one", "both at once")
AT_ONCE: Final = 6
Walk = tuple[tuple[str, str], str]
BACK: Final = "https://shop.example/back"


@dataclass
class Debtor:
    """Somebody with one open invoice, and the flows begun on it."""

    customer: Customer
    invoice: str
    before: int = 0
    """Money that had come at Stripe before."""
    begun: dict[str, Json] = field(default_factory=dict)

    async def pay(self, **body: str) -> Json:
        """Ask for a way to pay; a refusal is an answer too."""
        path = f"/billing/invoices/{self.invoice}/pay"
        answer = await self.customer.call("POST", path, body, key=str(uuid4()))
        assert answer.status_code in (200, 202, 402, 409), answer.text
        return dict(answer.json())

    async def begin(self, flow: str) -> None:
        """Set out on a flow; a saved card is a flow of one step."""
        match flow:
            case "link":
                self.begun[flow] = await self.pay(payment_method="card")
            case "paypal":
                self.begun[flow] = await self.pay(payment_method="paypal", return_url=BACK)
            case "backup":
                self.begun[flow] = await self.customer.save_card("pm_card_mastercard")
            case "manual":
                body = {"invoice_id": self.invoice, "payment_method": "bank_transfer"}
                answer = await self.customer.call(
                    "POST",
                    "/billing/payments/manual",
                    body | {"transaction_reference": f"T-{uuid4()}"},
                )
                assert answer.status_code in (201, 202, 400, 409), answer.text
                self.begun[flow] = answer.json()
            case "saved" | "slot":
                pass  # these only finish
            case _:
                raise ValueError(flow)

    async def finish(self, flow: str) -> None:
        """Bring the money, as far as that is still possible."""
        begun, customer = self.begun.get(flow, {}), self.customer
        action = begun.get("next_action", {}).get("type")
        if flow == "saved":
            await self.pay(payment_method="saved_card")
        elif flow == "backup":
            await customer.ask("POST", f"/billing/payment-methods/{begun['id']}/backup")
        elif flow == "slot":
            await customer.advance(days=3)
        elif flow == "link" and action == "confirm_card":
            await customer.confirm(begun)
        elif flow == "paypal" and action == "redirect":
            await customer.actors.sandbox.paypal_approve(order_of(begun))
        elif flow == "manual" and "payment_id" in begun:
            headers = customer.actors.headers("*", "admin")
            path = f"/api/v1/admin/payments/{begun['payment_id']}/approve"
            answer = await customer.actors.client.post(path, json={}, headers=headers)
            assert answer.status_code in (200, 202, 409), answer.text

    async def settled(self) -> None:
        """Paid once; whatever else came is on the balance, or went back."""
        customer = self.customer
        await wait_for(
            lambda: customer.ask("GET", f"/billing/invoices/{self.invoice}"),
            f"{self.invoice} of {customer.id} is paid",
            lambda seen: seen["status"] == "paid",
        )
        open_ends = (
            "SELECT id, status FROM payments WHERE account_id = %(me)s"
            " AND (status IN ('pending', 'pending_approval', 'processing')"
            "      OR status IN ('succeeded', 'completed') AND settled_at IS NULL)"
            " UNION ALL SELECT id, status FROM refunds WHERE account_id = %(me)s"
            " AND status NOT IN ('succeeded', 'failed')"
        )
        await wait_for(lambda: customer.rows(open_ends), "nothing is open", lambda rows: not rows)
        paid = await customer.ask("GET", f"/billing/invoices/{self.invoice}")
        assert (paid["amount_paid"], paid["amount_remaining"]) == (PRICE, 0)
        came = await self.came()
        assert came - await money(customer) == PRICE, "each cent is on the invoice or kept"

    async def came(self) -> int:
        """Money that came since, less what went back: by the providers, and by operators."""
        effects = await self.customer.effects(None)
        kinds = {"charge.succeeded": 1, "refund.succeeded": -1}
        stripe = sum(kinds.get(one["name"], 0) * int(one["amount"]) for one in effects)
        orders = [
            order
            for matter in {row["workflow_id"] for row in await self.payments()}
            for order in await self.customer.actors.sandbox.paypal(matter)
        ]
        paypal = sum(
            round(100 * float(capture["amount"]["value"]))
            for order in orders
            for capture in order["purchase_units"][0].get("payments", {}).get("captures", [])
        )
        rows = await self.payments()
        by_hand = sum(int(one["received_minor"]) for one in rows if one["status"] == "completed")
        return stripe + paypal + by_hand - self.before

    async def payments(self) -> list[Json]:
        return await self.customer.rows(
            "SELECT workflow_id, status, received_minor FROM payments WHERE account_id = %(me)s"
        )


async def first_invoice(actors: Actors) -> Debtor:
    """A subscription whose first charge was declined."""
    customer = await actors.customer()
    await customer.save_card()
    await customer.script("insufficient_funds")
    begun = await customer.subscribe("pro")
    assert begun["status"] == "incomplete"
    return Debtor(customer, begun["latest_invoice_id"])


async def renewal(actors: Actors) -> Debtor:
    """A renewal whose card was lost."""
    customer = await overdue(actors, "lost_card", "succeed")
    return Debtor(customer, (await owed(customer))["invoice_id"], before=PRICE)


async def soft_renewal(actors: Actors) -> Debtor:
    """A renewal whose card is tried again on day 3."""
    customer = await overdue(actors, "insufficient_funds", "succeed")
    return Debtor(customer, (await owed(customer))["invoice_id"], before=PRICE)


async def walk(payer: Debtor, one: str, two: str, order: str) -> str | None:
    """Both flows are begun, then both are finished; the words of what went wrong."""
    try:
        await payer.begin(one)
        await payer.begin(two)
        if order == "both at once":
            await asyncio.gather(payer.finish(one), payer.finish(two))
        else:
            for flow in (one, two) if order == "one then two" else (two, one):
                await payer.finish(flow)
        await payer.settled()
    except AssertionError as wrong:
        return f"{payer.customer.id}: {one} and {two}, {order}: {wrong}"
    return None


async def walk_all(
    debtor: Callable[[Actors], Awaitable[Debtor]], actors: Actors, *walks: Walk
) -> None:
    """All of them, a few at a time."""
    seats = asyncio.Semaphore(AT_ONCE)

    async def seated(flows: tuple[str, str], order: str) -> str | None:
        async with seats:
            return await walk(await debtor(actors), *flows, order)

    ends = await asyncio.gather(*[seated(*one) for one in walks])
    assert [end for end in ends if end is not None] == []


async def test_one_flow_settles_a_first_invoice_and_no_money_is_lost(actors: Actors) -> None:
    pairs = permutations(("link", "saved", "manual", "paypal"), 2)
    every = list(product(pairs, ORDERS))
    await walk_all(first_invoice, actors, *every[:: 1 if os.environ.get("WHOLE") else 5])


async def test_one_flow_settles_a_renewal_beside_its_backup_card(actors: Actors) -> None:
    others = ("link", "saved", "manual", "paypal")[:: 1 if os.environ.get("WHOLE") else 3]
    await walk_all(renewal, actors, *[((one, "backup"), "both at once") for one in others])


async def test_a_slot_or_a_payment_at_paypal_ends_the_case_and_the_other_comes_to_nothing(
    actors: Actors,
) -> None:
    late, early = await asyncio.gather(soft_renewal(actors), soft_renewal(actors))
    ends = await asyncio.gather(
        walk(late, "paypal", "slot", "two then one"), walk(early, "paypal", "slot", "one then two")
    )
    assert not any(ends), ends
    tried = [len(await one.customer.effects()) for one in (late, early)]
    assert tried == [2, 1], "the card paid before PayPal, and was not tried after it"
    for one in (late, early):
        assert (await case(one.customer))["status"] == "recovered"
        assert (await one.customer.subscription())["status"] == "active"
