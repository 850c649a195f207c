"""The arithmetic of an invoice line, in words. Pure."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from billing.core.money import exponent, round_minor, show_decimal, show_money
from billing.money.invoices.schemas import InvoiceLine


def explain(line: InvoiceLine, currency: str) -> str:
    """Return the sum that made its amount, then each discount and tax on it."""
    made = explain_apart(line, currency) or _times(line, currency)
    amount = show_money(line.amount_minor, currency)
    return "; ".join([f"{made} = {amount}", *_changes(line, currency)])


def explain_apart(line: InvoiceLine, currency: str) -> str | None:
    """Return the sum in words, if it is not quantity times price; else None."""
    detail = line.detail
    if "least_minor" in detail:
        least, spent = (detail[name] for name in ("least_minor", "spent_minor"))
        return f"at least {show_money(least, currency)}, less {show_money(spent, currency)} spent"
    if "share" in detail:
        return _part(line, currency)
    if "of_minor" in detail:
        return f"not used of {show_money(detail['of_minor'], currency)}"
    if "tiers" in detail:
        return _tiers(detail, currency)
    if round_minor(line.quantity * line.unit_amount) != line.amount_minor:
        return f"{show_decimal(line.quantity)} units, each use at its own price"
    return None


def _times(line: InvoiceLine, currency: str) -> str:
    unit = line.unit_amount.scaleb(-exponent(currency))
    return f"{show_decimal(line.quantity)} x {show_decimal(unit)}"


def _part(line: InvoiceLine, currency: str) -> str | None:
    """Return the price of a whole period and the part of it that is charged; None if it is all."""
    whole_minor, share = line.detail["of_minor"], line.detail["share"]
    several = line.quantity != 1 and line.quantity * line.unit_amount == whole_minor
    if share == "1" and line.quantity * line.unit_amount == line.amount_minor:
        return None
    whole = _times(line, currency) if several else show_money(whole_minor, currency)
    return f"{whole} x {share} of the period"


def _tiers(detail: dict[str, Any], currency: str) -> str:
    """Return all units of the cycle by price, or the least that they can cost if they are billed
    before its close, less what earlier lines billed of them.
    """
    words, least = " + ".join(map(_tier, detail["tiers"])), detail.get("at_most")
    if least is not None:
        words = f"{words}, but so far at most {_tier(least)}, the least that the cycle can cost"
    billed = detail.get("billed_minor", 0)
    less = f", less {show_money(billed, currency)} billed before" if billed else ""
    return words + less


def _tier(tier: dict[str, str]) -> str:
    units, each, flat = (Decimal(tier[name]) for name in ("units", "unit_price", "flat_price"))
    words = f"{show_decimal(units)} x {show_decimal(each)}"
    return f"{show_decimal(flat)} + {words}" if flat else words


def _changes(line: InvoiceLine, currency: str) -> Iterator[str]:
    for one in line.discounts:
        yield f"less {one['code']} {show_money(one['amount_minor'], currency)}"
    for one in line.taxes:
        said = f"{show_decimal(Decimal(one['rate']))} % {one['name']}"
        held = "holds" if one["inclusive"] else "with"
        why = f" ({one['reason'].replace('_', ' ')})" if one.get("reason") else ""
        yield f"{held} {said} {show_money(one['amount_minor'], currency)}{why}"
