"""A decision costs the same however long the past of its account: it is measured as the program's
role, in a shop where other accounts have far less.
"""

from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.money.account_agenda import store as account_agenda
from billing.money.reversals import reading as reversals
from billing.money.subscriptions import reading as subscriptions
from billing.platform.decisions.service import Read
from tests.integration.actors import Actors, Customer
from tests.integration.reversals.refunds_made import paid_for
from tests.integration.rows_fetched import become_program, fetched

MANY = 4_000
OTHERS = 400
OVERPAID = text(
    "INSERT INTO balance_entries (id, account_id, key, kind, amount_minor, currency, at)"
    " VALUES (gen_random_uuid(), :me, gen_random_uuid(), 'overpaid', 1, 'USD', clock_timestamp())"
)


async def with_past(
    customer: Customer, superuser: AsyncConnection, table: str, changed: str
) -> None:
    """Repeat a row of the customer's, changed so, and once for each of some other accounts."""
    past = f"""
        INSERT INTO {table} SELECT (jsonb_populate_record(t, jsonb_build_object(
            'id', gen_random_uuid(), 'account_id',
            CASE WHEN n <= {MANY} THEN :me ELSE gen_random_uuid() END, {changed}))).*
        FROM {table} AS t, generate_series(1, {MANY + OTHERS}) AS n
        WHERE t.id = (SELECT id FROM {table} WHERE account_id = :me LIMIT 1)
    """
    await superuser.execute(text(past), {"me": customer.uuid})
    await superuser.execute(text(f"ANALYZE {table}"))
    await become_program(superuser, customer.uuid)


async def test_a_refund_finds_the_credits_of_its_payment_among_all_that_ever_came(
    actors: Actors, superuser: AsyncConnection
) -> None:
    customer = await actors.customer()
    bought = await customer.bought("small")
    payment = await paid_for(customer)
    await with_past(customer, superuser, "credit_lots", "'grant_key', 'old/' || n")
    before = await fetched(superuser, "credit_lots")
    subject = Read(ids.decode(ids.PAYMENT, payment["payment_id"]), locked=False)
    _, facts = await reversals.read(superuser, subject)
    assert [one.grant_key for one in facts.granted] == [f"{bought['purchase_id']}/grant"]
    assert await fetched(superuser, "credit_lots") - before < MANY / 10


async def test_a_decision_about_a_subscription_reads_the_invoices_of_its_period_alone(
    actors: Actors, superuser: AsyncConnection
) -> None:
    customer = await actors.customer()
    await customer.subscribed("pro")
    of_before = (
        "'fact_key', 'old/' || n, 'number', 'old/' || n, 'workflow_id', 'purchase/' || n,"
        " 'subscription_id', NULL, 'created_at', t.created_at - interval '1 year'"
    )
    await with_past(customer, superuser, "invoices", of_before)
    mine = (await customer.subscription())["subscription_id"]
    before = await fetched(superuser, "invoices")
    subject = Read(ids.decode(ids.SUBSCRIPTION, mine), deciding=True, locked=False)
    await subscriptions.read(superuser, subject)
    assert await fetched(superuser, "invoices") - before < MANY / 10


async def test_the_next_end_to_announce_is_found_among_all_open_credits(
    actors: Actors, superuser: AsyncConnection
) -> None:
    customer = await actors.customer()
    await customer.bought("small")
    endless = "'grant_key', 'old/' || n, 'expires_at', NULL"
    await with_past(customer, superuser, "credit_lots", endless)
    before = await fetched(superuser, "credit_lots")
    await account_agenda.state(superuser, customer.uuid, timedelta(days=7))
    assert await fetched(superuser, "credit_lots") - before < MANY / 10


async def test_a_cent_that_was_once_paid_too_much_costs_a_subscription_no_second_query(
    actors: Actors, superuser: AsyncConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer = await actors.customer()
    await customer.subscribed("pro")
    mine = ids.decode(ids.SUBSCRIPTION, (await customer.subscription())["subscription_id"])
    await superuser.execute(OVERPAID, {"me": customer.uuid})
    await become_program(superuser, customer.uuid)
    monkeypatch.delattr(subscriptions, "last_of")
    rows, _ = await subscriptions.read(superuser, Read(mine, locked=False))
    assert mine in rows.ids()
