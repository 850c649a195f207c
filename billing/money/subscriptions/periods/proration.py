"""Proration by the second: the price of the rest of a period, and the unused part of a line. Pure.

A line is credited as it was rightly charged, and never for more of its invoice than earlier
credits have left (docs/rules/subscriptions.md).
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction
from typing import Any, Final, NamedTuple
from uuid import UUID

from billing.catalog.rating.rules import EXACT
from billing.core.errors import Conflict
from billing.core.money import round_credits, round_minor
from billing.core.periods import spoken_span
from billing.matters.effects import Remove, Rows
from billing.money.invoices import giving_back, note_shares, notes, price_corrections
from billing.money.invoices.giving_back import Part
from billing.money.invoices.schemas import (
    CHARGED,
    PRORATION,
    CreditNote,
    Invoice,
    InvoiceLine,
    Line,
)
from billing.money.refunds import rests
from billing.money.refunds.remaining import creditable, taken_by_banks
from billing.money.refunds.schemas import Refund
from billing.money.subscriptions.schemas import SubscriptionChange

NOT_USED: Final = rests.NOT_USED
"""The reason of a note on the invoice that a change of plan credits."""
NOT_SERVED: Final = "time not served"
"""The reason of a note on an invoice that was still owed when its subscription ended."""
ADD_ON_NOT_USED: Final = "add-on not used"
"""The reason of a note for add-ons alone."""
TIMED: Final = ("plan", "add_on")
"""Kinds of lines that charge time."""
_MORE_DECIMALS: Final = 6


class Credit(NamedTuple):
    """The part of a line that is credited."""

    line: InvoiceLine
    part: Part
    """With its discount and tax."""
    owed_minor: int
    """The part of its invoice that is still owed: a credit note lowers that first."""
    since: datetime
    """The instant from which its time is credited."""
    less_tax: bool = False
    """True if some of its tax was credited before."""
    issuer_id: UUID | None = None
    """The seller of its invoice."""

    @property
    def is_paid(self) -> bool:
        """True if nothing is owed of its invoice."""
        return not self.owed_minor

    @property
    def total_minor(self) -> int:
        """The credited amount, including tax."""
        return self.part.total_minor


def rest(start: datetime, end: datetime, at: datetime) -> Fraction:
    """Return the part of a span that is after `at`, by the second."""
    whole = int((end - start).total_seconds())
    left = int((end - at).total_seconds())
    return Fraction(max(0, min(whole, left)), max(1, whole))


def billed_part(lines: Sequence[Line]) -> Fraction:
    """Return the part of a whole period that an invoice with these lines bills of its plan."""
    shares = (Fraction(one.detail.get("share", 1)) for one in lines if one.kind == "plan")
    return next(shares, Fraction(1))


def share(amount_minor: int, part: Fraction) -> int:
    """Return that part of an amount, rounded once, half away from zero."""
    return round_minor(Decimal(amount_minor * part.numerator) / Decimal(part.denominator))


def units_share(units: Decimal, part: Fraction) -> Decimal:
    """Return that part of units, with six more decimals: only a cycle's sum is rounded.

    The same rule as usage_units_share.sql.
    """
    with localcontext(EXACT):
        exact = units * part.numerator / part.denominator
        step = Decimal(1).scaleb(-decimals_of(units) - _MORE_DECIMALS)
        return exact.quantize(step, ROUND_HALF_UP)


def decimals_of(units: Decimal) -> int:
    """Return the number of decimals of these units."""
    return max(0, -int(units.normalize().as_tuple().exponent))


def rest_of_price(rows: Rows, at: datetime, by_calendar: Fraction) -> Fraction:
    """Return the part of a whole price for the time from `at` to the end of the period.

    If an operator added days, it is the rest of the part that the plan was charged: so credits and
    charges have one base, and added days cost nothing.
    """
    for line in current(rows, ("plan",), at) if _given(rows) else ():
        if line.period_start is not None and line.period_end is not None:
            charged = Fraction(line.detail.get("share", 1))
            return charged * rest(line.period_start, line.period_end, at)
    return by_calendar


def credits_share(credits: Decimal, part: Fraction) -> Decimal:
    """Return that part of an amount of credits, rounded once to what a use can cost."""
    exact = credits * part.numerator / part.denominator
    return round_credits(exact)


def is_restated(rows: Rows, line: InvoiceLine) -> bool:
    """True if a later change has credited this line of an add-on, so that another one bills it."""
    return line.kind == "add_on" and any(
        portion.restated and portion.add_on == line.detail.get("add_on")
        for one in rows.of(SubscriptionChange)
        if one.was_invoiced and line.invoice_id < one.draft_id
        for portion in one.portions
    )


def end_of(rows: Rows, invoice_id: UUID, end: datetime) -> datetime:
    """Return the end of the time that an invoice charges, with days that were added to it since."""
    for one in _given(rows):
        if invoice_id < one.id and _is_longer(one, end):
            end = max(end, one.effective_at or end)
    return end


def _is_longer(given: SubscriptionChange, end: datetime) -> bool:
    """True if days were added to a time with this end: while it ran, or, after a late renewal,
    behind its end.
    """
    moved = given.wanted.get("period_end")
    if moved is not None and end == datetime.fromisoformat(moved):
        return True
    return given.decided_at is not None and end > given.decided_at


def _given(rows: Rows) -> list[SubscriptionChange]:
    found = (one for one in rows.of(SubscriptionChange) if one.kind == "extend")
    return sorted((one for one in found if one.status == "applied"), key=lambda one: one.id)


def current(rows: Rows, kinds: Sequence[str], at: datetime) -> list[InvoiceLine]:
    """Return the lines that charge the time from `at` on: a plan's newest, and all of add-ons.

    They are on the invoice that began the period, or on a later one. Each has the days that an
    operator added to its time.
    """
    invoices = sorted(
        (one for one in rows.of(Invoice) if one.status in CHARGED), key=lambda one: one.id
    )
    began = [place for place, one in enumerate(invoices) if one.cycle_start is not None]
    # After a void of the invoice that began the period, only what was charged since is left.
    newest = invoices[began[-1] :] if began else invoices
    since = {one.id: place for place, one in enumerate(newest)}
    found = sorted(
        (
            line.model_copy(update={"period_end": end})
            for line in rows.of(InvoiceLine)
            if line.invoice_id in since
            and line.kind in kinds
            and line.period_end is not None
            and (end := end_of(rows, line.invoice_id, line.period_end)) > at
            and not is_restated(rows, line)
        ),
        key=lambda line: (since[line.invoice_id], line.position),
    )
    plans = [line for line in found if line.kind == "plan"]
    return plans[-1:] + [line for line in found if line.kind != "plan"]


def unused(
    rows: Rows, lines: Sequence[InvoiceLine], at: datetime, of_add_ons: datetime | None = None
) -> list[Credit]:
    """Return the parts of these lines for time after `at`, `of_add_ons` for theirs, less what was
    credited before.

    A pause has credited owed time up to its line's end: that is not credited again, out of what
    else its invoice charged. A bank that took a part of the price took it of all the time.
    """
    found, known = list[Credit](), dict[UUID, Part]()
    for line in lines:
        if line.period_start is None or line.period_end is None:
            continue
        invoice = rows.get(Invoice, line.invoice_id)
        left = known.get(invoice.id) or _left(rows, invoice)
        since = of_add_ons if of_add_ons and line.kind == "add_on" else at
        span = rest(line.period_start, line.period_end, since)
        asked = rightly_charged(rows, line).share(span * _kept_part(rows, invoice))
        asked = asked.up_to(asked.total_minor - _not_served(rows, line))
        part = asked.within(left)
        if part.total_minor > 0:
            known[invoice.id] = left.without(part)
            less_tax = part.taxes != asked.up_to(part.total_minor).taxes
            owed_minor, issuer_id = invoice.outstanding_minor, invoice.issuer_id
            found.append(Credit(line, part, owed_minor, since, less_tax, issuer_id))
    return found


def rightly_charged(rows: Rows, line: InvoiceLine) -> Part:
    """Return what a line charged, without what was given back because its price was wrong."""
    charged = giving_back.of_lines([line])
    # Only such a refund names a line.
    named = (one for one in rows.of(Refund) if one.invoice_id == line.invoice_id)
    refunded = sum(one.credited_minor for one in named if one.line == line.position)
    return charged.up_to(charged.total_minor - price_corrections.noted(rows, line) - refunded)


def _kept_part(rows: Rows, invoice: Invoice) -> Fraction:
    """Return the part of a paid invoice's price for time that banks have left. They take first the
    money for something else, as for use of the period before.
    """
    taken = taken_by_banks(rows, invoice) if invoice.status == "paid" else 0
    if not taken:
        return Fraction(1)
    lines = (one for one in rows.of(InvoiceLine) if one.invoice_id == invoice.id)
    charged = [one for one in lines if one.kind != PRORATION]
    others = sum(one.total_minor for one in charged if one.kind not in TIMED)
    rightly = (rightly_charged(rows, one) for one in charged if one.kind in TIMED)
    timed = sum(one.total_minor for one in rightly)
    return 1 - Fraction(max(0, min(timed, taken - others)), max(1, timed))


def to_credit(
    rows: Rows, lines: Sequence[InvoiceLine], at: datetime, of_add_ons: datetime | None = None
) -> list[Credit]:
    """Return what is `unused`, to credit it because somebody asks for that.

    Errors: PAYMENT_PENDING while an undecided refund or dispute holds some of it: it could not be
    credited now, and nobody would once that is decided.
    """
    found, free = unused(rows, lines, at, of_add_ons), rows.copy()
    for one in note_shares.reservations(rows):
        free.take(Remove(type(one), one.id))
    if _sum(found) < _sum(unused(free, lines, at, of_add_ons)):
        raise Conflict(
            "PAYMENT_PENDING",
            "a refund or dispute holds money that this would credit; retry once it is decided",
        )
    return found


def _sum(credits: Sequence[Credit]) -> int:
    return sum(one.total_minor for one in credits)


def parts(given_back: Sequence[Credit], zone: str) -> tuple[dict[str, Any], ...]:
    """Return the credited parts of lines, as a note on their invoice lists them."""
    return tuple(noted(one, one.total_minor, zone) for one in given_back)


def noted(credit: Credit, amount_minor: int, zone: str) -> dict[str, Any]:
    """Return so much of a credited part as a note lists it, with the days that are credited."""
    line, part = credit.line, notes.noted_part(credit.line, amount_minor)
    if line.period_start is None or line.period_end is None:
        return part
    days = spoken_span(max(credit.since, line.period_start), line.period_end, zone)
    if line.description.endswith(days):
        return part
    return part | {"description": f"{line.description}: {days}"}


def _not_served(rows: Rows, line: InvoiceLine) -> int:
    """Return the part of a line that notes credited because its time was not served."""
    notes_of_it = (
        one
        for one in rows.of(CreditNote)
        if one.invoice_id == line.invoice_id and one.reason == NOT_SERVED
    )
    parts_of_it = (part for one in notes_of_it for part in one.lines)
    return sum(part["amount_minor"] for part in parts_of_it if part["position"] == line.position)


def _left(rows: Rows, invoice: Invoice) -> Part:
    """Return the part that a change or an end may credit, without pending refunds."""
    return giving_back.left(rows, invoice)._replace(total_minor=creditable(rows, invoice))
