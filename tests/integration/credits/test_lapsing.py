"""Credits end at their time: with their entry, their event, and at the account's own clock."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from billing.core import ids
from billing.core.errors import NotFound, PaymentRequired
from billing.core.money import show_decimal
from billing.credits import service, store
from billing.credits.tables import credit_transactions
from billing.events.tables import events
from tests.integration.credits.books import decimals
from tests.integration.credits.conftest import Purse

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


async def entries(purse: Purse) -> list[tuple[str, str, datetime]]:
    """(kind, amount, time) of every entry, oldest first."""
    async with purse.transaction() as connection:
        rows = await connection.execute(
            select(
                credit_transactions.c.kind, credit_transactions.c.amount, credit_transactions.c.at
            )
            .where(credit_transactions.c.account_id == purse.id)
            .order_by(credit_transactions.c.seq)
        )
        return [(row.kind, show_decimal(row.amount), row.at) for row in rows]


async def test_a_debit_after_the_end_meets_nothing_although_no_process_ran(new_purse: Any) -> None:
    purse: Purse = await new_purse(clock_at=NOON)
    await purse.grant("10", expires_at=NOON + DAY)
    await purse.grant("1")
    with pytest.raises(PaymentRequired) as refused:
        await purse.debit("2", at=NOON + DAY)
    assert refused.value.fields["available"] == "1.00"
    await purse.debit("1", at=NOON + 2 * DAY)
    ended, spent = (await entries(purse))[-2:]
    assert ended == ("lapse", "-10.00", NOON + DAY)
    assert spent == ("debit", "-1.00", NOON + 2 * DAY)


async def test_lots_end_in_order_each_at_its_own_time_with_an_event(new_purse: Any) -> None:
    purse: Purse = await new_purse(clock_at=NOON)
    later = await purse.grant("5", expires_at=NOON + 2 * DAY)
    sooner = await purse.grant("3", expires_at=NOON + DAY)
    await purse.grant("2")
    lapsed = await purse.do(service.lapse, at=NOON + 3 * DAY)
    assert (lapsed.credits, lapsed.holds, lapsed.next_expiry) == (8, 0, None)
    assert (await entries(purse))[-2:] == [
        ("lapse", "-3.00", NOON + DAY),
        ("lapse", "-5.00", NOON + 2 * DAY),
    ]
    async with purse.transaction() as connection:
        rows = await connection.execute(
            select(events.c.data, events.c.occurred_at)
            .where(
                events.c.account_id == purse.id,
                events.c.type == "evt.billing.credits.expired",
            )
            .order_by(events.c.seq)
        )
        told = list(rows)
    assert [row.occurred_at for row in told] == [NOON + DAY, NOON + 2 * DAY]
    assert told[0].data == {
        "account_id": ids.encode(ids.ACCOUNT, purse.id),
        "lot_id": ids.encode(ids.LOT, sooner.lot_id),
        "credits": "3.00",
        "balance": "7.00",
        "reason": "expired",
    }
    assert told[1].data["lot_id"] == ids.encode(ids.LOT, later.lot_id)
    assert (await purse.do(service.lapse, at=NOON + 3 * DAY)).credits == 0


async def test_a_hold_that_ends_before_its_lot_frees_what_the_lot_then_takes_along(
    new_purse: Any,
) -> None:
    purse: Purse = await new_purse(clock_at=NOON)
    await purse.grant("10", expires_at=NOON + 2 * DAY)
    await purse.hold("6", expires_at=NOON + DAY)
    lapsed = await purse.do(service.lapse, at=NOON + 3 * DAY)
    assert (int(lapsed.credits), lapsed.holds) == (10, 1)
    assert (await entries(purse))[-1] == ("lapse", "-10.00", NOON + 2 * DAY)
    books = await purse.books()
    assert (books.balance, books.held) == decimals(0, 0)


async def test_credits_that_arrive_after_their_end_lapse_at_once(new_purse: Any) -> None:
    purse: Purse = await new_purse(clock_at=NOON)
    await purse.grant("5", expires_at=NOON - DAY)
    assert [kind for kind, _, _ in await entries(purse)] == ["grant", "lapse"]
    assert (await purse.books()).balance == 0


async def test_a_trial_that_is_over_ends_its_own_lot_only(new_purse: Any) -> None:
    purse: Purse = await new_purse(clock_at=NOON)
    key = f"trial/{purse.id}"
    await purse.grant("500", key=key, kind="trial", is_paid=False, expires_at=NOON + 14 * DAY)
    await purse.grant("100")
    await purse.debit("200")
    hold = await purse.hold("50", expires_at=NOON + 20 * DAY)
    ended = await purse.do(service.lapse_lot, grant_key=key, at=NOON + DAY, reason="trial over")
    assert (ended.lapsed, ended.held) == (250, 50)
    assert (await purse.books()).balance == 150
    await purse.do(service.release, hold_id=hold.hold_id, at=NOON + 2 * DAY)
    again = await purse.do(service.lapse_lot, grant_key=key, at=NOON + 2 * DAY, reason="again")
    assert (again.lapsed, again.held) == (300, 0)
    assert (await purse.books()).balance == 100


async def test_a_lot_already_ended_by_the_clock_is_reported_all_the_same(new_purse: Any) -> None:
    purse: Purse = await new_purse(clock_at=NOON)
    key = f"trial/{purse.id}"
    await purse.grant("500", key=key, kind="trial", is_paid=False, expires_at=NOON + DAY)
    await purse.do(service.lapse, at=NOON + DAY)
    ended = await purse.do(service.lapse_lot, grant_key=key, at=NOON + DAY, reason="trial over")
    assert ended.lapsed == 500
    with pytest.raises(NotFound):
        await purse.do(service.lapse_lot, grant_key="trial/none", at=NOON, reason="trial over")


async def test_a_read_takes_off_what_lapsed_and_writes_nothing(new_purse: Any) -> None:
    purse: Purse = await new_purse(clock_at=NOON)
    await purse.grant("10", expires_at=NOON + DAY)
    await purse.grant("5")
    await purse.hold("3", expires_at=NOON + 2 * DAY)
    before = await purse.books()
    async with purse.transaction() as connection:
        found = {
            days: await store.balance_at(connection, purse.id, NOON + days * DAY)
            for days in (0, 1, 2)
        }
    assert [(int(b.balance), int(b.held)) for b in found.values() if b] == [(15, 3), (8, 3), (5, 0)]
    assert await purse.books() == before
