"""Dates that a worker of the release before does not know are found again by the daily job."""

from datetime import timedelta
from typing import Final
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.core.clock import real_now
from billing.money.account_agenda.store import watch_forgotten
from tests.integration.api_app import Api

A_USE: Final = (
    "INSERT INTO unpaid_uses (record_id, account_id, used_at, overdue_at, told_at, charge_at,"
    " tried_at) VALUES (gen_random_uuid(), :id, :at, :at, :at, :charge, :tried)"
)
DATED: Final = {
    "rates": "INSERT INTO tax_quotes (account_id, wanted, ask_at) VALUES (:id, 'here', :at)",
    "VAT id": "INSERT INTO tax_profiles (account_id, vat_id, vat_given_at, vat_status,"
    " vat_check_at, updated_at) VALUES (:id, 'DE136695976', :at, 'pending', :at, :at)",
    "tax": "INSERT INTO tax_profiles (account_id, vat_credit_at, updated_at)"
    " VALUES (:id, :at, :at)",
    "portal": "INSERT INTO portal_sessions (id, account_id, return_url, status, created_at)"
    " VALUES (gen_random_uuid(), :id, 'https://shop', 'pending', :at)",
    "uses": "INSERT INTO unpaid_uses (record_id, account_id, used_at, overdue_at)"
    " VALUES (gen_random_uuid(), :id, :at, :at)",
}


async def watched(connection: AsyncConnection, account: UUID) -> int:
    """1 if this account was forgotten; its page has no other."""
    before = UUID(int=account.int - 1)
    count, last = await watch_forgotten(connection, before, at=real_now(), limit=1)
    assert last == account, "the next page follows it, whatever is found"
    return count


@pytest.mark.parametrize("row", DATED.values(), ids=DATED)
async def test_a_forgotten_date_is_looked_at_once(api: Api, row: str) -> None:
    account = ids.decode(ids.ACCOUNT, str((await api.new_account())["id"]))
    async with api.database.operator() as connection:
        of = {"id": account, "at": real_now() - timedelta(hours=1)}
        # Nothing of its matter's is due as early: as the release before leaves it.
        closed = "UPDATE matters SET status = 'closed', closed_at = now(), next_due = NULL"
        await connection.execute(text(f"{closed} WHERE account_id = :id"), of)
        assert await watched(connection, account) == 0
        await connection.execute(text(row), of)
        assert await watched(connection, account) == 1
        assert await watched(connection, account) == 0, "its matter knows"
        await connection.rollback()


async def test_who_waits_between_two_cards_is_not_woken_each_day(api: Api) -> None:
    account = ids.decode(ids.ACCOUNT, str((await api.new_account())["id"]))
    async with api.database.operator() as connection:
        now = real_now()
        of = {"id": account, "at": now, "charge": now - timedelta(hours=2), "tried": now}
        await connection.execute(text(A_USE), of)
        await watched(connection, account)
        due = text("SELECT next_due FROM matters WHERE account_id = :id AND kind = 'account'")
        assert await connection.scalar(due, of) == now + timedelta(days=1)
        assert await watched(connection, account) == 0
        await connection.rollback()


async def test_after_the_last_account_nothing_follows(api: Api) -> None:
    async with api.database.operator() as connection:
        last = UUID(int=2**128 - 1)
        assert await watch_forgotten(connection, last, at=real_now(), limit=1) == (0, None)
