"""An account reads its own credits [F1, F2] and no other's."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

from sqlalchemy import text

from billing.catalog.plans import store as catalog
from billing.core import ids
from billing.core.periods import MONTH
from tests.integration.api_app import Api
from tests.integration.credits.accounts import CreditAccount

BALANCE = "/api/v1/billing/credits/balance"
TRANSACTIONS = "/api/v1/billing/credits/transactions"
LOTS = "/api/v1/billing/credits/lots"
# In New York it is still 31 March, 21:00; in UTC the month is new.
EVENING = datetime(2027, 4, 1, 1, tzinfo=UTC)


async def open_account(api: Api, **fields: Any) -> tuple[CreditAccount, dict[str, str]]:
    """A fresh account and the headers of one of its members."""
    made = await api.new_account(**fields)
    account_id = ids.decode(ids.ACCOUNT, made["id"])
    return CreditAccount(api.database, account_id), api.token(made["external_id"], ["member"])


async def read(api: Api, path: str, headers: dict[str, str], **query: Any) -> Any:
    answer = await api.client.get(path, headers=headers, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_new_account_and_one_never_heard_of_read_zeros(api: Api) -> None:
    _, known = await open_account(api)
    unknown = api.token(f"shop-{uuid4()}", ["member"])
    for headers in (known, unknown):
        balance = await read(api, BALANCE, headers)
        balance.pop("as_of")
        assert balance == {
            "credits": "0", "plan_monthly_credits": "0", "credits_used_this_month": "0",
            "held": "0", "available": "0", "paid": "0", "debt": "0", "overdraft": "0",
            "expiring_soon": None, "currency": None,
        }  # fmt: skip


async def test_the_balance_says_what_is_there_held_paid_and_ending(api: Api) -> None:
    account, headers = await open_account(api, is_test=True, clock_at=EVENING.isoformat())
    await account.grant("500", kind="trial", is_paid=False, expires_at=EVENING + timedelta(days=3))
    await account.grant("100")
    await account.debit("20.5")
    await account.hold("30", expires_at=EVENING + timedelta(hours=1))
    balance = await read(api, BALANCE, headers)
    assert balance == {
        "credits": "579.50",
        "plan_monthly_credits": "0",
        "credits_used_this_month": "20.50",
        "held": "30.00",
        "available": "549.50",
        "paid": "100.00",
        "debt": "0",
        "overdraft": "0",
        "expiring_soon": {"credits": "449.50", "first_at": "2027-04-04T01:00:00Z"},
        "currency": None,
        "as_of": "2027-04-01T01:00:00Z",
    }


async def test_what_expired_is_gone_from_the_balance_before_anybody_wrote_it(api: Api) -> None:
    account, headers = await open_account(api, is_test=True, clock_at=EVENING.isoformat())
    await account.grant("500", kind="trial", is_paid=False, expires_at=EVENING + timedelta(days=3))
    await account.grant("100")
    await account.hold("100", expires_at=EVENING + timedelta(hours=1))
    async with account.database.operator() as connection:
        await connection.execute(
            text("UPDATE accounts SET clock_at = :at WHERE id = :id"),
            {"at": EVENING + timedelta(days=3), "id": account.id},
        )
    balance = await read(api, BALANCE, headers)
    assert (balance["credits"], balance["held"], balance["expiring_soon"]) == ("100.00", "0", None)
    assert [lot["kind"] for lot in (await read(api, LOTS, headers))["data"]] == ["purchase"]
    lots = await read(api, LOTS, headers, open_only=False)
    assert [(lot["kind"], lot["remaining"], lot["is_open"]) for lot in lots["data"]] == [
        ("purchase", "100.00", True),
        ("trial", "0", False),
    ]


async def test_the_month_begins_in_the_account_s_own_zone(api: Api) -> None:
    used = {}
    for zone in ("UTC", "America/New_York"):
        account, headers = await open_account(
            api, is_test=True, clock_at=EVENING.isoformat(), zone=zone
        )
        await account.grant("100", at=EVENING - timedelta(days=40))
        await account.debit("1", at=EVENING - timedelta(days=35))
        await account.debit("2", at=EVENING - timedelta(hours=2))
        await account.debit("4", at=EVENING)
        used[zone] = (await read(api, BALANCE, headers))["credits_used_this_month"]
    assert used == {"UTC": "4.00", "America/New_York": "6.00"}


async def test_a_month_whose_midnight_comes_twice_begins_with_the_first(api: Api) -> None:
    first = datetime(2026, 11, 1, 4, tzinfo=UTC)
    account, headers = await open_account(
        api, is_test=True, clock_at=(first + timedelta(hours=5)).isoformat(), zone="America/Havana"
    )
    await account.grant("100", at=first - timedelta(days=5))
    for amount, minutes in (("1", -1), ("2", 30), ("4", 90)):
        await account.debit(amount, at=first + timedelta(minutes=minutes))
    assert (await read(api, BALANCE, headers))["credits_used_this_month"] == "6.00"


async def test_the_plan_s_monthly_credits_stand_beside_the_balance(api: Api) -> None:
    account, headers = await open_account(api)
    async with account.transaction() as connection:
        plan = await catalog.find_plan(connection, "pro")
        price = await catalog.plan_price(connection, "pro", "USD", MONTH)
        assert plan is not None
        assert price is not None
        await connection.execute(
            text(
                "INSERT INTO subscriptions (id, account_id, plan_id, plan_key, price_id, currency,"
                " amount_minor, interval_unit, interval_count, status, anchor_wall, zone,"
                " current_period_start, current_period_end, cycle_start, cycle_end, created_at,"
                " updated_at) VALUES (:id, :account, :plan, 'pro', :price, 'USD', 4900, 'month', 1,"
                " 'active', '2027-01-01', 'UTC', :start, :end, :start, :end, :start, :start)"
            ),
            {
                "id": ids.new(), "account": account.id, "plan": plan.id, "price": price.id,
                "start": EVENING, "end": EVENING + timedelta(days=30),
            },
        )  # fmt: skip
    assert (await read(api, BALANCE, headers))["plan_monthly_credits"] == "500.00"
    for status, granted in (("paused", "0"), ("unpaid", "0"), ("past_due", "500.00")):
        async with account.transaction() as connection:
            await connection.execute(
                text("UPDATE subscriptions SET status = :status WHERE account_id = :account"),
                {"status": status, "account": account.id},
            )
        assert (await read(api, BALANCE, headers))["plan_monthly_credits"] == granted, status


async def test_the_ledger_is_listed_newest_first_and_paged(api: Api) -> None:
    account, headers = await open_account(api)
    await account.grant("100", reason="purchase", subject="pur_1")
    for number in range(6):
        await account.debit("1", reason=f"use {number}")
    first = await read(api, TRANSACTIONS, headers, limit=4)
    assert [entry["reason"] for entry in first["data"]] == ["use 5", "use 4", "use 3", "use 2"]
    assert first["pagination"]["total"] == 7
    cursor = first["pagination"]["next_cursor"]
    rest = await read(api, TRANSACTIONS, headers, limit=4, cursor=cursor)
    assert [entry["number"] for entry in rest["data"]] == [3, 2, 1]
    grant = rest["data"][-1]
    assert (grant["kind"], grant["amount"], grant["balance_after"], grant["subject"]) == (
        "grant", "100.00", "100.00", "pur_1",
    )  # fmt: skip
    debits = await read(api, TRANSACTIONS, headers, kind="debit")
    assert {entry["amount"] for entry in debits["data"]} == {"-1.00"}
    for path in ("/api/v1/billing/transactions/", "/api/billing/credits/transactions"):
        assert (await read(api, path, headers))["pagination"]["total"] == 7


async def test_one_entry_shows_its_split_over_lots(api: Api) -> None:
    account, headers = await open_account(api)
    lots = [await account.grant("3"), await account.grant("5")]
    debit = await account.debit("4.5")
    public = ids.encode(ids.TRANSACTION, debit.transaction_id)
    entry = await read(api, f"{TRANSACTIONS}/{public}", headers)
    assert entry["lots"] == [
        {"lot_id": ids.encode(ids.LOT, lots[0].lot_id), "amount": "-3.00"},
        {"lot_id": ids.encode(ids.LOT, lots[1].lot_id), "amount": "-1.50"},
    ]


async def test_a_foreign_entry_is_answered_as_a_missing_one(api: Api) -> None:
    theirs, _ = await open_account(api)
    _, headers = await open_account(api)
    grant = await theirs.grant("3")
    bodies = []
    for transaction_id in (grant.transaction_id, ids.new()):
        public = ids.encode(ids.TRANSACTION, transaction_id)
        answer = await api.client.get(f"{TRANSACTIONS}/{public}", headers=headers)
        assert answer.status_code == 404
        body = answer.json()
        body.pop("correlation_id")
        bodies.append(body)
    assert bodies[0] == bodies[1]
    assert (await read(api, TRANSACTIONS, headers))["data"] == []
    assert (await read(api, LOTS, headers))["data"] == []


async def test_spent_lots_are_listed_on_request(api: Api) -> None:
    account, headers = await open_account(api)
    await account.grant("3")
    await account.grant("5", scope="images", priority=7)
    await account.debit("3")
    assert [lot["scope"] for lot in (await read(api, LOTS, headers))["data"]] == ["images"]
    every = await read(api, LOTS, headers, open_only=False)
    assert [(lot["amount"], lot["remaining"]) for lot in every["data"]] == [
        ("5.00", "5.00"),
        ("3.00", "0"),
    ]
    assert every["data"][0]["priority"] == 7


async def test_the_currency_is_shown_once_it_is_fixed(api: Api) -> None:
    account, headers = await open_account(api)
    async with account.transaction() as connection:
        await connection.execute(
            text("UPDATE credit_balances SET currency = 'EUR' WHERE account_id = :id"),
            {"id": account.id},
        )
    await account.allow_debt("2.5")
    await account.debit("2.5", force=True)
    balance = await read(api, BALANCE, headers)
    assert (balance["currency"], Decimal(balance["debt"])) == ("EUR", Decimal("2.5"))
