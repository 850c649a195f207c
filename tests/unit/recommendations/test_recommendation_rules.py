"""Advice is arithmetic: never what would have cost as much or given less than was used."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from billing.catalog.rating.schemas import PriceTerms, Tier
from billing.core.periods import MONTH, Interval
from billing.insight.recommendations import rules
from billing.insight.recommendations.schemas import Lot, MeterTerms, PlanOffer

NOW = datetime(2027, 1, 1, tzinfo=UTC)
amounts = st.decimals(min_value=0, max_value=10_000, places=2)
prices = st.builds(PriceTerms, unit_price=amounts)
terms = st.builds(MeterTerms, included=amounts, price=st.none() | prices)
offers = st.builds(
    PlanOffer, key=st.sampled_from("abcd"), price=amounts, credits=amounts,
    features=st.just({}), limits=st.dictionaries(st.sampled_from(["m", "n"]), terms),
)  # fmt: skip
cycles = st.lists(st.dictionaries(st.sampled_from(["m", "n", "o"]), amounts), max_size=3)
lots = st.lists(
    st.builds(
        Lot, id=st.uuids().map(str), free=amounts.filter(bool),
        expires_at=st.integers(1, 40).map(lambda days: NOW + timedelta(days=days)),
    ),
    max_size=5,
)  # fmt: skip


def offer(
    key: str, price: int, included: int, each: str | None, **features: bool | int
) -> PlanOffer:
    limits = {
        "m": MeterTerms(Decimal(included), PriceTerms(unit_price=Decimal(each)) if each else None)
    }
    return PlanOffer(key, Decimal(price), Decimal(0), features, limits)


SMALL = offer("small", 10, 100, "0.10", seats=1)
LARGE = offer("large", 30, 1000, "0.05", seats=5, sso=True)
FREE = offer("free", 0, 100, None, seats=1)


def test_who_pays_much_overage_is_shown_the_larger_plan() -> None:
    found = rules.cheaper(SMALL, [LARGE, FREE], [{"m": Decimal(600)}] * 2, "USD", sold=())
    assert found is not None
    assert (found.plan, found.cycles, found.gives_up) == ("large", 2, ())
    assert [found.current_cost, found.cost, found.saving] == [Decimal(n) for n in (120, 60, 60)]
    assert found.units == {"m": Decimal(1200)}


def test_a_plan_that_gets_cheaper_by_tier_is_compared_by_its_tiers() -> None:
    tiers = (
        Tier(up_to=Decimal(100), unit_price=Decimal("0.10")), Tier(unit_price=Decimal("0.01")),
    )  # fmt: skip
    limits = {"m": MeterTerms(Decimal(100), PriceTerms(model="graduated", tiers=tiers))}
    falling = PlanOffer("falling", Decimal(10), Decimal(0), {}, limits)
    assert rules.cost(falling, {"m": Decimal(600)}) == 10 + 10 + 4
    found = rules.cheaper(SMALL, [LARGE, falling], [{"m": Decimal(600)}], "USD", sold=())
    assert found is not None
    assert (found.plan, found.saving) == ("falling", Decimal(60 - 24))


def test_who_uses_little_is_shown_the_smaller_plan_and_what_it_lacks() -> None:
    found = rules.cheaper(LARGE, [SMALL], [{"m": Decimal(50)}], "USD", sold=())
    assert found is not None
    assert (found.plan, found.saving) == ("small", Decimal(20))
    assert found.gives_up == ("seats", "sso")


def test_a_plan_that_would_have_stopped_the_use_is_never_advised() -> None:
    assert rules.cheaper(SMALL, [FREE], [{"m": Decimal(101)}], "USD", sold=()) is None
    assert rules.cheaper(SMALL, [FREE], [{"m": Decimal(100)}], "USD", sold=()) is not None
    assert rules.cheaper(SMALL, [FREE], [], "USD", sold=()) is None


def test_a_plan_without_a_limit_is_free_only_where_credits_do_not_pay() -> None:
    bare = PlanOffer("bare", Decimal(5), Decimal(0), {}, {})
    one = [{"m": Decimal(60), "n": Decimal(9)}]
    assert rules.cheaper(SMALL, [bare], one, "USD", sold={"m"}) is None
    assert rules.cheaper(SMALL, [bare, FREE], one, "USD", sold={"m"}) is not None
    assert rules.cheaper(SMALL, [bare], [{"m": Decimal(0)}], "USD", sold={"m"}) is not None
    found = rules.cheaper(SMALL, [bare], one, "USD", sold={"n"})
    assert found is not None, "n has no limit on either plan"


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_whole_cycles_are_those_of_the_calendar() -> None:
    for start, end, whole in (
        ("2027-01-10", "2027-02-10", True), ("2027-01-31", "2027-02-28", True),
        ("2027-02-28", "2027-03-31", True), ("2027-02-28", "2027-03-30", True),
        ("2027-01-10", "2027-02-01", False), ("2027-01-10", "2027-01-24", False),
        ("2027-01-10", "2027-02-13", False),
    ):  # fmt: skip
        assert rules.is_whole(instant(start), instant(end), "UTC", MONTH) is whole, (start, end)
    begins, ends = instant("2027-03-24T23:00"), instant("2027-03-31T22:00")
    week = Interval(unit="week")
    assert rules.is_whole(begins, ends, "Europe/Berlin", week), "the clocks change within"
    assert not rules.is_whole(begins, ends, "UTC", week)


@given(current=offers, others=st.lists(offers, max_size=4), used=cycles)
def test_what_is_advised_is_cheaper_than_all_others(
    current: PlanOffer, others: list[PlanOffer], used: list[dict[str, Decimal]]
) -> None:
    found = rules.cheaper(current, others, used, "USD", sold=())
    if found is None:
        return
    assert found.saving == found.current_cost - found.cost > 0
    for one in others:
        costs = [rules.cost(one, cycle) for cycle in used]
        known = [cost for cost in costs if cost is not None]
        assert len(known) < len(costs) or sum(known, Decimal(0)) >= found.cost


@given(known=lots, daily=amounts)
def test_what_expires_is_what_days_like_these_leave(known: list[Lot], daily: Decimal) -> None:
    found = rules.expiring(known, daily, NOW)
    assert all(0 < one.expiring <= one.left for one in found)
    soon = [lot for lot in known if lot.expires_at <= NOW + rules.LOOK_AHEAD]
    last = max((lot.expires_at for lot in soon), default=NOW)
    spent = sum((lot.free for lot in soon), Decimal(0)) - sum(
        (one.expiring for one in found), Decimal(0)
    )
    assert spent <= daily * (last - NOW).days + Decimal("0.00001")
    assert [one.expires_at for one in found] == sorted(one.expires_at for one in found)
