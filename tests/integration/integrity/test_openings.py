"""An account with an opening is looked at by what came since; what seems wrong so is looked at with
everything, and that alone is told.
"""

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.core.clock import real_now
from billing.core.database import Database
from billing.core.transaction_settings import read_by_index
from billing.insight.integrity import hourly, openings, rules, service, store
from billing.insight.integrity.openings import Opening
from billing.insight.rounds import store as rounds
from billing.ledger.credits import service as credits
from tests.integration.actors import Actors, Customer
from tests.integration.credits import holding
from tests.integration.integrity.test_integrity import A_USE, BEYOND, MINE
from tests.integration.integrity.test_integrity import DAMAGE as ALL_DAMAGE
from tests.integration.operator_acts import void
from tests.integration.reversals.refunds_made import refunded as send_back

LARGE: Final = 1
AN_ENTRY: Final = f"(SELECT id FROM credit_transactions WHERE {MINE} ORDER BY seq DESC LIMIT 1)"
A_COUNTER: Final = "UPDATE usage_counters SET {} WHERE account_id = :account AND owner = ''"
NOW_BEYOND: Final = BEYOND.format(status="completed", at="now()", MINE=MINE)

# These rows stay as they are written: those from before an opening are proven.
KEPT: Final = ("audit_chain", "invoice_content", "steps_belong")
# What is done to the books since an opening. A stray part is found by a look at everything alone.
DAMAGE: Final[dict[str, str]] = {
    **{
        name: damage
        for name, damage in ALL_DAMAGE.items()
        if name.startswith(("ledger_", "lots_", "holds_", "used_", "debt_"))
        and name not in {"ledger_parts", "ledger_split", "lots_granted"}
    },
    # Granted since.
    "lots_granted": f"""
        UPDATE credit_lots SET clawed = clawed + 1, granted_seq = 1000000
        WHERE {MINE} AND remaining > 0""",
    "ledger_split": f"""
        INSERT INTO credit_transaction_lots (transaction_id, lot_id, account_id, amount)
        SELECT {AN_ENTRY}, :id, account_id, 1 FROM credit_balances WHERE {MINE}""",
    **{name: ALL_DAMAGE[name] for name in KEPT},
    "credits_never_negative": ALL_DAMAGE["credits_never_negative"],
    "budgets_known": ALL_DAMAGE["budgets_known"],
    "quotas_counted": ALL_DAMAGE["quotas_counted"],
    "unpaid_uses_known": ALL_DAMAGE["unpaid_uses_known"],
    "usage_paid": ALL_DAMAGE["usage_paid"],
    "usage_counted": A_USE.format(paid="NULL", MINE=MINE),
    "usage_billed": NOW_BEYOND,
    "usage_counted_beyond": NOW_BEYOND,
    "an amount": f"UPDATE credit_transactions SET amount = amount - 1 WHERE id = {AN_ENTRY}",
    "a balance after": f"""
        UPDATE credit_transactions SET balance_after = balance_after - 1 WHERE id = {AN_ENTRY}""",
    "a missing part": f"DELETE FROM credit_transaction_lots WHERE transaction_id = {AN_ENTRY}",
    "a missing entry": f"DELETE FROM credit_transactions WHERE id = {AN_ENTRY}",
    "a missing lot": f"DELETE FROM credit_lots WHERE {MINE} AND remaining > 0",
    "a number": f"UPDATE credit_transactions SET seq = seq + 1 WHERE id = {AN_ENTRY}",
    "events": A_COUNTER.format("events = events + 1"),
    "maximum": A_COUNTER.format("maximum = maximum + 1"),
    "quantity": A_COUNTER.format("quantity = quantity + 1"),
    "credits": A_COUNTER.format("credits = credits + 1"),
    "a missing counter": f"DELETE FROM usage_counters WHERE {MINE}",
    "a missing record": f"""
        DELETE FROM billing_records WHERE {MINE} AND transaction_id = (
            SELECT transaction_id FROM billing_records
            WHERE {MINE} AND transaction_id IS NOT NULL ORDER BY occurred_at DESC LIMIT 1)""",
    "a missing included record": f"""
        DELETE FROM billing_records WHERE {MINE} AND transaction_id IS NULL""",
    "a stray entry": f"""
        UPDATE billing_records SET transaction_id = uuidv7()
        WHERE {MINE} AND transaction_id = (
            SELECT transaction_id FROM billing_records
            WHERE {MINE} AND transaction_id IS NOT NULL ORDER BY occurred_at DESC LIMIT 1)""",
}


async def found(connection: AsyncConnection, account_id: UUID, opening: Opening | None) -> set[str]:
    """Names of what is wrong, by everything or since the opening, as this connection sees it."""
    queries = store.SINCE if opening else store.WRITTEN
    named = {
        one.name
        for query in queries.values()
        for one in await store.ask(connection, query, real_now(), [account_id], opening)
    }
    contents = await store.changed_invoices(connection, [account_id], opening)
    return named | {one.name for one in contents}


async def opening_of(database: Database, account_id: UUID) -> Opening | None:
    async with database.operator() as connection:
        known = await openings.known(connection, rules.JOB, [account_id])
    return known[0] if known else None


async def looked_at(database: Database, account_id: UUID) -> list[str]:
    """Names of the checks that an hourly look tells of the account."""
    async with database.operator() as connection:
        noted = text(
            "INSERT INTO accounts_to_check (account_id, job, noted_at) VALUES (:id, :job, now())"
            " ON CONFLICT DO NOTHING"
        )
        await connection.execute(noted, {"id": account_id, "job": rules.JOB})
    assert await hourly.look(database, [account_id], LARGE) == 1
    async with database.operator() as connection:
        told = await rounds.broken(connection, rules.JOB)
    return [one["name"] for one in told if one["account_id"] == account_id]


async def use(customer: Customer, **fields: Any) -> dict[str, Any]:
    named = {} if "feature_type" in fields else {"product_id": "gpt-4"}
    body = {"usage_amount": "100"} | named | fields
    return await customer.ask("POST", "/usage/record", body)


async def spend(database: Database, account_id: UUID) -> None:
    """A hold that stays, one that is captured, and one that is released."""
    facts: dict[str, Any] = {"account_id": account_id, "reason": "test"}
    facts["expires_at"] = real_now() + timedelta(days=90)
    async with database.tenant(account_id) as connection:
        kept, spent, freed = [
            await holding.hold(connection, amount=Decimal(2), key=str(ids.new()), **facts)
            for _ in range(3)
        ]
        assert kept.hold_id != spent.hold_id
        await holding.capture(connection, account_id=account_id, hold_id=spent.hold_id)
        await credits.release(connection, account_id=account_id, hold_id=freed.hold_id)


@pytest.fixture(scope="module")
async def busy(actors: Actors, database: Database) -> Customer:
    """In real time, with a plan, a pack, uses and holds."""
    customer = await actors.customer()
    async with database.operator() as connection:
        older = "UPDATE accounts SET created_at = created_at - interval '90 days' WHERE id = :id"
        await connection.execute(text(older), {"id": customer.uuid})
    await customer.subscribed("pro")
    await customer.bought("small")
    await use(customer)
    await use(customer, feature_type="ai_responses", usage_amount="1")
    await spend(database, customer.uuid)
    return customer


async def test_whatever_comes_in_a_life_is_well_by_what_came_since(
    actors: Actors, database: Database, busy: Customer
) -> None:
    """One step after the other, each of which leaves an opening that the next goes on from."""
    me = busy.uuid
    assert await looked_at(database, me) == []
    wrong = await use(busy)
    three_days_ago = (real_now() - timedelta(days=3)).isoformat()

    async def refunded() -> None:
        bought = await busy.bought("small")
        (payment,) = [
            one
            for one in (await busy.ask("GET", "/billing/payments"))["data"]
            if one["invoice_id"] == bought["invoice_id"]
        ]
        await send_back(busy, payment)

    async def expired() -> None:
        ends = real_now() + timedelta(milliseconds=50)
        async with database.tenant(me) as connection:
            await credits.grant(
                connection, account_id=me, amount=Decimal(3), kind="adjustment", is_paid=False,
                key=str(ids.new()), reason="test", expires_at=ends,
            )  # fmt: skip
        await use(busy)

    steps: dict[str, Any] = {
        "nothing": lambda: use(busy, usage_amount="1"),
        "included": lambda: use(busy, feature_type="ai_responses", usage_amount="1"),
        "held": lambda: spend(database, me),
        "bought": lambda: busy.bought("small"),
        "taken back": lambda: void(actors, wrong),
        "late": lambda: use(busy, occurred_at=three_days_ago),
        "expired": expired,
        "refunded": refunded,
        "more": lambda: use(busy),
    }
    for name, step in steps.items():
        before = await opening_of(database, me)
        assert before, name
        await step()
        assert await service.look_since(database, before), f"{name}: is well by what came since"
        assert await looked_at(database, me) == [], name
        after = await opening_of(database, me)
        assert after, name
        assert (after.seq, after.day) > (before.seq, before.day), name
    assert (await service.examine(database, me)).ok


@pytest.mark.parametrize("name", DAMAGE)
async def test_damage_since_is_found_by_what_came_since(
    database: Database, busy: Customer, superuser: AsyncConnection, name: str
) -> None:
    assert await looked_at(database, busy.uuid) == []
    opening = await opening_of(database, busy.uuid)
    assert opening
    await use(busy, feature_type="ai_responses", usage_amount="1")
    await spend(database, busy.uuid)
    await use(busy)
    assert await found(superuser, busy.uuid, opening) == set()
    for part in DAMAGE[name].split(";\n"):
        statement = text(part)
        values = {"account": busy.uuid, "id": ids.new()}
        wanted = {key: values[key] for key in statement.compile().params}
        assert (await superuser.execute(statement, wanted)).rowcount != 0
    assert await found(superuser, busy.uuid, None), "a look at everything finds it"
    since = await found(superuser, busy.uuid, opening)
    assert since
    assert name not in ALL_DAMAGE or name in since


@pytest.mark.parametrize("name", KEPT)
async def test_rows_that_nobody_changes_are_not_read_again_each_hour(
    database: Database, busy: Customer, superuser: AsyncConnection, name: str
) -> None:
    """Ever more of them would be read for one use."""
    assert await looked_at(database, busy.uuid) == []
    opening = await opening_of(database, busy.uuid)
    assert opening
    later = opening.model_copy(update={"day": real_now() + timedelta(hours=1)})
    for part in ALL_DAMAGE[name].split(";\n"):
        await superuser.execute(text(part), {"account": busy.uuid, "id": ids.new()})
    assert name in await found(superuser, busy.uuid, None)
    assert name in await found(superuser, busy.uuid, opening)
    assert await found(superuser, busy.uuid, later) == set()


async def test_of_a_long_audit_the_newest_entries_alone_are_read(
    database: Database, busy: Customer, superuser: AsyncConnection
) -> None:
    """All of its account were fetched for one use, or all of everybody's last day."""
    assert await looked_at(database, busy.uuid) == []
    opening = await opening_of(database, busy.uuid)
    assert opening
    older = text(
        "INSERT INTO billing_audit (id, account_id, actor, action, subject, detail, at, real_at)"
        " OVERRIDING SYSTEM VALUE SELECT -n, :id, 'a', 'b', 'c', '{}', now(),"
        " now() - interval '9 days' FROM generate_series(1, 20000) AS n"
    )
    await superuser.execute(older, {"id": busy.uuid})
    await superuser.execute(text("ANALYZE billing_audit"))
    await read_by_index(superuser)
    query = text(f"EXPLAIN (ANALYZE, FORMAT JSON) {store.SINCE['audit_chain']}")
    values = {"accounts": [busy.uuid], "day": opening.day}
    (plan,) = await superuser.scalar(query, values)
    assert rows_read(plan["Plan"]) < 1_000
    assert "ix_billing_audit_real" not in str(plan)


def rows_read(node: dict[str, Any]) -> float:
    """Of all tables and indexes together."""
    removed = sum(count for name, count in node.items() if name.startswith("Rows Removed"))
    own = (node["Actual Rows"] + removed) * node["Actual Loops"]
    return float(own + sum(map(rows_read, node.get("Plans", ()))))


def test_an_account_has_an_opening_where_it_saves_time() -> None:
    """By itself it costs some forty statements, which five hundred smaller ones share."""
    assert 20_000 <= openings.LARGE <= 100_000


async def test_accounts_with_an_opening_are_looked_at_a_few_at_a_time(
    database: Database, busy: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after the other, many of them took longer than the hour."""
    assert await looked_at(database, busy.uuid) == []
    opening = await opening_of(database, busy.uuid)
    assert opening
    many = [opening.model_copy(update={"account_id": ids.new()}) for _ in range(9)]
    now, most = 0, 0

    async def known(*_: Any) -> list[Opening]:
        return many

    async def look_since(_: Database, opening: Opening) -> None:
        nonlocal now, most
        now, most = now + 1, max(most, now + 1)
        await asyncio.sleep(0.01)
        now -= 1

    monkeypatch.setattr(openings, "known", known)
    monkeypatch.setattr(service, "look_since", look_since)
    assert await hourly.look(database, [], LARGE) == 0
    assert most == hourly.AT_ONCE > 1


async def test_what_is_found_is_told_by_a_look_at_everything_until_it_holds(
    actors: Actors, database: Database, busy: Customer
) -> None:
    assert await looked_at(database, busy.uuid) == []
    counter = (
        "UPDATE usage_counters SET events = events {} 1 WHERE account_id = %(id)s AND owner = ''"
    )
    await use(busy)
    await actors.sql(counter.format("+"), id=busy.uuid)
    try:
        assert "usage_counted" in await looked_at(database, busy.uuid)
        assert await opening_of(database, busy.uuid) is None
        assert "usage_counted" in await looked_at(database, busy.uuid)
    finally:
        await actors.sql(counter.format("-"), id=busy.uuid)
    assert await looked_at(database, busy.uuid) == []
    assert await opening_of(database, busy.uuid)


async def test_rows_from_before_are_read_again_in_the_accounts_turn(
    actors: Actors, database: Database, busy: Customer
) -> None:
    """Not by what came since: a day that is proven is not read."""
    assert await looked_at(database, busy.uuid) == []
    wrong = (
        "INSERT INTO usage_counters SELECT account_id, owner, grain, period_start,"
        " bucket - interval '9 days', meter, facet, 1, 1, 1, 1, last_at, 0, 0, 0"
        " FROM usage_counters WHERE account_id = %(id)s AND owner = '' AND grain = 'day'"
        " ORDER BY bucket DESC LIMIT 1"
    )
    right = (
        "DELETE FROM usage_counters WHERE account_id = %(id)s AND owner = ''"
        " AND bucket < now() - interval '7 days'"
    )
    before = "UPDATE check_rounds SET noted_account = %(before)s WHERE job = 'integrity'"
    await actors.sql(wrong, id=busy.uuid)
    try:
        assert await looked_at(database, busy.uuid) == []
        await hourly.note(database, 1)
        await actors.sql(before, before=UUID(int=busy.uuid.int - 1))
        await hourly.note(database, 1)
        assert await opening_of(database, busy.uuid) is None
        assert "usage_counted" in await looked_at(database, busy.uuid)
    finally:
        await actors.sql(right, id=busy.uuid)
    assert await looked_at(database, busy.uuid) == []


async def test_a_run_that_is_killed_before_it_noted_anything_loses_nothing(
    actors: Actors, database: Database, busy: Customer
) -> None:
    assert await looked_at(database, busy.uuid) == []
    before = await opening_of(database, busy.uuid)
    assert before
    await use(busy)
    assert await service.look_since(database, before)
    assert await opening_of(database, busy.uuid) == before
    lots = "UPDATE credit_lots SET remaining = remaining {} 1 WHERE account_id = %(id)s AND is_open"
    await actors.sql(lots.format("-"), id=busy.uuid)
    try:
        assert "lots_remaining" in await looked_at(database, busy.uuid)
    finally:
        await actors.sql(lots.format("+"), id=busy.uuid)
    assert await looked_at(database, busy.uuid) == []


async def test_a_small_account_and_one_with_a_clock_have_no_opening(
    actors: Actors, database: Database, busy: Customer
) -> None:
    on_clock = await actors.customer_on_clock()
    await looked_at(database, on_clock.uuid)
    assert await opening_of(database, on_clock.uuid) is None
    _, opened = await service.look_and_open(database, [busy.uuid], openings.LARGE)
    assert opened == []


async def test_books_that_take_too_long_in_their_turn_are_told_and_go_on_from_their_opening(
    database: Database, busy: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await looked_at(database, busy.uuid) == []
    async with database.operator() as connection:
        await openings.in_turn(connection, UUID(int=busy.uuid.int - 1), busy.uuid)
    assert await opening_of(database, busy.uuid) is None
    waiting = text("SELECT pg_sleep(1) WHERE CAST(:accounts AS uuid[]) IS NOT NULL")
    monkeypatch.setattr(store, "WRITTEN", {"ledger_balance": waiting})
    monkeypatch.setattr(store, "WHOLE_ACCOUNT_MS", 200)
    assert await hourly.look(database, [busy.uuid], LARGE) == 0
    monkeypatch.undo()
    await use(busy)
    assert await opening_of(database, busy.uuid)
    assert await looked_at(database, busy.uuid) == []
