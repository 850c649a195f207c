"""An invoice beside a period's has the percentages that the period began with, and no others."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from uuid import UUID

import pytest

from billing.core.ids import new
from billing.matters.effects import Rows, Work
from billing.money.discounts.schemas import Discount, DiscountStatus
from billing.money.discounts.service import Redeeming
from billing.money.discounts.transitions import beside_period, of_period, use
from billing.money.invoices.transitions import InvoiceFacts

BEGUN = datetime(2027, 6, 1, tzinfo=UTC)
TICK = timedelta(microseconds=1)
HOUR = timedelta(hours=1)


def half(at: datetime, status: DiscountStatus = "active", left: int | None = None) -> Discount:
    return Discount(
        id=UUID(int=1), account_id=UUID(int=2), coupon_id=UUID(int=3), subscription_id=UUID(int=4),
        code="HALF", percent=Decimal(50), periods_left=left, status=status, created_at=at,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("redeemed", "status", "of_change", "is_off"),
    [
        (BEGUN - HOUR, "active", False, True),
        (BEGUN, "active", False, True),
        (BEGUN + TICK, "active", False, False),
        (BEGUN + HOUR, "active", False, False),
        (BEGUN + HOUR, "active", True, False),
        (BEGUN + HOUR, "reserved", True, True),
        (BEGUN + HOUR, "reserved", False, False),
    ],
)
def test_one_redeemed_since_is_off_its_own_change_only(
    redeemed: datetime, status: DiscountStatus, of_change: bool, is_off: bool
) -> None:
    rows = Rows([half(redeemed, status)])
    found = beside_period(rows, begun=BEGUN, of_change=of_change)
    assert bool(found) == is_off, f"redeemed {redeemed - BEGUN} after the period began: {found}"


@pytest.mark.parametrize(
    ("since", "at", "redeemed"),
    [
        (None, BEGUN, BEGUN),
        (BEGUN, BEGUN, BEGUN + TICK),
        (BEGUN, BEGUN + HOUR, BEGUN + HOUR),
    ],
)
def test_on_a_running_subscription_it_is_redeemed_after_its_period_began(
    since: datetime | None, at: datetime, redeemed: datetime
) -> None:
    wanted = Redeeming(code="HALF", product="pro", currency="USD", running_since=since)
    assert wanted.redeemed_at(at) == redeemed


@pytest.mark.parametrize(("since", "is_off"), [(BEGUN, True), (BEGUN + HOUR, False)])
def test_the_last_period_that_it_is_good_for_has_it_to_its_end(
    since: datetime, is_off: bool
) -> None:
    work = Work(Rows([half(BEGUN, left=1)]), InvoiceFacts(at=BEGUN, real_at=BEGUN, new_id=new))
    use(work, {"HALF"}, BEGUN)
    assert [one.status for one in work.rows.of(Discount)] == ["ended"]
    assert bool(beside_period(work.rows, begun=since, of_change=False)) == is_off
    assert not of_period(work.rows, Fraction(1))


@pytest.mark.parametrize(("gone_at", "is_off"), [(BEGUN + HOUR, True), (BEGUN + TICK, False)])
def test_one_that_ended_with_its_subscription_is_off_late_use(
    gone_at: datetime, is_off: bool
) -> None:
    ended = half(BEGUN, "ended").model_copy(update={"ended_at": gone_at})
    found = beside_period(Rows([ended]), begun=BEGUN, of_change=False, until=BEGUN + HOUR)
    assert bool(found) == is_off, "one that was removed before is off nothing"


def test_the_period_whose_invoice_has_it_began_with_it() -> None:
    # The preview of the change that began the period was older than the redemption.
    late = half(BEGUN + HOUR, "reserved", left=2)
    work = Work(Rows([late]), InvoiceFacts(at=BEGUN + HOUR, real_at=BEGUN + HOUR, new_id=new))
    use(work, {"HALF"}, BEGUN)
    left = beside_period(work.rows, begun=BEGUN, of_change=False)
    assert [(one.status, one.periods_left) for one in left] == [("active", 1)]


def test_the_period_before_does_not_have_what_begins_the_next_one() -> None:
    once = half(BEGUN, "reserved", left=1)
    work = Work(Rows([once]), InvoiceFacts(at=BEGUN, real_at=BEGUN, new_id=new))
    use(work, {"HALF"}, BEGUN)
    assert not beside_period(work.rows, begun=BEGUN - HOUR, of_change=False)
    assert [one.use_since for one in work.rows.of(Discount)] == [BEGUN]


def test_one_limited_to_what_is_sold_comes_first_whenever_it_was_redeemed() -> None:
    wide = half(BEGUN - HOUR)
    narrow = wide.model_copy(update={"id": UUID(int=5), "sold": ("pro",), "created_at": BEGUN})
    assert of_period(Rows([wide, narrow]), Fraction(1, 2)) == (narrow, wide)
