"""Changes of a subscription's plan in January 2027, and what they bill and announce."""

from typing import Any

from tests.integration.actors import Actors, Customer, Json
from tests.integration.arrears.overage_uses import START

PATH = "/billing/subscription"
# Of the 31 days from 1 January to 1 February 21 are left.
LATER = "2027-01-11T10:00:00Z"
RENEWAL = "2027-02-01T10:00:00Z"


async def change(customer: Customer, **wanted: Any) -> Any:
    return await customer.ask("PUT", PATH, wanted, status=200)


async def lines(customer: Customer) -> list[list[tuple[str, int]]]:
    """Kind and cents of every line, by invoice, oldest first."""
    rows = await customer.rows(
        "SELECT i.id, l.kind, l.amount_minor FROM invoices i JOIN invoice_lines l"
        " ON l.invoice_id = i.id WHERE i.account_id = %(me)s ORDER BY i.id, l.position"
    )
    found: dict[Any, list[tuple[str, int]]] = {}
    for row in rows:
        found.setdefault(row["id"], []).append((row["kind"], row["amount_minor"]))
    return list(found.values())


async def told(customer: Customer, what: str) -> list[Json]:
    """The data of each event of this type, such as `subscription.renewed`, in order."""
    rows = await customer.rows(
        "SELECT data FROM events WHERE account_id = %(me)s AND type = %(type)s ORDER BY seq",
        type=f"evt.billing.{what}",
    )
    return [row["data"] for row in rows]


async def begun(actors: Actors, plan: str = "basic", **more: Any) -> Customer:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed(plan, **more)
    return customer


async def begun_by_card(actors: Actors, plan: str, **more: Any) -> Customer:
    """The same, by a card that was saved before: the plan may cost nothing at first."""
    customer = await actors.customer_on_clock(START)
    await customer.save_card()
    await customer.subscribe(plan, **more)
    await customer.until_subscription("active")
    return customer
