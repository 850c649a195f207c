"""Scenes that dunning stories start from, and what the sandbox says was tried."""

import json
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

from tests.integration.actors import Actors, Customer, Json, wait_for

START: Final = "2027-01-01T10:00:00Z"
RENEWAL: Final = "2027-02-01T10:00:00Z"


async def overdue(
    actors: Actors, *outcomes: str, policy: dict[str, Any] | None = None, **fields: Any
) -> Customer:
    """A subscription whose first renewal has just failed, on 1 February at 10:00 UTC.

    The card's next outcomes are `outcomes` (the last one stays), from the renewal on.
    """
    customer = await actors.customer_on_clock(START, **fields)
    await customer.subscribed("pro")
    if policy is not None:
        await under(customer, policy)
    await customer.script(*(outcomes or ("insufficient_funds",)), then="last")
    await customer.advance(to=RENEWAL)
    return customer


async def under(
    customer: Customer, policy: dict[str, Any], *, past_due_access: str | None = None
) -> None:
    """Give the subscription terms of its own: a plan version that nobody else can buy."""
    await customer.rows(
        """
        WITH terms AS (
            INSERT INTO plans SELECT (jsonb_populate_record(p, jsonb_build_object(
                'id', gen_random_uuid(), 'is_current', false, 'is_active', false,
                'version', 1000 + floor(random() * 1000000000)::int,
                'dunning', p.dunning || %(policy)s::jsonb,
                'past_due_access', coalesce(%(access)s::text, p.past_due_access)))).*
            FROM plans p JOIN subscriptions s ON s.plan_id = p.id WHERE s.account_id = %(me)s
            RETURNING id
        )
        UPDATE subscriptions SET plan_id = terms.id FROM terms WHERE account_id = %(me)s
        """,
        policy=json.dumps(policy),
        access=past_due_access,
    )


async def tried(customer: Customer) -> int:
    """Charges and declines of this account's cards in the sandbox's journal."""
    effects = await customer.effects(None)
    return sum(effect["name"] in ("charge.succeeded", "charge.failed") for effect in effects)


async def attempts(customer: Customer) -> list[tuple[str, str]]:
    """Mark and result of every try on record for renewals, oldest first."""
    rows = await customer.rows(
        "SELECT a.key, a.status FROM payment_attempts a JOIN invoices i ON i.id = a.invoice_id"
        " WHERE a.account_id = %(me)s AND i.period_start > %(start)s"
        " ORDER BY a.real_started_at, a.id",
        start=datetime.fromisoformat(START),
    )
    return [(row["key"].partition("/")[2], row["status"]) for row in rows]


async def until_tried(customer: Customer, number: int) -> list[tuple[str, str]]:
    """The same, as soon as so many tries have come to something."""

    def decided(tries: list[tuple[str, str]]) -> bool:
        return len(tries) == number and all(result != "pending" for _, result in tries)

    return await wait_for(lambda: attempts(customer), f"{number} tries are decided", decided)


async def case(customer: Customer) -> Json:
    """The account's newest dunning case, as operators see it."""
    listed = await customer.actors.operate("GET", f"/admin/dunning?account_id={customer.id}")
    assert listed["data"], "there is no dunning case"
    return await read_case(customer, listed["data"][0]["dunning_case_id"])


async def read_case(customer: Customer, name: str) -> Json:
    """One case with its tries."""
    return await customer.actors.operate("GET", f"/admin/dunning/{name}")


async def steer(
    customer: Customer, verb: str, body: Json | None = None, *, status: int | None = 200
) -> Json:
    """Give an order about the account's newest case."""
    name = (await case(customer))["dunning_case_id"]
    return await customer.actors.operate(
        "POST", f"/admin/dunning/{name}/{verb}", body or {}, status=status, key=str(uuid4())
    )


async def owed(customer: Customer) -> Json:
    """The oldest open invoice, as its payer sees it."""
    listed = await customer.ask("GET", "/billing/invoices?status=pending", status=200)
    assert listed["invoices"], "nothing is open"
    name = listed["invoices"][-1]["invoice_id"]
    return await customer.ask("GET", f"/billing/invoices/{name}", status=200)
