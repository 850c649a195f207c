"""The question at the end of every module finds what its stories broke."""

import pytest
from sqlalchemy import text

from billing.core.database import Database
from tests.integration.credits.accounts import NewAccount
from tests.integration.invariants_fixture import demand_books


async def test_a_story_that_leaves_a_wrong_sum_is_named(
    database: Database, new_account: NewAccount
) -> None:
    right, wrong = await new_account(), await new_account()
    for account in (right, wrong):
        await account.grant("10")
    async with database.operator() as connection:
        more = text("UPDATE credit_balances SET balance = balance + 1 WHERE account_id = :id")
        await connection.execute(more, {"id": wrong.id})
    with pytest.raises(AssertionError, match=r"^wrong: ledger_balance .*\nwrong: lots_balance"):
        await demand_books(database, {right.id: "right", wrong.id: "wrong"})
