"""Lists over all accounts are read by an index in their order, however many rows there are."""

from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tests.integration.api_app import Api

LISTS = {
    "payments": ("pk_payments", "uq_payments_id_account_id"),
    "payments?status=failed": ("ix_payments_status",),
    "payments?undecided=true": ("ix_payments_manual", "ix_payments_status"),
    "webhooks": ("ix_stripe_webhook_events_received",),
    "webhooks?status=ignored": ("ix_stripe_webhook_events_status",),
    "webhooks?source=poll": ("ix_stripe_webhook_events_source",),
    "migration-requests": ("pk_migration_requests",),
    "migration-requests?status=queued": ("ix_migration_requests_queued",),
    "matters": ("ix_matters_created",),
    "matters?status=closed": ("ix_matters_created",),
    "matters?kind=reversal": ("ix_matters_kind",),
    "matters?kind=purchase&status=open": ("ix_matters_kind_open",),
    "invoices?collection=send_invoice": ("ix_invoices_collection",),
    "dunning": ("ix_dunning_cases_opened",),
    "dunning?status=open": ("ix_dunning_cases_status_opened",),
    "quotas": ("ix_billing_quotas_created",),
    "subscriptions": ("pk_subscriptions", "uq_subscriptions_id_account_id"),
    "subscriptions?status=paused": ("ix_subscriptions_status",),
    "purchases": ("pk_purchases", "uq_purchases_id_account_id"),
    "purchases?status=failed": ("ix_purchases_status",),
    "purchases?pack=small": ("ix_purchases_pack",),
}


@pytest.mark.parametrize("path", LISTS)
async def test_an_index_has_the_order_of_a_list(api: Api, path: str) -> None:
    listed = await asked(api, api.database.operator_engine, f"admin/{path}", api.admin())
    plan = await planned(api, *listed)
    assert "Sort" not in plan, plan
    assert any(f"using {name} on" in plan for name in LISTS[path]), plan


async def test_postgres_knows_which_collection_is_rare_in_every_plan(api: Api) -> None:
    path = "admin/invoices?collection=send_invoice"
    statement, _ = await asked(api, api.database.operator_engine, path, api.admin())
    assert "collection = 'send_invoice'" in statement


@pytest.mark.parametrize("query", ["", "?status=failed"])
async def test_the_payments_of_one_account_are_read_by_two_indexes(api: Api, query: str) -> None:
    account = (await api.new_account())["id"]
    headers = api.token(account, ["billing"])
    listed = await asked(api, api.database.tenant_engine, f"billing/payments{query}", headers)
    plan = await planned(api, *listed)
    for name in ("ix_payments_account_created", "ix_payment_attempts_account"):
        assert f"Backward using {name} on" in plan, plan


async def asked(
    api: Api, engine: AsyncEngine, path: str, headers: dict[str, str]
) -> tuple[str, Any]:
    """The statement that reads a page of a list."""
    seen: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_more: Any) -> None:
        seen.append((statement, values))

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    try:
        answer = await api.client.get(f"/api/v1/{path}", headers=headers)
    finally:
        event.remove(engine.sync_engine, "before_cursor_execute", note)
    assert answer.status_code == 200, answer.text
    # After the count, and before what is read of the rows that were found.
    return [one for one in seen if "ORDER BY" in one[0] and "LIMIT" in one[0]][-1]


async def planned(api: Api, statement: str, values: Any) -> str:
    """The plan of a statement where each table is too large to be read or put in order."""
    engine = create_async_engine(api.stack.superuser_url)
    async with engine.connect() as superuser:
        for way in ("seqscan", "sort", "bitmapscan"):
            await superuser.execute(text(f"SET LOCAL enable_{way} = off"))
        rows = await superuser.exec_driver_sql(f"EXPLAIN {statement}", values)
        plan = "\n".join(row[0] for row in rows)
        await superuser.rollback()
    await engine.dispose()
    return plan
