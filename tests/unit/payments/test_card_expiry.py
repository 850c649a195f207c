"""A card lives to the last instant of its month, where its owner is."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from billing.money.payment_methods.rules import expiry_is_untold, valid_until
from billing.money.payment_methods.schemas import Method

START = datetime(2027, 1, 1, tzinfo=UTC)


def card(year: int | None, month: int | None, told: str | None = None) -> Method:
    return Method(
        id=uuid4(), account_id=uuid4(), stripe_payment_method_id="pm_1", chosen_at=START,
        created_at=START, exp_year=year, exp_month=month, told_expiry=told,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("year", "month", "zone", "until"),
    [
        (2027, 3, "UTC", datetime(2027, 4, 1, tzinfo=UTC)),
        (2027, 12, "UTC", datetime(2028, 1, 1, tzinfo=UTC)),
        (2027, 11, "America/New_York", datetime(2027, 12, 1, 5, tzinfo=UTC)),
        (2028, 1, "Asia/Tokyo", datetime(2028, 1, 31, 15, tzinfo=UTC)),
    ],
)
def test_a_card_lives_to_the_end_of_its_month(
    year: int, month: int, zone: str, until: datetime
) -> None:
    assert valid_until(card(year, month), zone) == until


def test_a_bank_account_never_ends() -> None:
    assert valid_until(card(None, None), "UTC") is None
    assert not expiry_is_untold(card(None, None))


@pytest.mark.parametrize(
    ("told", "is_untold"),
    [(None, True), ("2026-12", True), ("2027-02", True), ("2027-03", False), ("2027-10", False)],
)
def test_each_expiry_is_told_once(told: str | None, is_untold: bool) -> None:
    assert expiry_is_untold(card(2027, 3, told)) is is_untold
