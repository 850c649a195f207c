"""The books check themselves: each rule finds the damage it is for, and nothing else."""

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.ledger.credits.invariants import RULES
from tests.integration.credits import holding
from tests.integration.credits.accounts import CreditAccount
from tests.integration.credits.books import broken

ENTRY = (
    "INSERT INTO credit_transactions (id, account_id, seq, kind, amount, balance_after, used_after,"
    " key, reason, at, real_at) SELECT :id, account_id, {seq}, 'grant', 1, {after}, used,"
    " 'damage/' || account_id, 'damage', now(), now() FROM credit_balances"
    " WHERE account_id = :account"
)
PART = (
    "INSERT INTO credit_transaction_lots (transaction_id, lot_id, account_id, amount)"
    " VALUES ({entry}, {lot}, :account, 1)"
)
A_LOT = "(SELECT id FROM credit_lots WHERE account_id = :account LIMIT 1)"
AN_ENTRY = "(SELECT id FROM credit_transactions WHERE account_id = :account AND kind = 'debit')"
BALANCE = "UPDATE credit_balances SET {} WHERE account_id = :account"
LOTS = "UPDATE credit_lots SET remaining = remaining - 1 WHERE account_id = :account"
OPEN_HOLDS = (
    "UPDATE credit_holds SET status = 'released', resolved_at = now()"
    " WHERE account_id = :account AND status = 'open'"
)
HOLD_MORE = (
    "UPDATE credit_holds SET amount = amount + 1 WHERE account_id = :account AND status = 'open'"
)
CAPTURE_LESS = "UPDATE credit_holds SET captured = captured / 2 WHERE account_id = :account"
DAMAGE: dict[str, str] = {
    "the balance is the sum of the ledger": BALANCE.format("balance = balance + 1"),
    "the balance is the sum of the lots": LOTS,
    "what is held is held in lots": BALANCE.format("held = held + 1"),
    "what is held is held by open holds": OPEN_HOLDS,
    "what was used is the sum of debits and captures, less what was given back": BALANCE.format(
        "used = used + 1"
    ),
    "what is owed is what forced debits left and grants have not paid": BALANCE.format(
        "debt = debt + 1"
    ),
    "each hold is made of its parts": HOLD_MORE,
    "a captured hold has its one entry": CAPTURE_LESS,
    "the ledger is numbered without a gap": ENTRY.format(seq="seq + 2", after="balance + 1"),
    "each entry carries the balance after it": ENTRY.format(seq="seq + 1", after="balance"),
    "each entry is split over lots to the last digit": PART.format(entry=AN_ENTRY, lot=":id"),
    "each lot has left what its entries leave": LOTS,
    "each lot was granted, and clawed back, as its entries say": (
        "UPDATE credit_lots SET clawed = clawed + 1 WHERE account_id = :account"
    ),
    "a part belongs to an entry and a lot of its account": PART.format(entry=":id", lot=A_LOT),
}


async def busy(account: CreditAccount) -> None:
    await account.grant("10")
    await account.debit("1")
    await account.hold("2")
    spent = await account.hold("3")
    await account.do(holding.capture, hold_id=spent.hold_id)


async def test_honest_books_break_no_rule(account: CreditAccount) -> None:
    await busy(account)
    async with account.database.operator() as connection:
        assert await broken(connection, account.id) == set()


def test_every_rule_has_its_damage() -> None:
    assert set(DAMAGE) == set(RULES)


@pytest.mark.parametrize("rule", RULES)
async def test_damage_is_found_by_its_rule(
    account: CreditAccount, superuser: AsyncConnection, rule: str
) -> None:
    await busy(account)
    await superuser.execute(text(DAMAGE[rule]), {"account": account.id, "id": ids.new()})
    found = await broken(superuser, account.id)
    assert (rule, account.id) in found
    assert {account_id for _, account_id in found} == {account.id}
