"""Operators export postings; a month that is over stays as it was [Q9].

That the sums are those of the tables is asked after every story (postings_oracle.py).
"""

import csv
import io
import re
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Final

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from billing.core import ids
from billing.core.database import open_database
from billing.insight.accounting import store
from billing.money.payments.rules import Outcome
from billing.money.refunds.rules import Taken
from billing.money.restores import service as restores
from billing.money.restores.schemas import FoundIntent
from tests.integration.actors import API, Actors, Customer, Json, instant
from tests.integration.api_app import stack_settings
from tests.integration.operator_acts import check_books
from tests.integration.payments.test_money_balance import adjust
from tests.integration.postings_oracle import postings
from tests.integration.reversals.refunds_made import paid_for, refunded
from tests.integration.taxes.sellers import sold_from

NOON: Final = datetime(2027, 1, 9, 12, tzinfo=UTC)


async def export(actors: Actors, **query: str) -> tuple[str, str]:
    """The file that an operator gets, and its name."""
    answer = await actors.client.get(
        f"{API}/admin/exports/accounting", params=query, headers=actors.headers("*", "admin")
    )
    assert answer.status_code == 200, answer.text
    return answer.text, answer.headers["Content-Disposition"].partition("filename=")[2].strip('"')


async def month_of(customer: Customer, month: str) -> list[Json]:
    """The postings of one account in a month."""
    text, name = await export(customer.actors, month=month, account_id=customer.id)
    assert name.startswith(f"accounting-{month}-01-{month}-")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def sums(rows: list[Json]) -> dict[str, int]:
    """The sum of each account of the chart."""
    found = Counter[str]()
    for row in rows:
        found[row["ledger_account"]] += int(row["amount_minor"])
    return dict(found)


async def test_a_refund_in_february_changes_nothing_of_january(actors: Actors) -> None:
    customer = await actors.customer_on_clock("2027-01-30T10:00:00Z")
    await customer.bought("small")
    january = await month_of(customer, "2027-01")
    assert sums(january) == {"receivable": 0, "revenue": -999, "cash": 999}
    assert {row["date"] for row in january} == {"2027-01-30"}
    (invoice,) = await customer.invoices()
    assert {row["document_number"] for row in january if row["document"] == "invoice"} == {
        invoice["number"]
    }
    await customer.advance(days=5)
    await refunded(customer, await paid_for(customer), 333)
    await adjust(customer, 500)
    assert await month_of(customer, "2027-01") == january
    february = await month_of(customer, "2027-02")
    assert sums(february) == {
        "cash": -333, "revenue": 333, "receivable": 0, "customer_balance": -500, "adjustments": 500,
    }  # fmt: skip
    assert {row["document"] for row in february} == {"refund", "credit_note", "balance_entry"}
    both, _ = await export(
        actors, start_date="2027-01-30", end_date="2027-02-04", account_id=customer.id
    )
    rows = list(csv.DictReader(io.StringIO(both, newline="")))
    assert len(rows) == len(january) + len(february)
    assert {row["posting_id"] for row in rows} == {row["posting_id"] for row in january + february}


async def test_money_that_a_restore_had_lost_is_cash_until_it_goes_back(actors: Actors) -> None:
    customer = await actors.customer_on_clock("2027-01-30T10:00:00Z")
    intent_id = f"pi_{ids.new_hex()}"
    paid = FoundIntent(
        intent_id=intent_id,
        outcome=Outcome(kind="succeeded", intent_id=intent_id, received_minor=4900),
        amount_minor=4900,
        currency="USD",
        description="Invoice",
        metadata={
            "account": customer.id,
            "payment": ids.encode(ids.PAYMENT, ids.new()),
            "invoice": ids.encode(ids.INVOICE, ids.new()),
        },
        created_at=NOON,
    )
    async with (
        open_database(stack_settings(actors.stack)) as database,
        database.operator() as connection,
    ):
        placed = await restores.place(connection, paid, Taken(), NOON)
    assert (placed.verdict, placed.kept_minor) == ("kept", 4900)
    january = await month_of(customer, "2027-01")
    assert sums(january) == {"cash": 4900, "customer_balance": -4900}

    await customer.advance(days=5)
    await adjust(customer, -900, reason=f"{intent_id} was refunded at Stripe")
    await adjust(customer, 300, reason="sorry about pi_another")
    assert sums(await month_of(customer, "2027-02")) == {
        "cash": -900, "customer_balance": 600, "adjustments": 300,
    }  # fmt: skip
    await check_books(customer)


async def test_each_posting_of_an_invoice_and_its_money_names_the_seller(actors: Actors) -> None:
    customer = await actors.customer_on_clock("2027-01-30T10:00:00Z")
    await customer.bought("small")
    [unsold] = {row["issuer"] for row in await month_of(customer, "2027-01")}
    seller = await sold_from(customer, "DE")
    assert unsold != seller
    await customer.advance(to="2027-02-05T10:00:00Z")
    await customer.bought("small")
    await refunded(customer, await paid_for(customer), 333)
    await adjust(customer, 500)
    of_month = await month_of(customer, "2027-02")
    named = {(row["document"], row["issuer"]) for row in of_month}
    assert named == {
        *((one, seller) for one in ("invoice", "payment", "refund", "credit_note")),
        ("balance_entry", ""),
    }


async def test_csv_and_json_say_the_same(actors: Actors) -> None:
    customer = await actors.customer_on_clock("2027-03-01T10:00:00Z")
    await customer.bought("small")
    asked = {"month": "2027-03", "account_id": customer.id, "format": "json"}
    response = await actors.operate(
        "GET", "/admin/exports/accounting?" + "&".join(f"{k}={v}" for k, v in asked.items())
    )
    assert (response["start"], response["end"]) == ("2027-03-01", "2027-03-31")
    rows = await month_of(customer, "2027-03")
    assert rows == [{name: str(value) for name, value in one.items()} for one in response["data"]]
    assert {(row["amount"], row["side"]) for row in rows} == {
        ("9.99", "debit"), ("-9.99", "credit"),
    }  # fmt: skip


async def test_test_accounts_are_left_out_unless_named(actors: Actors) -> None:
    real, test = await actors.customer(), await actors.customer_on_clock()
    for customer in (real, test):
        await customer.bought("small")
    bought = instant((await paid_for(real))["created_at"])
    days = {
        "start_date": f"{bought:%Y-%m-%d}",
        "end_date": f"{bought + timedelta(days=1):%Y-%m-%d}",
    }
    now, _ = await export(actors, **days)
    assert real.id in now
    then, _ = await export(actors, month="2027-01")
    assert test.id not in now + then
    assert await month_of(test, "2027-01")


async def test_pages_leave_nothing_out(actors: Actors, monkeypatch: pytest.MonkeyPatch) -> None:
    customer = await actors.customer()
    for _ in range(3):
        await customer.bought("small")
    async with (
        open_database(stack_settings(actors.stack)) as database,
        database.operator() as connection,
    ):
        whole = await postings(connection, customer.uuid)
        monkeypatch.setattr(store, "PAGE", 2)
        assert await postings(connection, customer.uuid) == whole
    assert len(whole) == 3 * 4


@pytest.mark.parametrize("source", store.SOURCES, ids=lambda source: source.kind)
@pytest.mark.parametrize("goes_on", [False, True])
async def test_an_index_leads_to_the_days_of_an_export(
    actors: Actors, source: store.Source, goes_on: bool
) -> None:
    asked = store.AskedDays(date(2027, 1, 1), date(2027, 1, 31), None)
    moment = date(2027, 1, 9) if source.kind in {"invoice", "credit_note"} else NOON
    wanted = store.query(source, asked, (moment, ids.new()) if goes_on else None)
    engine = create_async_engine(actors.stack.superuser_url)
    async with engine.connect() as connection:
        for way in ("seqscan", "sort", "bitmapscan"):
            await connection.execute(text(f"SET LOCAL enable_{way} = off"))
        shown = wanted.compile(engine.sync_engine, compile_kwargs={"literal_binds": True})
        rows = await connection.exec_driver_sql(f"EXPLAIN {shown}".replace("%", "%%"))
        plan = "\n".join(row[0] for row in rows)
    await engine.dispose()
    assert "Sort" not in plan, plan
    (bound,) = re.findall(rf"using (\w+) on {source.table}\b.*\n\s+Index Cond: (.*)", plan)
    assert bound[0] in {str(one.name) for one in source.table.indexes}, plan
    assert ("ROW(" in bound[1]) is goes_on, plan
    assert f"{source.moment.name} < " in bound[1], plan


@pytest.mark.parametrize(
    "query",
    [
        "month=2027-13", "month=0000-01", "month=20%D9%A2%D9%A7-01",
        "month=2027-01&start_date=2027-01-01",
        "start_date=2027-01-01", "end_date=2027-01-01", "start_date=2027-02-01&end_date=2027-01-01",
        "start_date=2020-01-01&end_date=2027-01-01", "format=xlsx",
    ],
)  # fmt: skip
async def test_days_that_are_no_range_are_refused(actors: Actors, query: str) -> None:
    await actors.operate("GET", f"/admin/exports/accounting?{query}", status=422)


async def test_without_days_it_is_the_last_whole_month(actors: Actors) -> None:
    _, name = await export(actors, account_id=(await actors.customer()).id)
    assert name.endswith(".csv")
    first, last = name.removeprefix("accounting-")[:10], name[-14:-4]
    assert (first[-2:], first[:7]) == ("01", last[:7])
