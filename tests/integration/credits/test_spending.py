"""Credits arrive once, are spent in the right order, and never below nothing."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select

from billing.core.errors import Conflict, Invalid, NotFound, PaymentRequired
from billing.ledger.credits import service
from billing.ledger.credits.tables import credit_lots, credit_transactions
from tests.integration.credits.accounts import CreditAccount
from tests.integration.credits.books import decimals

SPRING = datetime(2027, 3, 1, tzinfo=UTC)
SUMMER = datetime(2027, 6, 1, tzinfo=UTC)
AUTUMN = datetime(2027, 9, 1, tzinfo=UTC)


async def remaining(account: CreditAccount) -> dict[str, str]:
    """The rest of each lot, by its grant key."""
    async with account.transaction() as connection:
        rows = await connection.execute(
            select(credit_lots.c.grant_key, credit_lots.c.remaining).where(
                credit_lots.c.account_id == account.id
            )
        )
        return {row.grant_key.split("/")[0]: str(row.remaining.normalize()) for row in rows}


async def test_a_grant_arrives_once_however_often_it_is_told(account: CreditAccount) -> None:
    key = f"pur_{uuid4()}/grant"
    first = await account.grant("500", key=key)
    again = await account.grant("500", key=key)
    assert (first.replayed, again.replayed) == (False, True)
    assert again.model_copy(update={"replayed": False}) == first
    assert (await account.books()).balance == 500


async def test_a_key_of_a_debit_is_no_key_of_a_grant(account: CreditAccount) -> None:
    await account.grant("10")
    await account.debit("1", key="one")
    async with account.transaction() as connection:
        used = await connection.scalar(
            select(credit_transactions.c.key).where(
                credit_transactions.c.account_id == account.id,
                credit_transactions.c.kind == "debit",
            )
        )
    with pytest.raises(Invalid, match="IDEMPOTENCY_KEY_REUSED"):
        await account.grant("5", key=used)
    assert (await account.books()).balance == 9


async def test_credits_burn_in_order_of_scope_priority_end_price_and_age(new_account: Any) -> None:
    account: CreditAccount = await new_account(clock_at=SPRING)
    order: dict[str, dict[str, Any]] = {
        "scoped": {"scope": "images", "priority": 500, "expires_at": AUTUMN},
        "urgent": {"priority": 10},
        "early": {"expires_at": SUMMER},
        "late-free": {"expires_at": AUTUMN, "is_paid": False},
        "late-paid-old": {"expires_at": AUTUMN},
        "late-paid-new": {"expires_at": AUTUMN},
        "never-free": {"is_paid": False},
        "never-paid": {},
    }
    # Age counts only where all else is equal, so the rest arrives the wrong way round.
    arrivals = ["never-paid", "never-free", "late-paid-old", "late-paid-new", "late-free"]
    arrivals += ["early", "urgent", "scoped"]
    for name in arrivals:
        await account.grant("1", key=f"{name}/{uuid4()}", **order[name])
    burned = []
    for _ in order:
        before = await remaining(account)
        await account.debit("1", scope="images")
        after = await remaining(account)
        burned += [name for name in order if before[name] != after[name]]
    assert burned == list(order)


async def test_credits_of_another_scope_are_not_touched(account: CreditAccount) -> None:
    await account.grant("5", scope="images")
    await account.grant("2")
    with pytest.raises(PaymentRequired) as refused:
        await account.debit("3", scope="voice")
    assert refused.value.fields == {"required": "3.00", "available": "2.00"}
    with pytest.raises(PaymentRequired):
        await account.debit("3")
    await account.debit("7", scope="images")
    assert (await account.books()).balance == 0


async def test_a_wallet_spends_only_what_was_paid_for(account: CreditAccount) -> None:
    await account.grant("5", kind="trial", is_paid=False)
    await account.grant("3")
    with pytest.raises(PaymentRequired) as refused:
        await account.debit("4", paid_only=True)
    assert refused.value.fields["available"] == "3.00"
    await account.debit("3", paid_only=True)
    await account.debit("5")


async def test_a_shortfall_says_what_is_needed_and_what_is_there(account: CreditAccount) -> None:
    await account.grant("1.5")
    with pytest.raises(PaymentRequired) as refused:
        await account.debit("2")
    assert refused.value.code == "INSUFFICIENT_CREDITS"
    assert refused.value.http_status == 402
    assert refused.value.fields == {"required": "2.00", "available": "1.50"}
    assert (await account.books()).entries == 1


async def test_a_debit_of_the_same_key_is_answered_once_and_taken_once(
    account: CreditAccount,
) -> None:
    await account.grant("10")
    first = await account.debit("2.5", key="event-1", detail={"model": "a"})
    await account.debit("1")
    again = await account.debit("2.50", key="event-1", detail={"model": "a"})
    assert again.replayed
    assert (again.transaction_id, again.balance) == (first.transaction_id, Decimal("7.5"))
    with pytest.raises(Invalid, match="IDEMPOTENCY_KEY_REUSED"):
        await account.debit("2.5", key="event-1", detail={"model": "b"})
    assert (await account.books()).balance == Decimal("6.5")


async def test_two_accounts_may_use_the_same_key(new_account: Any) -> None:
    ours, theirs = await new_account(), await new_account()
    await ours.grant("1")
    await theirs.grant("1")
    assert not (await ours.debit("1", key="same")).replayed
    assert not (await theirs.debit("1", key="same")).replayed


async def test_a_debit_is_rounded_once_to_six_decimals(account: CreditAccount) -> None:
    await account.grant("1")
    debit = await account.debit("0.0000015")
    assert debit.amount == Decimal("0.000002")
    assert (await account.books()).balance == Decimal("0.999998")


@pytest.mark.parametrize("amount", ["0", "-1", "0.0000001", "1000000000000000"])
async def test_an_amount_that_cannot_be_booked_is_refused(
    account: CreditAccount, amount: str
) -> None:
    with pytest.raises(Invalid, match="INVALID_AMOUNT"):
        await account.debit(amount)
    assert (await account.books()).entries == 0


async def test_debt_is_paid_by_the_next_grant_with_an_entry_of_its_own(
    account: CreditAccount,
) -> None:
    await account.allow_debt("30")
    await account.debit("30", force=True)
    first = await account.grant("20")
    assert (first.debt_paid, first.balance) == decimals(20, 0)
    second = await account.grant("50")
    assert (second.debt_paid, second.balance) == decimals(10, 40)
    books = await account.books()
    assert (books.debt, books.balance) == decimals(0, 40)
    assert books.entries == 5


async def test_a_forced_debit_takes_what_is_there_and_owes_the_rest(account: CreditAccount) -> None:
    await account.grant("4")
    await account.grant("5", scope="images")
    await account.allow_debt("10")
    debit = await account.debit("10", key="job", force=True)
    assert (debit.amount, debit.debt, debit.balance) == decimals(10, 6, 5)
    again = await account.debit("10", key="job", force=True)
    assert (again.replayed, again.debt, again.transaction_id) == (
        True, Decimal(6), debit.transaction_id,
    )  # fmt: skip
    with pytest.raises(PaymentRequired) as refused:
        await account.debit("4.5", force=True)
    assert refused.value.fields == {"required": "4.50", "available": "4.00"}
    with pytest.raises(PaymentRequired):
        await account.debit("1")
    await account.debit("9", scope="images", force=True)
    books = await account.books()
    assert (books.balance, books.debt) == decimals(0, 10)


async def test_without_an_overdraft_force_goes_no_further_than_the_balance(
    account: CreditAccount,
) -> None:
    await account.grant("4")
    with pytest.raises(PaymentRequired):
        await account.debit("4.000001", force=True)
    assert (await account.debit("4", force=True)).debt == 0


async def test_credits_used_on_credit_count_once_when_they_are_used(account: CreditAccount) -> None:
    await account.allow_debt("8")
    await account.debit("8", force=True)
    await account.grant("20")
    async with account.transaction() as connection:
        balance = await service.lock(connection, account.id)
    assert (balance.used, balance.debt, balance.balance) == decimals(8, 0, 12)


async def test_an_operator_takes_credits_away_and_nobody_used_them(account: CreditAccount) -> None:
    await account.grant("3")
    await account.grant("4")
    await account.hold("2")
    facts = {"amount": Decimal(5), "key": f"take/{uuid4()}", "reason": "granted in error"}
    taken = await account.do(service.take, **facts)
    assert (taken.amount, taken.balance, taken.replayed) == (5, 2, False)
    assert (await account.do(service.take, **facts)).replayed
    with pytest.raises(PaymentRequired) as refused:
        await account.do(service.take, **(facts | {"key": f"take/{uuid4()}"}))
    assert refused.value.fields == {"required": "5.00", "available": "0"}
    async with account.transaction() as connection:
        assert (await service.lock(connection, account.id)).used == 0


async def test_an_account_pays_in_one_currency_for_good(account: CreditAccount) -> None:
    async with account.transaction() as connection:
        await service.fix_currency(connection, account.id, "EUR")
        await service.fix_currency(connection, account.id, "EUR")
        with pytest.raises(Conflict) as refused:
            await service.fix_currency(connection, account.id, "USD")
    assert (refused.value.code, refused.value.http_status) == ("CURRENCY_MISMATCH", 409)


async def test_an_account_that_is_not_there_is_not_found(account: CreditAccount) -> None:
    nobody = CreditAccount(account.database, uuid4())
    for verb in (nobody.debit("1"), nobody.grant("1"), nobody.hold("1"), nobody.do(service.expire)):
        with pytest.raises(NotFound):
            await verb
    async with nobody.transaction() as connection:
        with pytest.raises(NotFound):
            await service.lock(connection, nobody.id)


async def test_a_debit_carries_the_account_s_own_time(new_account: Any) -> None:
    account: CreditAccount = await new_account(clock_at=SPRING)
    await account.grant("1")
    debit = await account.debit("1")
    async with account.transaction() as connection:
        at = await connection.scalar(
            select(credit_transactions.c.at).where(credit_transactions.c.id == debit.transaction_id)
        )
    assert at == SPRING


async def test_the_ledger_never_goes_back_in_time(new_account: Any) -> None:
    account: CreditAccount = await new_account(clock_at=SPRING)
    await account.grant("2")
    await account.debit("1", at=SUMMER)
    await account.debit("1", at=SPRING)
    await account.grant("1", at=SPRING)
    async with account.transaction() as connection:
        rows = await connection.execute(
            select(credit_transactions.c.at)
            .where(credit_transactions.c.account_id == account.id)
            .order_by(credit_transactions.c.seq)
        )
        assert list(rows.scalars()) == [SPRING, SUMMER, SUMMER, SUMMER]
