"""Holds that end in thousands at once keep nobody waiting, their account included."""

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any
from unittest.mock import Mock

from sqlalchemy import text
from temporalio.testing import ActivityEnvironment

from activities.accounts import AccountActivities
from activities.dependencies import Dependencies
from billing.core.clock import real_now
from billing.core.settings import Settings
from billing.matters import commands
from billing.matters.kinds import ACCOUNT
from billing.money.account_agenda import rules
from tests.integration.credits.books import read_books
from tests.integration.credits.many_holds import EACH, hold_many
from tests.integration.usage.conftest import NewShop, Shop
from workflows.contracts import MatterRef, StepRequest

HOLDS = "/billing/credits/holds"
PART = 10_000


async def events(shop: Shop) -> list[tuple[str, str]]:
    """The account's events of ends, in their order."""
    return await shop.rows(
        "SELECT substr(type, 21), data ->> 'credits' FROM events WHERE account_id = :id"
        " AND type LIKE 'evt.billing.credits.%expired' ORDER BY seq"
    )


async def in_order(shop: Shop) -> bool:
    """True if the books agree, and the ledger and the events are numbered in their order."""
    async with shop.api.database.tenant(shop.id) as connection:
        assert (await read_books(connection, shop.id)).agree()
    rows = await shop.rows(
        """
        SELECT bool_and(agrees) FROM (
            SELECT occurred_at >= lag(occurred_at, 1, occurred_at) OVER (ORDER BY seq) AS agrees
            FROM events WHERE account_id = :id
            UNION ALL
            SELECT balance_after = sum(amount) OVER (ORDER BY seq)
                AND at >= lag(at, 1, at) OVER (ORDER BY seq)
            FROM credit_transactions WHERE account_id = :id) AS numbered
        """
    )
    return bool(rows == [(True,)])


async def test_thousands_of_holds_that_end_at_once_are_gone_for_the_next_spend(
    new_shop: NewShop,
) -> None:
    shop = await new_shop("1")
    await hold_many(shop.api.database, shop.id, 6_000, real_now() - timedelta(seconds=1))
    held = await shop.post(HOLDS, {"amount": "1"})
    assert held.status_code == 201, held.text
    assert await events(shop) == [("hold_expired", f"{EACH:f}")] * 6_000
    assert await in_order(shop)


async def test_what_a_clawback_waits_for_and_what_outlives_its_lot_ends_in_order(
    new_shop: NewShop,
) -> None:
    shop = await new_shop()
    now = real_now()
    for amount in ("0.1", "5"):
        await shop.grant(amount)
    await hold_many(shop.api.database, shop.id, 1_500, now - timedelta(hours=3))
    await hold_many(shop.api.database, shop.id, 1_500, now - timedelta(hours=1))
    async with shop.api.database.tenant(shop.id) as connection:
        await connection.execute(
            text(
                "UPDATE credit_lots SET expires_at = :ends, claimed = 0.001 WHERE account_id = :me"
                " AND amount < 1"
            ),
            {"me": shop.id, "ends": now - timedelta(hours=2)},
        )
    assert (await shop.post(HOLDS, {"amount": "5"})).status_code == 201
    told = await events(shop)
    assert told[:1_500] == [("hold_expired", f"{EACH:f}")] * 1_500
    # Of what came back before the lot ended, a thousand steps were taken back.
    assert told[1_500] == ("expired", "0.0975"), "the lot itself"
    assert told[1_501:] == [("expired", f"{EACH:f}"), ("hold_expired", f"{EACH:f}")] * 1_500
    entries = await shop.rows(
        "SELECT kind, reason, count(*), sum(amount) FROM credit_transactions"
        " WHERE account_id = :id AND kind <> 'grant' GROUP BY 1, 2 ORDER BY 1, 2"
    )
    assert entries == [
        ("clawback", "released", 1_000, Decimal("-0.001")),
        ("expire", "expired", 1, Decimal("-0.0975")),
        ("expire", "released", 1_500, Decimal("-0.0015")),
    ]
    assert await in_order(shop)


async def test_more_than_one_statement_can_end_are_ended_in_parts_by_the_account_s_step(
    new_shop: NewShop,
) -> None:
    full, *others = [await new_shop("1") for _ in range(3)]
    ends = real_now() - timedelta(seconds=1)
    await hold_many(full.api.database, full.id, 2 * PART + 1, ends)
    shops = (full, *others)
    answers = await asyncio.gather(*(shop.post(HOLDS, {"amount": "1"}) for shop in shops))
    assert [one.status_code for one in answers] == [503, 201, 201]
    assert answers[0].json()["code"] == "UNAVAILABLE"
    assert (await full.get("/billing/credits/balance"))["available"] == "1.00", "as of now"
    rows = [{"account_id": shop.account["id"], "product_id": "gpt-4", "usage_amount": "1"}
            for shop in (full, await new_shop("10"))]  # fmt: skip
    service = full.api.token("*", ["service"])
    batch = await full.api.client.post(
        "/api/v1/usage/batch", json={"events": rows}, headers=service
    )
    told = [(one["status"], one.get("code")) for one in batch.json()["results"]]
    assert told == [("rejected", "UNAVAILABLE"), ("recorded", None)]
    provider: Any = Mock()
    worker = AccountActivities(Dependencies(full.api.database, provider, Settings()))
    ref = MatterRef(
        workflow_id=ACCOUNT.workflow_id(full.id), account_id=full.id, kind="account",
        subject_id=full.id,
    )  # fmt: skip
    async with full.api.database.tenant(full.id) as connection:
        state = await worker.state(connection, ref, lock=False)
    step = next(one for one in rules.agenda(state) if one.name == "expire_credits")
    request = StepRequest(ref=ref, step=step)
    await ActivityEnvironment().run(worker.expire_credits, request)
    async with full.api.database.tenant(full.id) as connection:
        result = await commands.result_of(connection, step.key)
    assert result == f"0 credits, 1 holds, after {2 * PART} other holds"
    assert (await full.post(HOLDS, {"amount": "1"})).status_code == 201
    assert await in_order(full)


async def test_an_account_is_told_that_it_is_empty_after_the_ends_that_emptied_it(
    new_shop: NewShop,
) -> None:
    shop = await new_shop("0.1")
    now = real_now()
    await hold_many(shop.api.database, shop.id, 2, now - timedelta(hours=2))
    async with shop.api.database.tenant(shop.id) as connection:
        ends = "UPDATE credit_lots SET expires_at = :ends WHERE account_id = :me"
        await connection.execute(text(ends), {"me": shop.id, "ends": now - timedelta(hours=1)})
    await shop.grant("1")
    told = await shop.rows(
        "SELECT substr(type, 21) FROM events WHERE account_id = :id"
        " AND type SIMILAR TO '%(expired|empty)' ORDER BY seq"
    )
    assert told == [("hold_expired",), ("hold_expired",), ("expired",), ("empty",)]
    assert await in_order(shop)
