"""The part of an invoice that goes back: never more than is left, and taxed as it was charged."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from billing.core.money import round_exact
from billing.money.invoices.giving_back import Part, is_added, rate_of


def rate(percent: str, *, inclusive: bool = False) -> tuple[tuple[str, object], ...]:
    """A tax of DE."""
    return rate_of({"jurisdiction": "DE", "name": "USt", "rate": percent, "inclusive": inclusive})


def part(net: int, *percents: str, inclusive: bool = False) -> Part:
    """A line of so much with these taxes on it, or in it."""
    taxes = {
        rate(one, inclusive=inclusive): round_exact(Fraction(net * int(one), 100))
        for one in percents
    }
    added = 0 if inclusive else sum(taxes.values())
    return Part(net + added, taxes)


cents = st.integers(0, 10**7)
rates = st.lists(st.sampled_from(["5", "7", "10", "19"]), max_size=2, unique=True)


@st.composite
def asked_and_left(draw: st.DrawFn) -> tuple[Part, Part]:
    """A part of a line, and what refunds and notes have left of its invoice, tax alone too."""
    inclusive = draw(st.booleans())
    whole = part(draw(cents), *draw(rates), inclusive=inclusive)
    asked = whole.share(Fraction(draw(st.integers(0, 100)), 100))
    left = whole.up_to(draw(st.integers(0, max(0, whole.total_minor))))
    gone = {one: draw(st.integers(0, minor)) for one, minor in left.taxes.items()}
    tax_alone = Part(sum(minor for one, minor in gone.items() if is_added(one)), gone)
    return asked, left.without(tax_alone)


@given(asked_and_left())
def test_no_more_goes_back_than_is_left(pair: tuple[Part, Part]) -> None:
    asked, left = pair
    found = asked.within(left)
    assert 0 <= found.total_minor <= min(asked.total_minor, left.total_minor)
    assert all(0 <= found.taxes[one] <= left.taxes[one] for one in found.taxes)
    assert found.net_minor <= asked.net_minor
    assert found.within(left) == found


@given(asked_and_left())
def test_less_goes_back_only_where_less_is_left(pair: tuple[Part, Part]) -> None:
    asked, left = pair
    found = asked.within(left)
    if found == asked:
        return
    short = [one for one in found.taxes if found.taxes[one] == left.taxes[one]]
    assert short or found.total_minor == left.total_minor


def test_a_credit_that_is_capped_keeps_the_rate_of_its_tax() -> None:
    # 190.00 with 19 % were paid, 70.00 went back; 356 of 366 days are not used.
    paid = part(19000, "19")
    left = paid.without(paid.up_to(7000))
    found = paid.share(Fraction(356, 366)).within(left)
    assert (found.total_minor, found.net_minor, found.taxes[rate("19")]) == (15610, 13118, 2492)


def test_tax_that_went_back_alone_leaves_the_price() -> None:
    paid = part(19000, "19")
    left = paid.without(Part(3610, dict(paid.taxes)))
    found = paid.share(Fraction(1, 2)).within(left)
    assert (found.total_minor, found.taxes[rate("19")]) == (9500, 0)


def test_a_share_rounds_the_price_and_each_tax_once() -> None:
    found = part(1900, "19").share(Fraction(705, 720))
    assert (found.net_minor, found.taxes[rate("19")]) == (1860, 353)
