"""Forecasts: never below what was used, equal to it at the end, and higher the more was used."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from billing.insight.forecasts import rules
from billing.insight.forecasts.schemas import Ahead, Day, Forecast
from billing.metering.usage import rules as usage_rules
from billing.metering.usage.schemas import Counter, PeriodLimit

MONDAY = date(2027, 1, 4)
amounts = st.decimals(min_value=0, max_value=10**9, places=3)
days = st.lists(amounts, max_size=28).map(
    lambda found: [Day(MONDAY + timedelta(days=n), amount) for n, amount in enumerate(found)]
)
ends = st.integers(0, 60 * 24 * 31).map(lambda minutes: timedelta(minutes=minutes))
START = datetime(2027, 3, 1, 7, tzinfo=UTC)


def to_come(length: timedelta, zone: str = "Europe/Berlin") -> list[Ahead]:
    return rules.days_ahead(START, START + length, zone)


@given(used=amounts, history=days, length=ends)
def test_a_forecast_is_never_below_what_was_used_and_lies_in_its_interval(
    used: Decimal, history: list[Day], length: timedelta
) -> None:
    found = rules.forecast(used, history, to_come(length))
    assert used <= found.low <= found.expected <= found.high


@given(used=amounts, history=days)
def test_at_the_end_it_is_what_was_used(used: Decimal, history: list[Day]) -> None:
    found = rules.forecast(used, history, to_come(timedelta()))
    assert found == Forecast(used, used, used, used)
    assert found.is_known


@given(used=amounts, more=amounts, history=days, length=ends, place=st.integers(0, 27))
def test_more_use_is_never_a_lower_forecast(
    used: Decimal, more: Decimal, history: list[Day], length: timedelta, place: int
) -> None:
    before = rules.forecast(used, history, to_come(length))
    after = rules.forecast(used + more, history, to_come(length))
    assert after.expected - before.expected == more
    if not history:
        return
    richer, place = list(history), place % len(history)
    richer[place] = Day(history[place].on, history[place].amount + more)
    assert rules.forecast(used, richer, to_come(length)).expected >= before.expected


@given(amount=amounts, length=ends)
def test_an_even_use_goes_on_evenly_and_is_certain(amount: Decimal, length: timedelta) -> None:
    history = [Day(MONDAY + timedelta(days=n), amount) for n in range(28)]
    ahead = rules.days_ahead(START, START + length, "UTC")
    found = rules.forecast(Decimal(0), history, ahead)
    rest = sum((day.part for day in ahead), Decimal(0))
    assert abs(found.expected - rest * amount) <= Decimal("0.001")
    assert found.low == found.expected == found.high


def test_weekends_are_expected_to_be_weekends() -> None:
    history = [
        Day(on, Decimal(0) if on.weekday() > 4 else Decimal(10))
        for on in (MONDAY + timedelta(days=n) for n in range(28))
    ]
    saturday = Ahead(MONDAY + timedelta(days=5), Decimal(1))
    monday = Ahead(MONDAY, Decimal(1))
    quiet = rules.forecast(Decimal(0), history, [saturday]).expected
    busy = rules.forecast(Decimal(0), history, [monday]).expected
    assert quiet < 2 < 9 < busy


def test_a_first_day_alone_says_little() -> None:
    found = rules.forecast(Decimal(5), [Day(MONDAY, Decimal(10))], to_come(timedelta(days=4)))
    assert (found.expected, found.low) == (Decimal(45), Decimal("19.368"))


def test_without_a_whole_day_nothing_is_known_but_what_was_used() -> None:
    found = rules.forecast(Decimal(5), [], to_come(timedelta(days=4)))
    assert (found.used, found.low, found.is_known) == (Decimal(5), Decimal(5), False)
    priced, free = (rules.beyond(Decimal(0), found, price) for price in (lambda more: more, None))
    assert (priced.is_known, free.is_known) == (False, True)
    assert not rules.together([priced, free]).is_known
    assert rules.together([free]).is_known
    assert rules.forecast(Decimal(5), [], []).is_known


@given(length=ends, zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]))
def test_the_parts_to_come_are_days_in_order_and_as_many_as_there_are(
    length: timedelta, zone: str
) -> None:
    found = rules.days_ahead(START, START + length, zone)
    assert all(0 < day.part <= 1 for day in found)
    assert [day.on for day in found] == sorted({day.on for day in found})
    whole = sum((day.part for day in found), Decimal(0))
    assert abs(whole - Decimal(length // timedelta(seconds=1)) / 86400) < Decimal("0.05")


@given(used=amounts, more=amounts, included=amounts, now=amounts)
def test_only_what_goes_beyond_the_plan_costs(
    used: Decimal, more: Decimal, included: Decimal, now: Decimal
) -> None:
    units = Forecast(used, used + more, used, used + more + 1)
    limit = PeriodLimit(included=included, then="overage", price="2")
    known = Counter(
        meter="m", quantity=used, events=1, maximum=used, last_value=used, credits=Decimal(0),
        overage=max(Decimal(0), used - included), overage_total=now, covered=min(used, included),
        net_overage=max(Decimal(0), used - included), net_overage_total=now,
    )  # fmt: skip
    found = rules.beyond(now, units, lambda more: usage_rules.beyond(limit, known, more, "USD"))
    new = max(Decimal(0), used + more - max(used, included))
    assert (found.used, found.low, found.expected) == (now, now, now + 2 * new)
    assert found.high >= found.expected


def test_no_forecast_is_larger_than_an_amount_can_be() -> None:
    history = [Day(MONDAY, Decimal(10**14))]
    found = rules.forecast(Decimal(1), history, to_come(timedelta(days=30)))
    assert found.expected == found.high == rules.MOST


def test_history_ends_yesterday_and_begins_after_the_day_of_the_first_use() -> None:
    today = MONDAY + timedelta(days=40)
    known = {today - timedelta(days=1): Decimal(3), today: Decimal(9)}
    found = rules.whole_days(today - timedelta(days=4), today, known)
    assert [day.amount for day in found] == [0, 0, 3]
    assert len(rules.whole_days(MONDAY, today, known)) == rules.HISTORY_DAYS
    assert rules.whole_days(today, today, known) == []


def test_a_first_day_that_began_at_night_is_no_whole_day() -> None:
    today = MONDAY + timedelta(days=1)
    assert rules.whole_days(MONDAY, today, {MONDAY: Decimal(10)}) == []
