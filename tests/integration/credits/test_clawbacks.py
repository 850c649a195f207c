"""A refund takes back what was not spent, waits for what is held, and books the rest as lost."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select

from billing.core.errors import Invalid, NotFound
from billing.ledger.credits import expiry_notices, service
from billing.ledger.credits.schemas import Clawback, Returned
from billing.ledger.credits.tables import credit_lots, credit_transactions
from tests.integration.credits import holding
from tests.integration.credits.accounts import CreditAccount
from tests.integration.credits.books import decimals

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


async def claw(account: CreditAccount, grant_key: str, amount: str, key: str = "") -> Clawback:
    answer: Clawback = await account.do(
        service.clawback,
        grant_key=grant_key,
        amount=Decimal(amount),
        key=key or f"refund/{uuid4()}",
        reason="refund",
    )
    return answer


async def win(account: CreditAccount, grant_key: str, taken_by: str, at: datetime) -> Returned:
    """The dispute is won: the clawback with that key gives back."""
    answer: Returned = await account.do(
        service.return_clawback,
        grant_key=grant_key,
        clawback_key=taken_by,
        key=f"{taken_by}/back",
        at=at,
    )
    return answer


async def expiries(account: CreditAccount) -> list[tuple[str, int, datetime]]:
    """(end of the key, credits, time) of each expiry."""
    async with account.transaction() as connection:
        rows = await connection.execute(
            select(credit_transactions)
            .where(credit_transactions.c.kind == "expire")
            .order_by(credit_transactions.c.seq)
        )
        return [(row.key.partition("/")[2], -int(row.amount), row.at) for row in rows]


async def lot(account: CreditAccount, grant_key: str) -> tuple[Decimal, ...]:
    """(remaining, clawed, claimed, lost)."""
    async with account.transaction() as connection:
        row = (
            await connection.execute(
                select(credit_lots).where(credit_lots.c.grant_key == grant_key)
            )
        ).one()
    return row.remaining, row.clawed, row.claimed, row.lost


async def test_an_unspent_pack_is_taken_back_whole(account: CreditAccount) -> None:
    key = f"pur/{uuid4()}"
    await account.grant("100", key=key)
    taken = await claw(account, key, "100")
    assert (taken.taken, taken.pending, taken.loss) == decimals(100, 0, 0)
    assert (await account.books()).balance == 0


async def test_what_was_spent_is_lost_and_no_other_lot_pays_for_it(account: CreditAccount) -> None:
    key = f"pur/{uuid4()}"
    await account.grant("100", key=key)
    await account.debit("70")
    await account.grant("50")
    taken = await claw(account, key, "100")
    assert (taken.taken, taken.loss) == decimals(30, 70)
    assert (await account.books()).balance == 50


async def test_a_held_part_is_taken_when_it_is_released(account: CreditAccount) -> None:
    key = f"pur/{uuid4()}"
    await account.grant("100", key=key)
    hold = await account.hold("60")
    taken = await claw(account, key, "100")
    assert (taken.taken, taken.pending, taken.loss) == decimals(40, 60, 0)
    await account.do(service.release, hold_id=hold.hold_id)
    assert await lot(account, key) == decimals(0, 100, 0, 0)
    assert (await account.books()).balance == 0


async def test_a_held_part_that_is_captured_is_lost(account: CreditAccount) -> None:
    key = f"pur/{uuid4()}"
    await account.grant("100", key=key)
    hold = await account.hold("60")
    await claw(account, key, "100")
    for is_repeat in (False, True):
        done = await account.do(holding.capture, hold_id=hold.hold_id, amount=Decimal(45))
        assert (done.balance, done.replayed) == (0, is_repeat)
    assert await lot(account, key) == decimals(0, 55, 0, 45)
    assert (await account.books()).balance == 0


async def test_a_held_part_is_waited_for_once(account: CreditAccount) -> None:
    key = f"pur/{uuid4()}"
    await account.grant("100", key=key)
    await account.debit("30")
    hold = await account.hold("60")
    first, second = await claw(account, key, "50"), await claw(account, key, "40")
    assert (first.taken, first.pending, first.loss) == decimals(10, 40, 0)
    assert (second.taken, second.pending, second.loss) == decimals(0, 20, 20)
    await account.do(service.release, hold_id=hold.hold_id)
    assert await lot(account, key) == decimals(0, 70, 0, 20)


async def test_refunds_together_take_no_more_than_was_granted(account: CreditAccount) -> None:
    key = f"pur/{uuid4()}"
    await account.grant("100", key=key)
    await account.debit("80")
    first, second = await claw(account, key, "60"), await claw(account, key, "60")
    assert (first.taken, first.loss) == decimals(20, 40)
    assert (second.taken, second.loss) == decimals(0, 40)
    assert await lot(account, key) == decimals(0, 20, 0, 80)


async def test_a_refund_told_twice_takes_once(account: CreditAccount) -> None:
    key, refund = f"pur/{uuid4()}", f"refund/{uuid4()}"
    await account.grant("100", key=key)
    first = await claw(account, key, "30", refund)
    again = await claw(account, key, "30", refund)
    assert again == first.model_copy(update={"replayed": True})
    with pytest.raises(Invalid, match="IDEMPOTENCY_KEY_REUSED"):
        await claw(account, key, "31", refund)
    assert (await account.books()).balance == 70


async def test_a_grant_that_never_was_cannot_be_taken_back(account: CreditAccount) -> None:
    with pytest.raises(NotFound):
        await claw(account, "pur/none", "1")


async def test_a_lot_expires_again_once_a_won_dispute_revived_it(new_account: Any) -> None:
    account: CreditAccount = await new_account(clock_at=NOON)
    key, dispute = f"pur/{uuid4()}", f"dispute/{uuid4()}"
    await account.grant("100", key=key, expires_at=NOON + DAY)
    await claw(account, key, "40", dispute)
    await account.do(service.expire, at=NOON + 2 * DAY)
    back = await win(account, key, dispute, NOON + 2 * DAY)
    assert back.returned == 40
    assert back.expires_at == NOON + 32 * DAY
    await account.debit("10", at=NOON + 31 * DAY)
    await account.grant("5", at=NOON + 33 * DAY)
    await account.debit("5", at=NOON + 33 * DAY)
    first, second = await expiries(account)
    assert first == ("expire", 60, NOON + DAY)
    assert second[0].startswith("expire/")
    assert second[1:] == (30, NOON + 32 * DAY)
    assert (await account.books()).balance == 0


async def test_a_lot_that_lasts_longer_than_a_won_dispute_promises_keeps_its_end(
    new_account: Any,
) -> None:
    account: CreditAccount = await new_account(clock_at=NOON)
    key, dispute = f"pur/{uuid4()}", f"dispute/{uuid4()}"
    await account.grant("100", key=key, expires_at=NOON + 365 * DAY)
    await claw(account, key, "40", dispute)
    assert (await win(account, key, dispute, NOON + DAY)).expires_at == NOON + 365 * DAY


async def test_credits_that_come_back_with_a_later_end_are_told_of_before_it(
    new_account: Any,
) -> None:
    account: CreditAccount = await new_account(clock_at=NOON)
    key, dispute = f"pur/{uuid4()}", f"dispute/{uuid4()}"
    await account.grant("100", key=key, expires_at=NOON + 31 * DAY)
    ahead = 7 * DAY
    told = await account.do(expiry_notices.notify, ahead=ahead, at=NOON + 25 * DAY)
    await claw(account, key, "100", dispute)
    await win(account, key, dispute, NOON + 40 * DAY)
    again = await account.do(expiry_notices.notify, ahead=ahead, at=NOON + 64 * DAY)
    assert (told, again) == decimals(100, 100)


async def test_a_lot_to_which_nothing_comes_back_keeps_its_end(new_account: Any) -> None:
    account: CreditAccount = await new_account(clock_at=NOON)
    key, dispute = f"pur/{uuid4()}", f"dispute/{uuid4()}"
    await account.grant("100", key=key, expires_at=NOON + DAY)
    await account.debit("100")
    await claw(account, key, "40", dispute)
    back = await win(account, key, dispute, NOON + 2 * DAY)
    assert back.returned == 0
    assert back.expires_at is None
    async with account.transaction() as connection:
        ends = await connection.scalar(
            select(credit_lots.c.expires_at).where(credit_lots.c.grant_key == key)
        )
    assert ends == NOON + DAY


async def test_what_a_won_dispute_gives_back_pays_what_is_owed(account: CreditAccount) -> None:
    key, dispute = f"pur/{uuid4()}", f"dispute/{uuid4()}"
    await account.allow_debt("25")
    await account.grant("40", key=key)
    await claw(account, key, "40", dispute)
    await account.debit("25", force=True)
    back = await win(account, key, dispute, datetime.now(UTC))
    assert back.returned == 40
    books = await account.books()
    assert (books.balance, books.debt) == decimals(15, 0)
    assert await lot(account, key) == decimals(15, 0, 0, 0)
