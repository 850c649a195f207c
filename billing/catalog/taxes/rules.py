"""The taxes of a customer's goods, by its address, and exemptions from them. Pure."""

from typing import Final

from billing.catalog.taxes.schemas import STANDARD, Jurisdiction, Taxation, TaxRate, WhyNone
from billing.core.money import ZERO

EU: Final = frozenset(
    {
        "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE",
        "IT", "LT", "LU", "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK",
    }
)  # fmt: skip
"""Countries among which a business abroad accounts for the tax itself."""
NAMELESS: Final = "Tax"
"""The name of a tax that is not collected, where the invoice must say why."""


def rates(known: Taxation, category: str, currency: str) -> tuple[TaxRate, ...]:
    """Return the rates for a category of goods, the country's before its region's.

    A category without its own rate has the standard one. An exempt customer's rates are zero, with
    the reason, because the invoice must state it, also where no tax is collected.
    """
    reason = why_none(known)
    asking = _asking(known.jurisdictions)
    if reason and known.country and not asking:
        asking = [Jurisdiction(key=known.country, name=NAMELESS, rates={STANDARD: ZERO})]
    return tuple(
        TaxRate(
            jurisdiction=one.key,
            category=category,
            name=one.name,
            rate=ZERO if reason else one.rates.get(category, one.rates[STANDARD]),
            inclusive=currency in known.included_in,
            reason=reason,
        )
        for one in asking
    )


def why_none(known: Taxation) -> WhyNone | None:
    """Return why a customer pays no tax; None: it pays.

    Reverse charge is the law of Article 196 of the EU's VAT directive (2006/112/EC).
    """
    if known.exempt:
        return "exempt"
    abroad = known.seller in EU and known.country in EU and known.seller != known.country
    return "reverse_charge" if abroad and known.vat_proven else None


def freeing_id(known: Taxation) -> str | None:
    """Return the VAT id under which a customer accounts for the tax itself; None: it does not."""
    return known.vat_id if why_none(known) == "reverse_charge" else None


def _asking(found: tuple[Jurisdiction, ...]) -> list[Jurisdiction]:
    ordered = sorted(found, key=lambda one: len(one.key))
    instead = [one for one in ordered if one.instead_of_country]
    return instead or ordered
