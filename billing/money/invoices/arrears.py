"""Invoice lines for overage that no invoice bills yet. Pure."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal, localcontext
from typing import Any, Final

from pydantic import AwareDatetime

from billing.catalog.rating.rules import EXACT, falls_to, parts, rounded
from billing.catalog.rating.schemas import Part, PriceTerms
from billing.core import ids, periods
from billing.core.frozen import Frozen
from billing.core.money import ZERO, round_minor
from billing.matters.effects import Rows
from billing.metering.usage import rules
from billing.metering.usage.rules import Accrued, UsageLine
from billing.money.invoices.schemas import InvoiceLine, Line

USAGE: Final = "usage"
SINGLE_USE: Final = "single_use"
"""The kind of an invoice's usage lines."""
NAMED_USE: Final = f"{ids.BILLING_RECORD}_[0-9a-z]{{26}}"
"""The id of a use in a text. A member sees nothing that names one: it may be another user's."""


class Arrear(Frozen):
    """Overage of one meter in one cycle.

    Its billed amounts are those of invoices which are not among the rows of a decision.
    """

    start_at: AwareDatetime
    end_at: AwareDatetime
    zone: str
    currency: str
    meter: str
    name: str
    unit: str
    sold: str
    """The plan of the cycle; the subscription may have another one by now."""
    tax_category: str
    """That of this plan."""
    included: Decimal = ZERO
    terms: PriceTerms | None = None
    """The price of all units beyond the plan, in whole units of the currency; None: several."""
    quantity: Decimal
    """All use in the cycle, with what the plan includes."""
    overage: Decimal
    overage_total: Decimal
    events: int
    billed_units: Decimal = ZERO
    billed_total: Decimal = ZERO
    billed_minor: int = 0
    billed_early: bool = True
    """True if all that was billed of it was billed before its cycle ended."""


def lines(
    rows: Rows,
    usage: Sequence[Arrear],
    *,
    before: datetime | None = None,
    early: bool = False,
    cut: datetime | None = None,
) -> tuple[Line, ...]:
    """Return lines for overage in the cycles that began `before`, unless billed already.

    One line per cycle and meter, rated from its counter; late use of an older cycle is a line of
    its own [G15, G16]. `early` lines bill a cycle so far; later use in it is not late. A cycle that
    began before `cut` ends there at the latest.
    """
    owed = [one for one in usage if before is None or one.start_at < before]
    found = (_line(rows, one, before, early=early, cut=cut) for one in owed)
    return tuple(line for line in found if line is not None)


def unbilled(rows: Rows, arrear: Arrear) -> Decimal:
    """Return what this use cost beyond all that was billed of it, in whole units."""
    accrued, _ = _accrued(rows, arrear)
    with localcontext(EXACT):
        return accrued.total - accrued.billed_total


def _line(
    rows: Rows, arrear: Arrear, before: datetime | None, *, early: bool, cut: datetime | None
) -> Line | None:
    accrued, billed_early = _accrued(rows, arrear)
    start, end = arrear.start_at, arrear.end_at
    if cut is not None and start < cut:
        end, early = min(end, cut), False
    line = rules.bill(accrued, early=early)
    if line.units <= 0 and not (billed_early and _is_more(line, early)):
        return None
    span = periods.spoken_span(start, end, arrear.zone)
    closed = accrued.billed_units > 0 and not billed_early
    late = closed or (before is not None and end < before)
    return Line(
        kind=USAGE,
        description=f"{arrear.name} beyond {_plain(arrear.included)} included"
        f"{', late' if late else ', so far' if early else ''}, {span}",
        quantity=line.units,
        unit_amount=line.unit_minor,
        amount_minor=line.amount_minor,
        period_start=start,
        period_end=end,
        sold=arrear.sold,
        tax_category=arrear.tax_category,
        detail={
            "meter": arrear.meter,
            "unit": arrear.unit,
            "used": _plain(arrear.quantity),
            "included": _plain(arrear.included),
            "accrued": _plain(line.covers),
            "true_up": _plain(line.true_up),
            "late": late,
            "early": early,
            "zone": arrear.zone,
        }
        | _priced(accrued, line, early=early),
    )


def _is_more(line: UsageLine, early: bool) -> bool:
    """True if the close bills what early lines left open: a volume price could still fall."""
    by_volume = line.terms is not None and line.terms.model == "volume"
    return by_volume and not early and line.amount_minor > 0


def _priced(accrued: Accrued, line: UsageLine, *, early: bool) -> dict[str, Any]:
    """Return the arithmetic of a line that is not units times price; else nothing. A plain price
    needs it where rounding with earlier lines made the amount another one.

    `tiers` are all the cycle's units so far by price; what was billed of them before is subtracted
    from their sum. An `early` line bills at most `at_most`, the least that the cycle can cost.
    """
    by_units = round_minor(line.units * line.unit_minor) == line.amount_minor
    if line.terms is None or (line.terms.is_plain and by_units):
        return {}
    least = falls_to(line.terms, accrued.units) if early else None
    bound = {"at_most": _tier(least, accrued.currency)} if least is not None else {}
    return bound | {
        "price": line.terms.model_dump(mode="json"),
        "tiers": [_tier(part, accrued.currency) for part in parts(line.terms, accrued.units)],
        "billed_units": _plain(accrued.billed_units),
        "billed_minor": accrued.billed_minor,
    }


def _tier(part: Part, currency: str) -> dict[str, str]:
    known = part._replace(amount=rounded(part.amount, currency))
    return {name: _plain(value) for name, value in known._asdict().items()}


def _accrued(rows: Rows, arrear: Arrear) -> tuple[Accrued, bool]:
    """Return the use with all that was billed of it, and whether all was billed early."""
    accrued = Accrued(
        units=arrear.overage,
        total=arrear.overage_total,
        records=arrear.events,
        terms=arrear.terms,
        currency=arrear.currency,
        billed_units=arrear.billed_units,
        billed_total=arrear.billed_total,
        billed_minor=arrear.billed_minor,
    )
    early = arrear.billed_early
    for line in billed(rows, arrear):
        with localcontext(EXACT):
            accrued = replace(
                accrued,
                billed_units=accrued.billed_units + line.quantity,
                billed_total=accrued.billed_total + Decimal(line.detail["accrued"]),
                billed_minor=accrued.billed_minor + line.amount_minor,
            )
        early = early and bool(line.detail.get("early"))
    return accrued, early


def billed(rows: Rows, arrear: Arrear) -> list[InvoiceLine]:
    """Return the lines among the rows that bill this use."""
    return [
        line
        for line in rows.of(InvoiceLine)
        if line.kind == USAGE
        and line.period_start == arrear.start_at
        and line.detail.get("meter") == arrear.meter
    ]


def _plain(value: Decimal) -> str:
    return f"{value.normalize(EXACT):f}"
