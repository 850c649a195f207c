"""A refund takes back what was not spent, waits for what is held, and books the rest as lost."""

from decimal import Decimal
from uuid import uuid4

import pytest
from sqlalchemy import select

from billing.core.errors import Invalid, NotFound
from billing.ledger.credits import service
from billing.ledger.credits.schemas import Clawback
from billing.ledger.credits.tables import credit_lots
from tests.integration.credits import holding
from tests.integration.credits.accounts import CreditAccount
from tests.integration.credits.books import decimals


async def claw(account: CreditAccount, grant_key: str, amount: str, key: str = "") -> Clawback:
    answer: Clawback = await account.do(
        service.clawback,
        grant_key=grant_key,
        amount=Decimal(amount),
        key=key or f"refund/{uuid4()}",
        reason="refund",
    )
    return answer


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
    await account.do(holding.capture, hold_id=hold.hold_id, amount=Decimal(45))
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
