"""A batch is one transaction of independent debits, each with its own verdict."""

from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text

from tests.integration.credits.accounts import CreditAccount
from tests.integration.credits.batches import Item, debit_batch
from tests.integration.credits.books import decimals


def fresh() -> str:
    return f"batch/{uuid4()}"


async def test_each_item_gets_its_own_verdict(new_account: Any) -> None:
    rich: CreditAccount = await new_account()
    poor: CreditAccount = await new_account()
    await rich.grant("10")
    await poor.grant("3")
    once, nobody = fresh(), uuid4()
    items = [
        Item(rich.id, "4", once),
        Item(poor.id, "5", fresh()),
        Item(nobody, "1", fresh()),
        Item(rich.id, "4", once),
        Item(rich.id, "4", once, hash="other"),
        Item(poor.id, "3", fresh()),
        Item(rich.id, "7", fresh()),
        Item(rich.id, "6", fresh()),
    ]
    async with rich.transaction() as connection:
        rows = await debit_batch(connection, items)
    assert [row["verdict"] for row in rows] == [
        "ok", "insufficient", "no_account", "duplicate", "conflict", "ok", "insufficient", "ok",
    ]  # fmt: skip
    assert rows[3]["transaction_id"] == rows[0]["transaction_id"]
    assert [row["balance"] for row in rows] == [6, None, None, 6, 6, 0, None, 0]
    assert (rows[1]["amount"], rows[1]["available"], rows[6]["available"]) == (5, 3, 6)
    assert ((await rich.books()).balance, (await poor.books()).balance) == decimals(0, 0)


async def test_a_batch_sent_again_changes_nothing(new_account: Any) -> None:
    accounts: list[CreditAccount] = [await new_account() for _ in range(3)]
    for account in accounts:
        await account.grant("100")
    items = [Item(accounts[i % 3].id, "1.5", fresh()) for i in range(30)]
    async with accounts[0].transaction() as connection:
        first = await debit_batch(connection, items)
        again = await debit_batch(connection, items)
    assert {row["verdict"] for row in first} == {"ok"}
    assert {row["verdict"] for row in again} == {"duplicate"}
    for name in ("transaction_id", "balance"):
        assert [row[name] for row in first] == [row[name] for row in again]
    assert [(await account.books()).balance for account in accounts] == [85, 85, 85]


async def test_a_refused_key_is_free_for_a_smaller_debit_of_the_same_batch(
    account: CreditAccount,
) -> None:
    await account.grant("5")
    key = fresh()
    items = [Item(account.id, "9", key), Item(account.id, "2", key), Item(account.id, "2", key)]
    async with account.transaction() as connection:
        rows = await debit_batch(connection, items)
    assert [row["verdict"] for row in rows] == ["insufficient", "ok", "duplicate"]
    assert (await account.books()).balance == 3


async def test_items_run_across_lots_in_burn_order(account: CreditAccount) -> None:
    await account.grant("2", scope="images")
    for _ in range(5):
        await account.grant("3", is_paid=False, kind="plan")
    await account.grant("4")
    items = [
        Item(account.id, "4", fresh(), scope="images"),  # all of the scoped lot and 2 more
        Item(account.id, "4", fresh(), paid_only=True),  # the paid lot, past all free ones
        Item(account.id, "13", fresh()),
        Item(account.id, "0.000001", fresh()),
    ]
    async with account.transaction() as connection:
        rows = await debit_batch(connection, items)
    assert [row["verdict"] for row in rows] == ["ok", "ok", "ok", "insufficient"]
    assert (await account.books()).balance == 0


async def test_the_transaction_sees_its_own_accounts_again_afterwards(new_account: Any) -> None:
    ours: CreditAccount = await new_account()
    theirs: CreditAccount = await new_account()
    await theirs.grant("5")
    seen = text("SELECT account_id FROM credit_balances")
    async with ours.transaction() as connection:
        await debit_batch(connection, [Item(theirs.id, "1", fresh())])
        visible: list[UUID] = list((await connection.execute(seen)).scalars())
    assert visible == [ours.id]


async def test_a_long_row_of_small_lots_is_spent_to_the_last_credit(account: CreditAccount) -> None:
    for _ in range(40):
        await account.grant("0.25")
    items = [Item(account.id, "0.3", fresh()) for _ in range(34)]
    async with account.transaction() as connection:
        rows = await debit_batch(connection, items)
    assert [row["verdict"] for row in rows] == ["ok"] * 33 + ["insufficient"]
    assert rows[-1]["available"] == Decimal("0.1")
    assert (await account.books()).balance == Decimal("0.1")


async def test_any_text_reaches_the_ledger_as_it_was_written(account: CreditAccount) -> None:
    await account.grant("5")
    odd = [f"{fresh()} {tail}" for tail in ('"', "\\", '\\"', "{a,b}", "(x)", "ü\n", ",", " ", "")]
    async with account.transaction() as connection:
        await debit_batch(connection, [Item(account.id, "0.1", key) for key in odd])
        kept = text("SELECT key FROM credit_transactions WHERE kind = 'debit' ORDER BY seq")
        assert list((await connection.execute(kept)).scalars()) == odd
