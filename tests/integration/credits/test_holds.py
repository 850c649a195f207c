"""Credits set aside: from which lots, until when, and what becomes of them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select

from billing.core.errors import Conflict, Invalid, NotFound, PaymentRequired
from billing.ledger.credits import service
from billing.matters.kinds import REST
from billing.matters.tables import matters
from tests.integration.credits import holding
from tests.integration.credits.accounts import CreditAccount
from tests.integration.credits.books import decimals

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


async def test_what_is_held_is_not_spent(account: CreditAccount) -> None:
    await account.grant("10")
    await account.hold("8")
    with pytest.raises(PaymentRequired) as refused:
        await account.debit("3")
    assert refused.value.fields["available"] == "2.00"
    books = await account.books()
    assert (books.balance, books.held) == decimals(10, 8)


async def test_a_capture_spends_a_part_and_gives_back_the_rest(account: CreditAccount) -> None:
    await account.grant("10")
    hold = await account.hold("8")
    capture = await account.do(holding.capture, hold_id=hold.hold_id, amount=Decimal(5))
    assert (capture.captured, capture.released, capture.balance) == (5, 3, 5)
    again = await account.do(holding.capture, hold_id=hold.hold_id, amount=Decimal(5))
    assert again.replayed
    assert again.transaction_id == capture.transaction_id
    books = await account.books()
    assert (books.balance, books.held) == decimals(5, 0)


async def test_a_hold_ends_once(account: CreditAccount) -> None:
    await account.grant("10")
    hold = await account.hold("4")
    released = await account.do(service.release, hold_id=hold.hold_id)
    assert (released.released, released.replayed) == (4, False)
    assert (await account.do(service.release, hold_id=hold.hold_id)).replayed
    with pytest.raises(Conflict, match="HOLD_RESOLVED") as refused:
        await account.do(holding.capture, hold_id=hold.hold_id)
    assert refused.value.fields == {"hold_status": "released"}
    assert (await account.books()).balance == 10


async def test_a_capture_takes_no_more_than_was_held(account: CreditAccount) -> None:
    await account.grant("10")
    hold = await account.hold("4")
    with pytest.raises(Invalid, match="HOLD_EXCEEDED"):
        await account.do(holding.capture, hold_id=hold.hold_id, amount=Decimal(5))
    await account.do(holding.capture, hold_id=hold.hold_id)
    with pytest.raises(Conflict, match="HOLD_RESOLVED"):
        await account.do(holding.capture, hold_id=hold.hold_id, amount=Decimal(3))


async def test_another_account_s_hold_is_not_there(new_account: Any) -> None:
    ours, theirs = await new_account(), await new_account()
    await theirs.grant("5")
    hold = await theirs.hold("5")
    for verb in (holding.capture, service.release):
        with pytest.raises(NotFound, match="HOLD_NOT_FOUND"):
            await ours.do(verb, hold_id=hold.hold_id)
    assert (await theirs.books()).held == 5


async def test_a_hold_of_the_same_key_is_made_once(account: CreditAccount) -> None:
    await account.grant("10")
    until = datetime(2100, 1, 1, tzinfo=UTC)
    first = await account.hold("4", key="job-1", expires_at=until)
    again = await account.hold("4", key="job-1", expires_at=until)
    assert (again.replayed, again.hold_id) == (True, first.hold_id)
    with pytest.raises(Invalid, match="IDEMPOTENCY_KEY_REUSED"):
        await account.hold("5", key="job-1", expires_at=until)
    assert (await account.books()).held == 4


async def test_a_hold_ends_after_it_begins(new_account: Any) -> None:
    account: CreditAccount = await new_account(clock_at=NOON)
    await account.grant("10")
    with pytest.raises(Invalid, match="INVALID_EXPIRY"):
        await account.hold("1", expires_at=NOON)


async def test_a_hold_that_expired_is_gone_although_no_process_ran(new_account: Any) -> None:
    account: CreditAccount = await new_account(clock_at=NOON)
    await account.grant("10")
    hold = await account.hold("10", expires_at=NOON + HOUR)
    await account.debit("10", at=NOON + HOUR)
    with pytest.raises(Conflict, match="the hold is already expired"):
        await account.do(holding.capture, hold_id=hold.hold_id, at=NOON + HOUR)
    assert (await account.books()).balance == 0


async def test_a_held_part_outlives_its_lot_until_it_is_captured(new_account: Any) -> None:
    account: CreditAccount = await new_account(clock_at=NOON)
    await account.grant("10", expires_at=NOON + HOUR)
    hold = await account.hold("6", expires_at=NOON + 3 * HOUR)
    expired = await account.do(service.expire, at=NOON + 2 * HOUR)
    assert (expired.credits, expired.next_expiry) == (4, NOON + 3 * HOUR)
    assert (await account.books()).balance == 6
    await account.do(holding.capture, hold_id=hold.hold_id, at=NOON + 2 * HOUR)
    assert (await account.books()).balance == 0


async def test_what_is_released_from_an_ended_lot_expires_with_it(new_account: Any) -> None:
    account: CreditAccount = await new_account(clock_at=NOON)
    await account.grant("10", expires_at=NOON + HOUR)
    hold = await account.hold("6", expires_at=NOON + 3 * HOUR)
    capture = await account.do(
        holding.capture, hold_id=hold.hold_id, amount=Decimal(1), at=NOON + 2 * HOUR
    )
    assert capture.released == 5
    books = await account.books()
    # The grant, the lot's own end, the capture, and the end of what the capture gave back.
    assert (books.balance, books.held) == decimals(0, 0)
    assert books.entries == 4


async def test_a_long_hold_lets_the_account_s_workflow_rest_and_a_short_one_wakes_it(
    new_account: Any,
) -> None:
    account: CreditAccount = await new_account(clock_at=NOON)
    await account.grant("10")
    stands = []
    for beyond in (REST + HOUR, REST):
        await account.hold("1", expires_at=NOON + beyond)
        async with account.transaction() as connection:
            rows = await connection.execute(select(matters.c.status, matters.c.next_due))
            stands.append(tuple(rows.one()))
    assert stands == [
        ("resting", NOON + REST + HOUR),
        ("open", NOON + REST),
    ]
