"""A month that is not over is refused in words that fit it."""

from datetime import date

import pytest

from billing.metering.usage.rules import FIRST_MONTH
from cli import months
from cli.month_files import Month

MONTH = "2026-11 may still arrive: a month is complete 35 days after its end, 2026-12-01"
BEFORE = "the time before 2026-12-01 may still arrive: before is complete 35 days after that day"


@pytest.mark.parametrize(("month", "words"), [(date(2026, 11, 1), MONTH), (FIRST_MONTH, BEFORE)])
def test_a_month_that_is_not_over_is_refused_in_words_that_fit(month: date, words: str) -> None:
    one = Month(
        table="t", records=1, size=1, month=month, until=date(2026, 12, 1), is_frozen=False,
        is_busy=False,
    )  # fmt: skip
    assert months.not_over(one) == f"MONTH_NOT_OVER: uses of {words}"
