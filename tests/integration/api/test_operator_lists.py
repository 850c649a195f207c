"""Lists over all accounts are read by an index in their order, however many rows there are."""

from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.integration.api_app import Api

LISTS = {
    "payments": ("pk_payments", "uq_payments_id_account_id"),
    "payments?status=failed": ("ix_payments_status",),
    "payments?undecided=true": ("ix_payments_manual", "ix_payments_status"),
    "webhooks": ("ix_stripe_webhook_events_received",),
    "webhooks?status=ignored": ("ix_stripe_webhook_events_status",),
    "webhooks?source=poll": ("ix_stripe_webhook_events_source",),
    "matters": ("ix_matters_created",),
    "matters?status=closed": ("ix_matters_created",),
    "matters?kind=reversal": ("ix_matters_kind",),
    "dunning": ("ix_dunning_cases_opened",),
    "dunning?status=open": ("ix_dunning_cases_status_opened",),
    "quotas": ("ix_billing_quotas_created",),
    "subscriptions": ("pk_subscriptions", "uq_subscriptions_id_account_id"),
    "subscriptions?status=paused": ("ix_subscriptions_status",),
    "purchases": ("pk_purchases",),
    "purchases?status=failed": ("ix_purchases_status",),
    "purchases?pack=small": ("ix_purchases_pack",),
}


@pytest.mark.parametrize("path", LISTS)
async def test_an_index_has_the_order_of_a_list(api: Api, path: str) -> None:
    seen: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_more: Any) -> None:
        seen.append((statement, values))

    engine = api.database.operator_engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        answer = await api.client.get(f"/api/v1/admin/{path}", headers=api.admin())
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert answer.status_code == 200, answer.text
    (listed,) = [one for one in seen if "ORDER BY" in one[0]]
    plan = await planned(api, *listed)
    assert "Sort" not in plan, plan
    assert any(f"using {name} on" in plan for name in LISTS[path]), plan


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
