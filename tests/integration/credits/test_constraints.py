"""The database itself refuses bad rows, whatever the code above it does."""

from decimal import Decimal
from typing import Any, Final

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from billing.core import ids
from billing.core.database import Database
from billing.core.money import show_decimal
from devstack.stack import StackInfo
from tests.integration.credits.accounts import CreditAccount

APPEND_ONLY: Final = ("credit_transactions", "credit_transaction_lots", "credit_hold_lots")
CHANGES: Final = (
    "UPDATE {table} SET amount = amount",
    "DELETE FROM {table}",
    "TRUNCATE {table}",
)


async def spent(account: CreditAccount) -> None:
    await account.grant("10")
    await account.debit("1")
    await account.hold("2")


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE billing_audit SET actor = actor", "DELETE FROM billing_audit",
        "UPDATE invoice_lines SET amount_minor = 0",
        "DELETE FROM invoices", "DELETE FROM payments", "DELETE FROM stripe_webhook_events",
        "DELETE FROM accounts", "UPDATE alembic_version SET version_num = version_num",
    ],
)  # fmt: skip
async def test_the_roles_may_not_destroy_evidence(database: Database, change: str) -> None:
    for transaction in (database.tenant(), database.operator()):
        with pytest.raises(DBAPIError) as refused:
            async with transaction as connection:
                await connection.execute(text(change))
        assert isinstance(refused.value.orig, psycopg.errors.InsufficientPrivilege)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("table", APPEND_ONLY)
async def test_the_roles_may_not_change_the_ledger(
    account: CreditAccount, table: str, change: str
) -> None:
    await spent(account)
    for transaction in (account.transaction(), account.database.operator()):
        with pytest.raises(DBAPIError) as refused:
            async with transaction as connection:
                await connection.execute(text(change.format(table=table)))
        assert isinstance(refused.value.orig, psycopg.errors.InsufficientPrivilege)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("table", APPEND_ONLY)
async def test_not_even_the_superuser_changes_the_ledger(
    account: CreditAccount, stack: StackInfo, table: str, change: str
) -> None:
    await spent(account)
    engine = create_async_engine(stack.superuser_url)
    with pytest.raises(DBAPIError, match="append-only"):
        async with engine.begin() as connection:
            await connection.execute(text(change.format(table=table)))
    await engine.dispose()


async def test_another_account_s_credits_are_not_there(new_account: Any) -> None:
    ours, theirs = await new_account(), await new_account()
    await spent(theirs)
    async with ours.transaction() as connection:
        for table in (
            "credit_balances", "credit_lots", "credit_transactions", "credit_transaction_lots",
            "credit_holds", "credit_hold_lots",
        ):  # fmt: skip
            rows = await connection.execute(
                text(f"SELECT count(*) FROM {table} WHERE account_id = :id"), {"id": theirs.id}
            )
            assert rows.scalar_one() == 0, table


async def test_a_row_cannot_be_written_into_another_account(new_account: Any) -> None:
    ours, theirs = await new_account(), await new_account()
    with pytest.raises(DBAPIError, match="row-level security"):
        async with ours.transaction() as connection:
            await connection.execute(
                text(
                    "INSERT INTO credit_transactions (id, account_id, seq, kind, amount,"
                    " balance_after, used_after, key, reason, at, real_at) VALUES"
                    " (:id, :account, 1, 'grant', 1, 1, 0, :key, 'x', now(), now())"
                ),
                {"id": ids.new(), "account": theirs.id, "key": f"wall/{theirs.id}"},
            )


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE credit_balances SET balance = -1 WHERE account_id = :id",
        "UPDATE credit_balances SET held = balance + 1 WHERE account_id = :id",
        "UPDATE credit_balances SET debt = -1 WHERE account_id = :id",
        "UPDATE credit_lots SET remaining = -1 WHERE account_id = :id",
        "UPDATE credit_lots SET remaining = amount + 1 WHERE account_id = :id",
        "UPDATE credit_lots SET held = remaining + 1 WHERE account_id = :id",
        "UPDATE credit_lots SET is_open = false WHERE account_id = :id",
        "UPDATE credit_holds SET captured = 1 WHERE account_id = :id",
    ],
)
async def test_no_sum_goes_below_nothing_or_above_its_whole(
    account: CreditAccount, damage: str
) -> None:
    await spent(account)
    with pytest.raises(DBAPIError) as refused:
        async with account.transaction() as connection:
            await connection.execute(text(damage), {"id": account.id})
    assert isinstance(refused.value.orig, psycopg.errors.CheckViolation)


@pytest.mark.parametrize("value", ["0", "2", "0.002", "0.5", "1234567.1", "0.000001", "10"])
async def test_the_database_writes_ids_and_credits_as_the_code_does(
    account: CreditAccount, value: str
) -> None:

    async with account.transaction() as connection:
        shown = await connection.scalar(
            text("SELECT public_decimal(CAST(:value AS numeric(27, 12)))"),
            {"value": Decimal(value)},
        )
        named = await connection.scalar(text("SELECT public_id('acc', :id)"), {"id": account.id})
    assert shown == show_decimal(Decimal(value))
    assert named == ids.encode(ids.ACCOUNT, account.id)
