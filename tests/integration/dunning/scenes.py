"""Scenes that dunning stories start from, and what the sandbox says was tried."""

import json
from datetime import datetime
from typing import Any, Final

from tests.integration.actors import Actors, Json, Merchant, wait_for

START: Final = "2027-01-01T10:00:00Z"
RENEWAL: Final = "2027-02-01T10:00:00Z"


async def overdue(
    actors: Actors, *outcomes: str, policy: dict[str, Any] | None = None, **fields: Any
) -> Merchant:
    """A subscription whose first renewal has just failed, on 1 February at 10:00 UTC.

    The card's next outcomes are `outcomes` (the last one stays), from the renewal on.
    """
    merchant = await actors.merchant_on_clock(START, **fields)
    await merchant.subscribed("pro")
    if policy is not None:
        await under(merchant, policy)
    await merchant.script(*(outcomes or ("insufficient_funds",)), then="last")
    await merchant.advance(to=RENEWAL)
    return merchant


async def under(merchant: Merchant, policy: dict[str, Any]) -> None:
    """Give the subscription terms of its own: a plan version that nobody else can buy."""
    await merchant.rows(
        """
        WITH terms AS (
            INSERT INTO plans SELECT (jsonb_populate_record(p, jsonb_build_object(
                'id', gen_random_uuid(), 'key', 'own-' || gen_random_uuid(), 'is_active', false,
                'dunning', p.dunning || %(policy)s::jsonb))).*
            FROM plans p JOIN subscriptions s ON s.plan_id = p.id WHERE s.account_id = %(me)s
            RETURNING id
        )
        UPDATE subscriptions SET plan_id = terms.id FROM terms WHERE account_id = %(me)s
        """,
        policy=json.dumps(policy),
    )


async def tried(merchant: Merchant) -> int:
    """How often a card of this account was really charged or declined, by the sandbox's journal."""
    effects = await merchant.effects(None)
    return sum(effect["name"] in ("charge.succeeded", "charge.failed") for effect in effects)


async def attempts(merchant: Merchant) -> list[tuple[str, str]]:
    """Mark and result of every try on record for renewals, oldest first."""
    rows = await merchant.rows(
        "SELECT a.key, a.status FROM payment_attempts a JOIN invoices i ON i.id = a.invoice_id"
        " WHERE a.account_id = %(me)s AND i.period_start > %(start)s"
        " ORDER BY a.real_started_at, a.id",
        start=datetime.fromisoformat(START),
    )
    return [(row["key"].partition("/")[2], row["status"]) for row in rows]


async def until_tried(merchant: Merchant, number: int) -> list[tuple[str, str]]:
    """The same, as soon as so many tries have come to something."""

    def decided(tries: list[tuple[str, str]]) -> bool:
        return len(tries) == number and all(result != "pending" for _, result in tries)

    return await wait_for(lambda: attempts(merchant), f"{number} tries are decided", decided)


async def case(merchant: Merchant) -> Json:
    """The account's newest dunning case, as operators see it."""
    listed = await merchant.actors.operate("GET", f"/admin/dunning?account_id={merchant.id}")
    assert listed["data"], "there is no dunning case"
    return await read_case(merchant, listed["data"][0]["dunning_case_id"])


async def read_case(merchant: Merchant, name: str) -> Json:
    """One case with its tries."""
    return await merchant.actors.operate("GET", f"/admin/dunning/{name}")


async def steer(
    merchant: Merchant, verb: str, body: Json | None = None, *, status: int | None = 200
) -> Json:
    """Give an order about the account's newest case."""
    name = (await case(merchant))["dunning_case_id"]
    return await merchant.actors.operate(
        "POST", f"/admin/dunning/{name}/{verb}", body or {}, status=status
    )


async def owed(merchant: Merchant) -> Json:
    """The oldest open invoice, as its payer sees it."""
    listed = await merchant.ask("GET", "/billing/invoices?status=pending", status=200)
    assert listed["invoices"], "nothing is open"
    name = listed["invoices"][-1]["invoice_id"]
    return await merchant.ask("GET", f"/billing/invoices/{name}", status=200)
