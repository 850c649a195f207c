"""Time not used, set off against a change, brings its invoice to nothing, and never below."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from billing.catalog.plans.schemas import Plan
from billing.catalog.taxes.schemas import Jurisdiction, Taxation
from billing.matters.effects import Work
from billing.money.invoices.giving_back import of_lines
from billing.money.invoices.schemas import InvoiceLine, Line
from billing.money.invoices.sums import sum_lines
from billing.money.subscriptions.facts import SubscriptionFacts
from billing.money.subscriptions.periods import netting
from billing.money.subscriptions.periods.proration import Credit, noted
from tests.searching import examples

OWED = UUID(int=1)
BEGAN = datetime(2027, 9, 20, tzinfo=UTC)


def taxed(*percent: str) -> Taxation:
    """Taxes of a country and of its parts, added to the price."""
    known = tuple(
        Jurisdiction(
            key="US" if number == 0 else f"US-{number}", name="Tax",
            rates={"standard": Decimal(one)},
        )
        for number, one in enumerate(percent)
    )  # fmt: skip
    return Taxation(seller="US", country="US", jurisdictions=known)


def charge(net_minor: int) -> Line:
    return Line(
        kind="plan", description="Plan", unit_amount=Decimal(net_minor), amount_minor=net_minor
    )


def total(lines: Sequence[Line], taxation: Taxation) -> int:
    return sum(one.total_minor for one in sum_lines(lines, (), taxation, "USD"))


def left_of(net_minor: int, part: Fraction, taxation: Taxation) -> Credit:
    """A part of a line that was charged and paid so."""
    (summed,) = sum_lines([charge(net_minor)], (), taxation, "USD")
    line = InvoiceLine(
        id=UUID(int=2), account_id=UUID(int=3), invoice_id=OWED, position=1, kind="plan",
        description="Plan",
        quantity=Decimal(1), unit_amount=Decimal(net_minor), amount_minor=net_minor,
        taxes=list(summed.taxes), tax_minor=summed.tax_minor,
    )  # fmt: skip
    return Credit(line, of_lines([line]).share(part), owed_minor=0, since=BEGAN)


@pytest.mark.parametrize(
    ("since", "words"),
    [
        (
            datetime(2028, 3, 15, tzinfo=UTC),
            "Big, 20 Sep 2027 to 20 Sep 2028: 15 Mar 2028 to 20 Sep 2028",
        ),
        (BEGAN, "Big, 20 Sep 2027 to 20 Sep 2028"),
        (datetime(2027, 1, 1, tzinfo=UTC), "Big, 20 Sep 2027 to 20 Sep 2028"),
    ],
)
def test_a_note_names_the_days_that_it_credits(since: datetime, words: str) -> None:
    whole = left_of(1000, Fraction(1), taxed("5"))
    line = whole.line.model_copy(
        update={
            "description": "Big, 20 Sep 2027 to 20 Sep 2028", "period_start": BEGAN,
            "period_end": datetime(2028, 9, 20, tzinfo=UTC),
        }
    )  # fmt: skip
    part = noted(whole._replace(line=line, since=since), 500, "UTC")
    assert part == {"position": 1, "description": words, "amount_minor": 500}


def net(
    monkeypatch: pytest.MonkeyPatch, credit: Credit, charges: list[Line], taxation: Taxation
) -> tuple[list[Line], int]:
    """The lines that give back, and what is left for a note."""

    def summed(_work: Any, _sold: Plan, _fields: Any, lines: Sequence[Line]) -> int:
        return total(lines, taxation)

    monkeypatch.setattr(netting, "_total", summed)
    monkeypatch.setattr(netting, "subscription_of", lambda _: SimpleNamespace(zone="UTC"))
    work, plan = SimpleNamespace(facts=SimpleNamespace(issuer_id=None)), cast("Plan", None)
    lines, notes = netting.net(cast("Work[SubscriptionFacts]", work), [credit], charges, plan)
    return lines, sum(one.amount_minor for one in notes)


@pytest.mark.parametrize(
    ("percent", "credit", "net_minor", "lines", "written", "left"),
    [
        # 1191 and twice 60 are 1311: with a line of 1192 the taxes would be of -1.
        (("5", "5"), (1965, 2104), 1191, [-1191], 793, 0),
        # 3 and three times 1 are 6; with a line of 4 it would be -1.
        (("19", "19", "19"), (9, 10), 3, [-3], 4, 0),
    ],
)
def test_a_cent_of_each_tax_may_be_too_much(
    monkeypatch: pytest.MonkeyPatch,
    percent: tuple[str, ...],
    credit: tuple[int, int],
    net_minor: int,
    lines: list[int],
    written: int,
    left: int,
) -> None:
    taxes, (was, total_minor) = taxed(*percent), credit
    known = left_of(was, Fraction(1), taxes)
    part = known.part.up_to(total_minor)
    found, more = net(monkeypatch, known._replace(part=part), [charge(net_minor)], taxes)
    assert ([one.amount_minor for one in found], more) == (lines, written)
    assert total([*found, charge(net_minor)], taxes) == left


def test_a_cent_that_is_tax_alone_goes_back_by_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line without a price has no tax, and gives nothing back."""
    taxes = taxed("150")
    credit = left_of(1, Fraction(1, 3), taxes)
    assert (credit.total_minor, credit.part.net_minor) == (1, 0)
    assert net(monkeypatch, credit, [charge(9)], taxes) == ([], 1)


@settings(max_examples=examples(300))
@given(
    percent=st.lists(st.sampled_from(["5", "19", "7.25", "8.875", "2.9", "1"]), max_size=3),
    was=st.integers(1, 5000),
    part=st.integers(1, 1000),
    net_minor=st.integers(0, 5000),
)
@example(["5", "5"], 1965, 973, 1191)
def test_an_invoice_is_never_below_nothing_and_has_no_line_of_nothing(
    percent: list[str], was: int, part: int, net_minor: int
) -> None:
    taxes = taxed(*percent)
    credit = left_of(was, Fraction(part, 1000), taxes)
    charges = [charge(net_minor)]
    with pytest.MonkeyPatch.context() as patch:
        lines, written = net(patch, credit, charges, taxes)
    whole = total([*lines, *charges], taxes)
    assert whole >= 0
    assert all(total([one], taxes) < 0 for one in lines)
    # What is charged less what is given back, to a cent for each tax.
    assert abs(total(charges, taxes) - whole + written - credit.total_minor) <= max(1, len(percent))
