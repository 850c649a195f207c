"""Credits end at their time: with their entry, their event, and at the account's own clock."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from billing.core import ids
from billing.core.errors import NotFound, PaymentRequired
from billing.core.money import show_decimal
from billing.ledger.credits import expiry_notices, service
from billing.ledger.credits.tables import credit_transactions
from billing.platform.outbox.tables import events
from tests.integration.credits.accounts import CreditAccount
from tests.integration.credits.books import balance_at, decimals

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


async def entries(account: CreditAccount) -> list[tuple[str, str, datetime]]:
    """(kind, amount, time) of every entry, oldest first."""
    async with account.transaction() as connection:
        rows = await connection.execute(
            select(
                credit_transactions.c.kind, credit_transactions.c.amount, credit_transactions.c.at
            )
            .where(credit_transactions.c.account_id == account.id)
            .order_by(credit_transactions.c.seq)
        )
        return [(row.kind, show_decimal(row.amount), row.at) for row in rows]


async def test_a_debit_after_the_end_meets_nothing_although_no_process_ran(
    new_account: Any,
) -> None:
    account: CreditAccount = await new_account(clock_at=NOON)
    await account.grant("10", expires_at=NOON + DAY)
    await account.grant("1")
    with pytest.raises(PaymentRequired) as refused:
        await account.debit("2", at=NOON + DAY)
    assert refused.value.fields["available"] == "1.00"
    await account.debit("1", at=NOON + 2 * DAY)
    ended, spent = (await entries(account))[-2:]
    assert ended == ("expire", "-10.00", NOON + DAY)
    assert spent == ("debit", "-1.00", NOON + 2 * DAY)


async def test_lots_end_in_order_each_at_its_own_time_with_an_event(new_account: Any) -> None:
    account: CreditAccount = await new_account(clock_at=NOON)
    later = await account.grant("5", expires_at=NOON + 2 * DAY)
    sooner = await account.grant("3", expires_at=NOON + DAY)
    await account.grant("2")
    expired = await account.do(service.expire, at=NOON + 3 * DAY)
    assert (expired.credits, expired.holds, expired.next_expiry) == (8, 0, None)
    assert (await entries(account))[-2:] == [
        ("expire", "-3.00", NOON + DAY),
        ("expire", "-5.00", NOON + 2 * DAY),
    ]
    async with account.transaction() as connection:
        rows = await connection.execute(
            select(events.c.data, events.c.occurred_at)
            .where(
                events.c.account_id == account.id,
                events.c.type == "evt.billing.credits.expired",
            )
            .order_by(events.c.seq)
        )
        told = list(rows)
    assert [row.occurred_at for row in told] == [NOON + DAY, NOON + 2 * DAY]
    assert told[0].data == {
        "account_id": ids.encode(ids.ACCOUNT, account.id),
        "lot_id": ids.encode(ids.LOT, sooner.lot_id),
        "credits": "3.00",
        "balance": "7.00",
        "reason": "expired",
    }
    assert told[1].data["lot_id"] == ids.encode(ids.LOT, later.lot_id)
    assert (await account.do(service.expire, at=NOON + 3 * DAY)).credits == 0


async def test_a_hold_that_ends_before_its_lot_frees_what_the_lot_then_takes_along(
    new_account: Any,
) -> None:
    account: CreditAccount = await new_account(clock_at=NOON)
    await account.grant("10", expires_at=NOON + 2 * DAY)
    await account.hold("6", expires_at=NOON + DAY)
    expired = await account.do(service.expire, at=NOON + 3 * DAY)
    assert (int(expired.credits), expired.holds) == (10, 1)
    assert (await entries(account))[-1] == ("expire", "-10.00", NOON + 2 * DAY)
    books = await account.books()
    assert (books.balance, books.held) == decimals(0, 0)


async def test_credits_that_arrive_after_their_end_expire_at_once(new_account: Any) -> None:
    account: CreditAccount = await new_account(clock_at=NOON)
    await account.grant("5", expires_at=NOON - DAY)
    assert [kind for kind, _, _ in await entries(account)] == ["grant", "expire"]
    assert (await account.books()).balance == 0


async def test_a_trial_that_is_over_ends_its_own_lot_only(new_account: Any) -> None:
    account: CreditAccount = await new_account(clock_at=NOON)
    key = f"trial/{account.id}"
    await account.grant("500", key=key, kind="trial", is_paid=False, expires_at=NOON + 14 * DAY)
    await account.grant("100")
    await account.debit("200")
    hold = await account.hold("50", expires_at=NOON + 20 * DAY)
    ended = await account.do(service.expire_lot, grant_key=key, at=NOON + DAY, reason="trial over")
    assert (ended.expired, ended.held) == (250, 50)
    assert (await account.books()).balance == 150
    await account.do(service.release, hold_id=hold.hold_id, at=NOON + 2 * DAY)
    again = await account.do(service.expire_lot, grant_key=key, at=NOON + 2 * DAY, reason="again")
    assert (again.expired, again.held) == (300, 0)
    assert (await account.books()).balance == 100


async def test_a_lot_already_ended_by_the_clock_is_reported_all_the_same(new_account: Any) -> None:
    account: CreditAccount = await new_account(clock_at=NOON)
    key = f"trial/{account.id}"
    await account.grant("500", key=key, kind="trial", is_paid=False, expires_at=NOON + DAY)
    await account.do(service.expire, at=NOON + DAY)
    ended = await account.do(service.expire_lot, grant_key=key, at=NOON + DAY, reason="trial over")
    assert ended.expired == 500
    with pytest.raises(NotFound):
        await account.do(service.expire_lot, grant_key="trial/none", at=NOON, reason="trial over")


async def test_a_read_takes_off_what_expired_and_writes_nothing(new_account: Any) -> None:
    account: CreditAccount = await new_account(clock_at=NOON)
    await account.grant("10", expires_at=NOON + DAY)
    await account.grant("5")
    await account.hold("3", expires_at=NOON + 2 * DAY)
    before = await account.books()
    async with account.transaction() as connection:
        found = {
            days: await balance_at(connection, account.id, NOON + days * DAY) for days in (0, 1, 2)
        }
    told = [(int(balance), int(held)) for balance, held, _ in found.values()]
    assert told == [(15, 3), (8, 3), (5, 0)]
    assert await account.books() == before


async def test_credits_that_are_on_hold_at_their_notice_are_told_of_too(new_account: Any) -> None:
    account: CreditAccount = await new_account(clock_at=NOON)
    await account.grant("5", expires_at=NOON + 30 * DAY)
    await account.grant("7", expires_at=NOON + 30 * DAY)
    hold = await account.hold("8", expires_at=NOON + 24 * DAY)
    told = await account.do(expiry_notices.notify, ahead=7 * DAY, at=NOON + 23 * DAY)
    await account.do(service.release, hold_id=hold.hold_id, at=NOON + 23 * DAY)
    again = await account.do(expiry_notices.notify, ahead=7 * DAY, at=NOON + 24 * DAY)
    ended = await account.do(service.expire, at=NOON + 30 * DAY)
    assert (told, again, ended.credits) == decimals(12, 0, 12)
    async with account.transaction() as connection:
        rows = await connection.scalars(
            select(events.c.data["credits"].astext)
            .where(events.c.account_id == account.id, events.c.type == expiry_notices.EXPIRING)
            .order_by(events.c.seq)
        )
        assert list(rows) == ["5.00", "7.00"]
