"""A request reads about as many rows as it shows, however long the history behind them is."""

import json
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from api.answers.pagination import TOTAL_CAP
from billing.core import ids
from tests.integration.api.route_samples import purchase
from tests.integration.api_app import Api

MANY = 20_000


@dataclass(frozen=True)
class Asked:
    """A request, the history that it is asked behind, and the table that holds this history.

    A history that is large enough leaves the planner its `choice`.
    """

    path: str
    headers: dict[str, str]
    table: str
    history: str
    body: dict[str, Any] | None = None
    choice: bool = False


async def rows_read(api: Api, engine: AsyncEngine, asked: Asked) -> int:
    """The most rows that a statement of the request reads of the table once it has a history."""
    seen: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_more: Any) -> None:
        if asked.table in statement and "FOR UPDATE" not in statement:
            seen.append((statement, values))

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    try:
        answer = await api.client.request(
            "POST" if asked.body else "GET",
            f"/api/v1/{asked.path}",
            headers=asked.headers,
            json=asked.body,
        )
    finally:
        event.remove(engine.sync_engine, "before_cursor_execute", note)
    assert answer.status_code == 200, answer.text
    assert seen
    superuser = create_async_engine(api.stack.superuser_url)
    async with superuser.connect() as connection:
        await connection.execute(text("SET LOCAL session_replication_role = replica"))
        await connection.exec_driver_sql(asked.history)
        await connection.execute(text(f"ANALYZE {asked.table}"))
        # Behind the walls that the request is behind: they forbid some ways to use an index.
        if not asked.choice:
            await connection.execute(text("SET LOCAL enable_seqscan = off"))
        account = asked.headers.get("X-Account-Id")
        if account:
            uuid = ids.decode(ids.ACCOUNT, account)
            await connection.execute(text(f"SET LOCAL app.accounts = '{uuid}'"))
            await connection.execute(text("SET LOCAL ROLE billing_app"))
        most = 0
        for statement, values in seen:
            found = await connection.exec_driver_sql(
                f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", values
            )
            most = max(most, _read(found.scalar_one()[0]["Plan"], asked.table))
        await connection.rollback()
    await superuser.dispose()
    return most


def _read(plan: dict[str, Any], table: str) -> int:
    own = 0
    if plan.get("Relation Name") == table:
        each = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
        own = round(each * plan["Actual Loops"])
    return own + sum(_read(part, table) for part in plan.get("Plans", ()))


async def test_the_open_matters_of_a_kind_are_found_among_all_that_ever_were(api: Api) -> None:
    account = (await api.new_account())["id"]
    history = f"""
        INSERT INTO matters (workflow_id, account_id, kind, subject_id, status, created_at,
                             woken_at, closed_at)
        SELECT 'old/' || n, '{_uuid(account)}', 'purchase', gen_random_uuid(), 'closed',
               now() - n * interval '1 s', now(), now()
        FROM generate_series(1, {MANY}) AS n"""
    asked = Asked("admin/matters?status=open&kind=purchase", api.admin(), "matters", history)
    assert await rows_read(api, api.database.operator_engine, asked) < MANY / 10


@pytest.mark.parametrize("status", ["open", "expired", "released"])
async def test_holds_of_a_status_are_found_among_all_that_ever_were(api: Api, status: str) -> None:
    account = (await api.new_account())["id"]
    history = f"""
        INSERT INTO credit_holds (id, account_id, status, amount, captured, key, request_hash,
                                  reason, created_at, expires_at, resolved_at)
        SELECT gen_random_uuid(), '{_uuid(account)}', 'captured', 1, 1, 'old/' || n, '', '',
               now(), now(), now()
        FROM generate_series(1, {MANY}) AS n"""
    headers = api.token(account, ["billing"]) | {"X-Account-Id": account}
    asked = Asked(f"billing/credits/holds?status={status}", headers, "credit_holds", history)
    assert await rows_read(api, api.database.tenant_engine, asked) < MANY / 10


async def test_entries_of_a_rare_kind_are_found_among_all_debits(api: Api) -> None:
    account = (await api.new_account())["id"]
    history = f"""
        INSERT INTO credit_transactions (id, account_id, seq, kind, amount, balance_after,
                                         used_after, key, reason, at, real_at)
        SELECT gen_random_uuid(), '{_uuid(account)}', n, 'debit', -1, 0, n, 'old/' || n, '',
               now(), now()
        FROM generate_series(1, {MANY}) AS n"""
    headers = api.token(account, ["billing"]) | {"X-Account-Id": account}
    path = "billing/credits/transactions?kind=adjustment"
    asked = Asked(path, headers, "credit_transactions", history)
    assert await rows_read(api, api.database.tenant_engine, asked) < MANY / 10


async def test_what_a_price_charged_is_found_among_all_lines_since(api: Api) -> None:
    history = f"""
        INSERT INTO invoice_lines (id, account_id, invoice_id, position, kind, description,
                                   quantity, unit_amount, amount_minor, detail)
        SELECT ('ffffffff' || substr(gen_random_uuid()::text, 9))::uuid, gen_random_uuid(),
               gen_random_uuid(), 0, 'plan', '', 1, 1, 1, '{{"price": "another"}}'
        FROM generate_series(1, {MANY}) AS n"""
    plan = "admin/plans/slip-of-long-ago"
    for cents in (1000, 3000):
        put = f"/api/v1/{plan}?allow_large_change=true"
        terms = {
            "name": "Slip", "family": "slip-of-long-ago", "description": "A misplaced point",
            "monthly_credits": 100, "prices": {"month": {"USD": cents}},
        }  # fmt: skip
        answer = await api.client.put(put, json=terms, headers=api.admin())
        assert answer.status_code == 200, answer.text
    body = {"wrong_version": 2, "right_version": 1, "currency": "USD", "reason": "a wrong point"}
    path = f"{plan}/undo-price?dry_run=true"
    asked = Asked(path, api.admin(), "invoice_lines", history, body)
    assert await rows_read(api, api.database.operator_engine, asked) < MANY / 10


async def test_the_events_of_a_purchase_are_found_among_all_of_its_account(api: Api) -> None:
    account = await api.new_account()
    history = f"""
        INSERT INTO stripe_webhook_events (stripe_event_id, account_id, workflow_id, type,
                                           object_id, payload, status, received_at)
        SELECT 'old/' || n, '{_uuid(account["id"])}', 'purchase/' || n, 'a', 'pi_' || n, '{{}}',
               'handled', now()
        FROM generate_series(1, {MANY}) AS n"""
    asked = await _proof(api, account, "stripe_webhook_events", history)
    assert await rows_read(api, api.database.tenant_engine, asked) < MANY / 10


async def test_the_grant_of_a_purchase_is_found_among_all_of_its_account(api: Api) -> None:
    account = await api.new_account()
    history = f"""
        INSERT INTO credit_lots (id, account_id, kind, priority, is_paid, amount, remaining,
                                 is_open, grant_key, granted_seq, created_at)
        SELECT gen_random_uuid(), '{_uuid(account["id"])}', 'purchase', 0, true, 1, 0, false,
               'old/' || n, n, now()
        FROM generate_series(1, {MANY}) AS n"""
    asked = await _proof(api, account, "credit_lots", history)
    assert await rows_read(api, api.database.tenant_engine, asked) < MANY / 10


async def test_the_open_matters_of_an_account_are_found_among_all_of_its_own(api: Api) -> None:
    account = (await api.new_account())["id"]
    history = f"""
        INSERT INTO matters (workflow_id, account_id, kind, subject_id, status, created_at,
                             woken_at, closed_at)
        SELECT 'old/' || n, '{_uuid(account)}', 'purchase', gen_random_uuid(), 'closed', now(),
               now(), now()
        FROM generate_series(1, {MANY}) AS n"""
    headers = api.token(account, ["billing"]) | {"X-Account-Id": account}
    asked = Asked("billing/timeline", headers, "matters", history)
    assert await rows_read(api, api.database.tenant_engine, asked) < MANY / 10


async def test_a_member_s_timeline_reads_no_invoice_of_a_use_that_it_does_not_name(
    api: Api,
) -> None:
    account = (await api.new_account())["id"]
    history = f"""
        INSERT INTO invoices (id, account_id, workflow_id, fact_key, status, currency,
                              subtotal_minor, total_minor, amount_due_minor, created_at)
        SELECT gen_random_uuid(), '{_uuid(account)}', 'charge/' || n, 'bill_' || n, 'draft', 'USD',
               1, 1, 1, now()
        FROM generate_series(1, {MANY}) AS n;
        INSERT INTO billing_audit (account_id, actor, action, subject, detail, at, real_at)
        VALUES ('{_uuid(account)}', 'engine', 'old', 'inv_' || repeat('0', 26), '{{}}', now(),
                now())"""
    headers = api.token(account, ["member"]) | {"X-Account-Id": account}
    asked = Asked("billing/timeline", headers, "invoices", history)
    assert await rows_read(api, api.database.tenant_engine, asked) < MANY / 10


async def test_the_overview_reads_the_holds_that_are_open_among_all_that_ever_were(
    api: Api,
) -> None:
    account = (await api.new_account())["id"]
    mine = f"CAST('{_uuid(account)}' AS uuid)"
    history = f"""
        WITH lot AS (
            INSERT INTO credit_lots (id, account_id, kind, priority, is_paid, amount, remaining,
                                     is_open, grant_key, granted_seq, created_at)
            VALUES (gen_random_uuid(), {mine}, 'purchase', 0, true, 1, 1, true, 'old', 1, now())
            RETURNING id
        ), held AS (
            INSERT INTO credit_holds (id, account_id, status, amount, captured, key, request_hash,
                                      reason, created_at, expires_at, resolved_at)
            SELECT gen_random_uuid(), {mine}, status, 1, captured, status || n, '', '', now(),
                   now() + interval '1 day', resolved_at
            FROM (VALUES ('captured', 1, now(), {MANY}), ('open', 0, NULL, {MANY // 20}))
                AS given (status, captured, resolved_at, many), generate_series(1, many) AS n
            RETURNING id, status)
        INSERT INTO credit_hold_lots (hold_id, position, lot_id, account_id, amount)
        SELECT held.id, 0, lot.id, {mine}, 1 FROM held, lot WHERE held.status = 'captured'
        UNION ALL
        SELECT id, 1, gen_random_uuid(), {mine}, 1 FROM held;
        UPDATE credit_balances SET next_expiry = now() WHERE account_id = {mine};
        ANALYZE credit_holds"""
    headers = api.token(account, ["billing"]) | {"X-Account-Id": account}
    asked = Asked("billing", headers, "credit_hold_lots", history)
    assert await rows_read(api, api.database.tenant_engine, asked) < MANY / 10


@pytest.mark.parametrize(
    "path", ["usage/summary", "usage/aggregations", "stats", "usage/reports?group_by=day"]
)
async def test_the_sums_of_an_account_are_found_among_those_of_its_owners_and_all_accounts(
    api: Api, path: str
) -> None:
    account = (await api.new_account())["id"]
    whose, day = f"CAST('{_uuid(account)}' AS uuid)", "date_trunc('day', now())"
    history = f"""
        INSERT INTO usage_counters
        SELECT CASE mod(n, 2) WHEN 0 THEN {whose} ELSE gen_random_uuid() END,
               CASE mod(n, 2) WHEN 0 THEN 'p:' || n ELSE '' END, 'day', {day},
               {day} - mod(n, 20) * interval '1 day', 'api', 'api|||', 1, 1, 1, 1, now(), 0, 0, 0
        FROM generate_series(1, {5 * MANY}) AS n"""
    headers = api.token(account, ["billing"]) | {"X-Account-Id": account}
    asked = Asked(path, headers, "usage_counters", history, choice=True)
    assert await rows_read(api, api.database.tenant_engine, asked) <= MANY


PASTS = {
    "steps": """
        INSERT INTO steps (key, workflow_id, account_id, name, due_at, ran_at, real_ran_at)
        SELECT 'old/' || n, 'old', {account}, 'charge', at, at, at FROM {past}""",
    "billing_audit": """
        INSERT INTO billing_audit (account_id, actor, action, subject, detail, at, real_at)
        SELECT {account}, 'engine', 'old', 'old', '{{}}', at, at FROM {past}""",
    "credit_lots": """
        WITH entries AS (
            INSERT INTO credit_transactions (id, account_id, seq, kind, amount, balance_after,
                                             used_after, key, reason, at, real_at)
            SELECT gen_random_uuid(), {account}, n, 'grant', 1, 0, 0, 'old/' || n, '', at, at
            FROM {past})
        INSERT INTO credit_lots (id, account_id, kind, priority, is_paid, amount, remaining,
                                 is_open, grant_key, granted_seq, created_at, expires_at)
        SELECT gen_random_uuid(), {account}, 'plan', 0, true, 1, 0, false, 'old/' || n, n, at, at
        FROM {past};
        ANALYZE credit_transactions""",
}


@pytest.mark.parametrize("table", PASTS)
async def test_a_page_of_the_timeline_reads_no_more_of_the_past_than_it_shows(
    api: Api, table: str
) -> None:
    account = (await api.new_account())["id"]
    past = f"""(
        SELECT n, now() - n * interval '1 s' AS at FROM generate_series(1, {MANY}) AS n) AS past"""
    history = PASTS[table].format(account=f"CAST('{_uuid(account)}' AS uuid)", past=past)
    at = (datetime.now(UTC) - timedelta(seconds=MANY * 3 // 4)).isoformat()
    cursor = urlsafe_b64encode(json.dumps([at, at, ""]).encode()).decode()
    headers = api.token(account, ["billing"]) | {"X-Account-Id": account}
    asked = Asked(f"billing/timeline?cursor={cursor}", headers, table, history)
    # The total is counted up to its cap.
    assert await rows_read(api, api.database.tenant_engine, asked) <= TOTAL_CAP


async def _proof(api: Api, account: dict[str, Any], table: str, history: str) -> Asked:
    headers = api.token(account["id"], ["billing"]) | {"X-Account-Id": account["id"]}
    path = f"billing/purchases/{await purchase(api, account)}/proof"
    return Asked(path, headers, table, history)


def _uuid(account: str) -> UUID:
    return ids.decode(ids.ACCOUNT, account)


async def test_payments_are_counted_without_their_invoices_and_methods(api: Api) -> None:
    account = (await api.new_account())["id"]
    counts: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_more: Any) -> None:
        if "count(" in statement and "payments" in statement:
            counts.append((statement, values))

    engine = api.database.tenant_engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        answer = await api.client.get(
            "/api/v1/billing/payments", headers=api.token(account, ["billing"])
        )
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert answer.status_code == 200, answer.text
    ((statement, values),) = counts
    async with api.database.tenant(_uuid(account)) as connection:
        plan = (await connection.exec_driver_sql(f"EXPLAIN {statement}", values)).scalars().all()
    assert not [line for line in plan if "invoices" in line or "payment_methods" in line]
