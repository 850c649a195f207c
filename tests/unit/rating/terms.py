"""Any price terms and quantities, for properties that hold for all of them."""

from decimal import Decimal
from typing import Final

from hypothesis import strategies as st

from billing.catalog.rating.schemas import Percentage, PriceTerms, Tier

prices: Final = st.decimals(0, 1000, places=4)
quantities: Final = st.decimals(0, 5000, places=3)
sizes: Final = st.decimals("0.001", 500, places=3)


@st.composite
def tiers(draw: st.DrawFn) -> tuple[Tier, ...]:
    """One to four ascending tiers, the last one open."""
    ends: list[Decimal | None] = [*sorted(draw(st.sets(sizes, max_size=3))), None]
    return tuple(Tier(up_to=end, unit_price=draw(prices), flat_price=draw(prices)) for end in ends)


def graduated_terms() -> st.SearchStrategy[PriceTerms]:
    """Any graduated price."""
    return st.builds(
        PriceTerms, model=st.just("graduated"), tiers=tiers(), free_units=st.just(Decimal(0))
    )


def volume_terms() -> st.SearchStrategy[PriceTerms]:
    """Any volume price."""
    return st.builds(PriceTerms, model=st.just("volume"), tiers=tiers(), free_units=quantities)


def any_terms() -> st.SearchStrategy[PriceTerms]:
    """Any price of any model."""
    plain = st.builds(
        PriceTerms,
        model=st.sampled_from(["flat", "per_unit", "package"]),
        unit_price=prices,
        package_size=sizes,
        free_units=quantities,
    )
    tiered = st.builds(
        PriceTerms,
        model=st.sampled_from(["graduated", "volume"]),
        tiers=tiers(),
        free_units=quantities,
    )
    return plain | tiered


def percentage_terms() -> st.SearchStrategy[PriceTerms]:
    """Any percentage of a value."""
    by = st.builds(
        lambda percent, fixed, low, more, free: Percentage(
            percent=percent, fixed_price=fixed, minimum=low, free_transactions=free,
            maximum=None if more is None else low + more,
        ),
        st.decimals(0, 100, places=10), prices, prices, st.none() | prices, st.integers(0, 3),
    )  # fmt: skip
    return st.builds(PriceTerms, model=st.just("percentage"), percentage=by, free_units=quantities)
