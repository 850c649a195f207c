"""The ledger keeps what rolls over within the cap, cycle for cycle."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from uuid import uuid4

from billing.insight.timeline.foreseen import ForeseenCredits
from billing.ledger.credits import rollover
from billing.ledger.credits.schemas import Kept
from tests.integration.credits.accounts import CreditAccount


async def test_what_rolls_over_is_what_is_left_up_to_the_cap(account: CreditAccount) -> None:
    """Some cycles bring none, others less or more than the cap, and some of it is spent."""
    dice, day = Random(7), timedelta(days=1)
    cap, before, start = Decimal(150), Decimal(0), datetime.now(UTC)
    for _ in range(40):
        end, until = start + day, start + 2 * day
        own = Decimal(dice.choice((0, 0, 40, 150, 300)))
        if own:
            part = Kept(
                amount=min(own, cap), cap=cap, cycle_start=start, cycle_end=end, until=until
            )
            await account.do(
                rollover.grant, kept=part, amount=own, kind="plan", key=f"test/{uuid4()}",
                is_paid=False, reason="a cycle", subject="test", expires_at=end, at=start,
            )  # fmt: skip
        left = own + before
        assert (await account.books()).balance == left
        if gone := min(left, Decimal(dice.choice((0, 0, 30, 120, 200)))):
            await account.debit(str(gone), at=start + day / 2)
        await account.do(
            rollover.roll_over, subject="test", before=end, start=end, end=until,
            until=until + day, begins=True, at=end,
        )  # fmt: skip
        before, start = min(cap, left - gone), end
        assert (await account.books()).balance == before


async def test_the_highest_cap_holds_in_the_ledger_as_in_the_timeline(
    account: CreditAccount,
) -> None:
    """The plan changes now and then; some cycles bring none, and nothing is spent."""
    dice, day, start = Random(7), timedelta(days=1), datetime.now(UTC)
    foreseen, before, highest = ForeseenCredits((), ()), Decimal(0), Decimal(0)
    for _ in range(40):
        end, until = start + day, start + 2 * day
        cap, own = (Decimal(dice.choice(of)) for of in ((50, 50, 60, 80), (0, 33, 66, 101)))
        part = min(own, cap)
        if own:
            kept = Kept(amount=part, cap=cap, cycle_start=start, cycle_end=end, until=until)
            lot = {"kind": "plan", "key": f"test/{uuid4()}", "amount": own, "expires_at": end}
            foreseen.arrive(lot | {"kept": kept})
            await account.do(
                rollover.grant, kept=kept, is_paid=False, reason="a cycle", subject="test",
                at=start, **lot,
            )  # fmt: skip
            highest = max(highest, cap)
        cycle = {"before": end, "start": end, "end": until, "until": until + day, "begins": True}
        foreseen.roll_over(cycle)
        await account.do(rollover.roll_over, subject="test", at=end, **cycle)
        left, before, start = own + before, min(highest, part + before), end
        assert (await account.books()).balance == before
        assert sum(one.credits for one in foreseen.end(end)) == left - before
