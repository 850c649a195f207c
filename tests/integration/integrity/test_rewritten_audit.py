"""Whatever of an entry of the audit is rewritten, the chain shows it."""

from datetime import timedelta
from typing import Any, Final
from uuid import uuid4

import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.clock import real_now
from billing.insight.integrity import store
from billing.platform.audit.tables import billing_audit
from tests.integration.actors import Customer
from tests.integration.operator_acts import give

OTHER: Final[dict[str, Any]] = {
    "account_id": uuid4(),
    "actor": "admin:nobody",
    "action": "credits.other",
    "subject": "acc_other",
    "detail": {"amount": "7"},
    "correlation_id": "another",
    "at": real_now() - timedelta(days=1),
    "real_at": real_now() - timedelta(days=1),
    "previous_id": None,
}


def test_each_column_is_rewritten_here() -> None:
    assert set(OTHER) == set(billing_audit.c.keys()) - {"id", "digest"}


@pytest.mark.parametrize("column", OTHER)
async def test_an_entry_that_was_rewritten_is_found(
    customer: Customer, superuser: AsyncConnection, column: str
) -> None:
    for amount in ("5", "6"):
        await give(customer, amount)
    mine = billing_audit.c.account_id == customer.uuid
    accounts = [customer.uuid, OTHER["account_id"]]
    check = store.WRITTEN["audit_chain"]
    assert await store.ask(superuser, check, real_now(), accounts) == []
    rewritten = update(billing_audit).where(mine, billing_audit.c.previous_id.is_not(None))
    done = await superuser.execute(rewritten.values({column: OTHER[column]}))
    assert done.rowcount > 0
    assert await store.ask(superuser, check, real_now(), accounts) != []
