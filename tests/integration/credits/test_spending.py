"""Credits arrive once, are spent in the right order, and never below nothing."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select

from billing.core.errors import Conflict, Invalid, NotFound, PaymentRequired
from billing.credits import service
from billing.credits.tables import credit_lots, credit_transactions
from tests.integration.credits.books import decimals
from tests.integration.credits.conftest import Purse

SPRING = datetime(2027, 3, 1, tzinfo=UTC)
SUMMER = datetime(2027, 6, 1, tzinfo=UTC)
AUTUMN = datetime(2027, 9, 1, tzinfo=UTC)


async def remaining(purse: Purse) -> dict[str, str]:
    """What is left of each lot, by its grant key."""
    async with purse.transaction() as connection:
        rows = await connection.execute(
            select(credit_lots.c.grant_key, credit_lots.c.remaining).where(
                credit_lots.c.account_id == purse.id
            )
        )
        return {row.grant_key.split("/")[0]: str(row.remaining.normalize()) for row in rows}


async def test_a_grant_arrives_once_however_often_it_is_told(purse: Purse) -> None:
    key = f"pur_{uuid4()}/grant"
    first = await purse.grant("500", key=key)
    again = await purse.grant("500", key=key)
    assert (first.replayed, again.replayed) == (False, True)
    assert again.model_copy(update={"replayed": False}) == first
    assert (await purse.books()).balance == 500


async def test_a_key_of_a_debit_is_no_key_of_a_grant(purse: Purse) -> None:
    await purse.grant("10")
    await purse.debit("1", key="one")
    async with purse.transaction() as connection:
        used = await connection.scalar(
            select(credit_transactions.c.key).where(
                credit_transactions.c.account_id == purse.id, credit_transactions.c.kind == "debit"
            )
        )
    with pytest.raises(Invalid, match="IDEMPOTENCY_KEY_REUSED"):
        await purse.grant("5", key=used)
    assert (await purse.books()).balance == 9


async def test_credits_burn_in_order_of_scope_priority_end_price_and_age(new_purse: Any) -> None:
    purse: Purse = await new_purse(clock_at=SPRING)
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
        await purse.grant("1", key=f"{name}/{uuid4()}", **order[name])
    burned = []
    for _ in order:
        before = await remaining(purse)
        await purse.debit("1", scope="images")
        after = await remaining(purse)
        burned += [name for name in order if before[name] != after[name]]
    assert burned == list(order)


async def test_credits_of_another_scope_are_not_touched(purse: Purse) -> None:
    await purse.grant("5", scope="images")
    await purse.grant("2")
    with pytest.raises(PaymentRequired) as refused:
        await purse.debit("3", scope="voice")
    assert refused.value.fields == {"required": "3.00", "available": "2.00"}
    with pytest.raises(PaymentRequired):
        await purse.debit("3")
    await purse.debit("7", scope="images")
    assert (await purse.books()).balance == 0


async def test_a_wallet_spends_only_what_was_paid_for(purse: Purse) -> None:
    await purse.grant("5", kind="trial", is_paid=False)
    await purse.grant("3")
    with pytest.raises(PaymentRequired) as refused:
        await purse.debit("4", paid_only=True)
    assert refused.value.fields["available"] == "3.00"
    await purse.debit("3", paid_only=True)
    await purse.debit("5")


async def test_a_shortfall_says_what_is_needed_and_what_is_there(purse: Purse) -> None:
    await purse.grant("1.5")
    with pytest.raises(PaymentRequired) as refused:
        await purse.debit("2")
    assert refused.value.code == "INSUFFICIENT_CREDITS"
    assert refused.value.http_status == 402
    assert refused.value.fields == {"required": "2.00", "available": "1.50"}
    assert (await purse.books()).entries == 1


async def test_a_debit_of_the_same_key_is_answered_once_and_taken_once(purse: Purse) -> None:
    await purse.grant("10")
    first = await purse.debit("2.5", key="event-1", detail={"model": "a"})
    await purse.debit("1")
    again = await purse.debit("2.50", key="event-1", detail={"model": "a"})
    assert again.replayed
    assert (again.transaction_id, again.balance) == (first.transaction_id, Decimal("7.5"))
    with pytest.raises(Invalid, match="IDEMPOTENCY_KEY_REUSED"):
        await purse.debit("2.5", key="event-1", detail={"model": "b"})
    assert (await purse.books()).balance == Decimal("6.5")


async def test_two_accounts_may_use_the_same_key(new_purse: Any) -> None:
    ours, theirs = await new_purse(), await new_purse()
    await ours.grant("1")
    await theirs.grant("1")
    assert not (await ours.debit("1", key="same")).replayed
    assert not (await theirs.debit("1", key="same")).replayed


async def test_a_debit_is_rounded_once_to_six_decimals(purse: Purse) -> None:
    await purse.grant("1")
    debit = await purse.debit("0.0000015")
    assert debit.amount == Decimal("0.000002")
    assert (await purse.books()).balance == Decimal("0.999998")


@pytest.mark.parametrize("amount", ["0", "-1", "0.0000001", "1000000000000000"])
async def test_an_amount_that_cannot_be_booked_is_refused(purse: Purse, amount: str) -> None:
    with pytest.raises(Invalid, match="INVALID_AMOUNT"):
        await purse.debit(amount)
    assert (await purse.books()).entries == 0


async def test_debt_is_paid_by_the_next_grant_with_an_entry_of_its_own(purse: Purse) -> None:
    await purse.allow_debt("30")
    await purse.debit("30", force=True)
    first = await purse.grant("20")
    assert (first.debt_paid, first.balance) == decimals(20, 0)
    second = await purse.grant("50")
    assert (second.debt_paid, second.balance) == decimals(10, 40)
    books = await purse.books()
    assert (books.debt, books.balance) == decimals(0, 40)
    assert books.entries == 5


async def test_a_forced_debit_takes_what_is_there_and_owes_the_rest(purse: Purse) -> None:
    await purse.grant("4")
    await purse.grant("5", scope="images")
    await purse.allow_debt("10")
    debit = await purse.debit("10", key="job", force=True)
    assert (debit.amount, debit.debt, debit.balance) == decimals(10, 6, 5)
    again = await purse.debit("10", key="job", force=True)
    assert (again.replayed, again.debt, again.transaction_id) == (
        True, Decimal(6), debit.transaction_id,
    )  # fmt: skip
    with pytest.raises(PaymentRequired) as refused:
        await purse.debit("4.5", force=True)
    assert refused.value.fields == {"required": "4.50", "available": "4.00"}
    with pytest.raises(PaymentRequired):
        await purse.debit("1")
    await purse.debit("9", scope="images", force=True)
    books = await purse.books()
    assert (books.balance, books.debt) == decimals(0, 10)


async def test_without_an_overdraft_force_goes_no_further_than_the_balance(purse: Purse) -> None:
    await purse.grant("4")
    with pytest.raises(PaymentRequired):
        await purse.debit("4.000001", force=True)
    assert (await purse.debit("4", force=True)).debt == 0


async def test_credits_used_on_credit_count_once_when_they_are_used(purse: Purse) -> None:
    await purse.allow_debt("8")
    await purse.debit("8", force=True)
    await purse.grant("20")
    async with purse.transaction() as connection:
        balance = await service.lock(connection, purse.id)
    assert (balance.used, balance.debt, balance.balance) == decimals(8, 0, 12)


async def test_an_operator_takes_credits_away_and_nobody_used_them(purse: Purse) -> None:
    await purse.grant("3")
    await purse.grant("4")
    await purse.hold("2")
    facts = {"amount": Decimal(5), "key": f"take/{uuid4()}", "reason": "granted in error"}
    taken = await purse.do(service.take, **facts)
    assert (taken.amount, taken.balance, taken.replayed) == (5, 2, False)
    assert (await purse.do(service.take, **facts)).replayed
    with pytest.raises(PaymentRequired) as refused:
        await purse.do(service.take, **(facts | {"key": f"take/{uuid4()}"}))
    assert refused.value.fields == {"required": "5.00", "available": "0"}
    async with purse.transaction() as connection:
        assert (await service.lock(connection, purse.id)).used == 0


async def test_an_account_pays_in_one_currency_for_good(purse: Purse) -> None:
    async with purse.transaction() as connection:
        await service.fix_currency(connection, purse.id, "EUR")
        await service.fix_currency(connection, purse.id, "EUR")
        with pytest.raises(Conflict) as refused:
            await service.fix_currency(connection, purse.id, "USD")
    assert (refused.value.code, refused.value.http_status) == ("CURRENCY_MISMATCH", 409)


async def test_an_account_that_is_not_there_is_not_found(purse: Purse) -> None:
    nobody = Purse(purse.database, uuid4())
    for verb in (nobody.debit("1"), nobody.grant("1"), nobody.hold("1"), nobody.do(service.lapse)):
        with pytest.raises(NotFound):
            await verb
    async with nobody.transaction() as connection:
        with pytest.raises(NotFound):
            await service.lock(connection, nobody.id)


async def test_a_debit_carries_the_account_s_own_time(new_purse: Any) -> None:
    purse: Purse = await new_purse(clock_at=SPRING)
    await purse.grant("1")
    debit = await purse.debit("1")
    async with purse.transaction() as connection:
        at = await connection.scalar(
            select(credit_transactions.c.at).where(credit_transactions.c.id == debit.transaction_id)
        )
    assert at == SPRING


async def test_the_ledger_never_goes_back_in_time(new_purse: Any) -> None:
    purse: Purse = await new_purse(clock_at=SPRING)
    await purse.grant("2")
    await purse.debit("1", at=SUMMER)
    await purse.debit("1", at=SPRING)
    await purse.grant("1", at=SPRING)
    async with purse.transaction() as connection:
        rows = await connection.execute(
            select(credit_transactions.c.at)
            .where(credit_transactions.c.account_id == purse.id)
            .order_by(credit_transactions.c.seq)
        )
        assert list(rows.scalars()) == [SPRING, SUMMER, SUMMER, SUMMER]
