"""The life of an invoice: drafted, numbered and frozen, settled or voided; not its notes. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from billing.catalog.rating.rules import EXACT
from billing.catalog.taxes.rules import freeing_id, why_none
from billing.catalog.taxes.schemas import Taxation
from billing.core import ids
from billing.core.currencies import collectable, is_too_large
from billing.matters.effects import Do, Facts, Rows, Watch, Work
from billing.money.discounts import transitions as discounts
from billing.money.invoices import giving_back, series
from billing.money.invoices.arrears import USAGE
from billing.money.invoices.operations import KEEP_SNAPSHOT, OWE_TAX, KeptSnapshot, OfAccount
from billing.money.invoices.refusals import wrong_status
from billing.money.invoices.rules import content_hash
from billing.money.invoices.schemas import (
    BalanceEntry,
    Invoice,
    InvoiceLine,
    NewInvoice,
)
from billing.money.invoices.sums import SummedLine, sum_lines

STORED: Final = Decimal("1e-12")
"""The decimals of a stored quantity."""


@dataclass(slots=True)
class InvoiceFacts(Facts):
    """The facts of writing invoices, in addition to their rows."""

    is_test: bool = False
    """A test account has series of its own, because its clock is its own."""
    balance_minor: int = 0
    """The account's money balance, without the entries among the rows."""
    taxation: Taxation = field(default_factory=Taxation)
    """The facts that decide the taxes of its lines."""


def draft(w: Work[InvoiceFacts], new: NewInvoice) -> Invoice:
    """Draft an invoice with its lines, once per `fact_key`; a repeat returns the first."""
    known = next((one for one in w.rows.of(Invoice) if one.fact_key == new.fact_key), None)
    if known is not None:
        return known
    summed = sum_lines(new.lines, new.discounts, w.facts.taxation.at(w.facts.at), new.currency)
    total = max(0, sum(one.total_minor for one in summed))
    invoice = w.add(
        Invoice(
            id=w.facts.new_id(),
            status="draft",
            subtotal_minor=sum(line.amount_minor for line in new.lines),
            discount_minor=sum(one.discount_minor for one in summed),
            tax_minor=sum(one.tax_minor for one in summed),
            tax_included_minor=sum(one.tax_included_minor for one in summed),
            total_minor=total,
            amount_due_minor=total,
            created_at=w.facts.at,
            vat_id=new.vat_id or freeing_id(w.facts.taxation),
            **new.model_dump(exclude={"lines", "discounts", "vat_id"}),
        )
    )
    for position, one in enumerate(summed, start=1):
        w.add(_line(w, invoice, position, one))
    return invoice


def _line(w: Work[Facts], invoice: Invoice, position: int, summed: SummedLine) -> InvoiceLine:
    line = summed.line
    return InvoiceLine(
        id=w.facts.new_id(),
        account_id=invoice.account_id,
        invoice_id=invoice.id,
        position=position,
        discounts=list(summed.discounts),
        taxes=list(summed.taxes),
        discount_minor=summed.discount_minor,
        tax_minor=summed.tax_minor,
        tax_included_minor=summed.tax_included_minor,
        kind=line.kind,
        description=line.description,
        quantity=line.quantity.quantize(STORED, context=EXACT),
        unit_amount=line.unit_amount,
        amount_minor=line.amount_minor,
        period_start=line.period_start,
        period_end=line.period_end,
        detail=line.detail,
    )


def finalize(
    w: Work[InvoiceFacts],
    invoice: Invoice,
    *,
    days_until_due: int = 0,
    with_debt: bool = True,
    use_balance: bool = True,
) -> Invoice:
    """Number and freeze a draft that is owed: `open`, or `paid` when nothing is left to collect.

    An amount below what the provider charges at all is carried in the money balance, and the
    invoice is paid with settlement `carried` (docs/rules/money.md). `with_debt` adds the debt
    carried before; with `use_balance` the money balance pays first. Errors: INVOICE_STATE.
    """
    if invoice.status != "draft":
        raise wrong_status(invoice, "is final")
    applied = _apply_balance(w, invoice, with_debt=with_debt, use_balance=use_balance)
    due = invoice.total_minor - applied
    charge = collectable(due, invoice.currency)
    if due != charge:
        add_balance(w, invoice, "carried", charge - due)
    fields: dict[str, Any] = {
        "balance_applied_minor": applied,
        "amount_due_minor": charge,
        "status": "open" if charge else "paid",
        "due_at": w.facts.at + timedelta(days=days_until_due),
    }
    if not charge:
        fields |= {"paid_at": w.facts.at, "settlement": "carried" if due else "zero"}
    return _number(w, invoice, **fields)


def use_balance(w: Work[InvoiceFacts], draft: Invoice, most: int | None = None) -> Invoice:
    """Pay as much of a draft as possible from the money balance, `most` at the most, before its
    payment is opened.

    A carried debt waits for the next invoice of a subscription.
    """
    least = draft.total_minor if most is None else min(most, draft.total_minor)
    return _apply(w, draft, min(max(0, money_balance(w, draft.currency)), least))


def bill_carried(w: Work[InvoiceFacts], draft: Invoice) -> Invoice:
    """Add the carried debt to a draft that is too small for a card, if one can be charged both: so
    small amounts are not carried without end. If the draft is voided, the debt is carried again.
    """
    due, debt = draft.amount_due_minor, min(0, money_balance(w, draft.currency))
    both = due - debt
    reaches = collectable(both, draft.currency) and not is_too_large(both, draft.currency)
    if not due or is_collectable(draft) or not reaches:
        return draft
    return _apply(w, draft, debt)


def _apply(w: Work[InvoiceFacts], draft: Invoice, applied_minor: int) -> Invoice:
    if not applied_minor or draft.balance_applied_minor:
        return draft
    add_balance(w, draft, "applied", -applied_minor)
    return w.change(
        draft,
        balance_applied_minor=applied_minor,
        amount_due_minor=draft.amount_due_minor - applied_minor,
    )


def whole_steps(w: Work[Facts], draft: Invoice) -> Invoice:
    """Reduce a draft to what a card can be charged, in whole steps; the rest is carried.

    An amount too small for any card is left as it is.
    """
    charge = collectable(draft.amount_due_minor, draft.currency)
    if not charge or charge == draft.amount_due_minor:
        return draft
    add_balance(w, draft, "carried", charge - draft.amount_due_minor)
    return w.change(draft, amount_due_minor=charge)


def carry_rest(w: Work[Facts], invoice: Invoice, *, part: str) -> Invoice:
    """Carry the owed amount that no card can be charged; with nothing left the invoice is paid."""
    rest = invoice.remaining_minor
    charge = collectable(rest, invoice.currency)
    if charge == rest:
        return invoice
    fields = _carried(w, invoice, rest - charge, part)
    if not charge:
        fields |= {"status": "paid", "paid_at": w.facts.at, "settlement": "carried"}
    return w.change(invoice, **fields)


def _carried(w: Work[Facts], invoice: Invoice, amount_minor: int, part: str) -> dict[str, Any]:
    """Carry an amount in the money balance; return the fields of the invoice without it."""
    add_balance(w, invoice, "carried", -amount_minor, part=part)
    return {"amount_due_minor": invoice.amount_due_minor - amount_minor}


def is_collectable(invoice: Invoice) -> bool:
    """True if a card can be charged what is due."""
    return collectable(invoice.amount_due_minor, invoice.currency) > 0


def receive(w: Work[InvoiceFacts], invoice: Invoice, paid_minor: int) -> Invoice:
    """Book money on an invoice: enough makes it paid, and numbers a pay-first draft.

    A partial payment leaves it open (or a draft) with `amount_paid_minor`; an excess goes to the
    money balance. The part of a rest that no card can be charged is carried, unless it is all that
    a draft lacks.
    """
    paid = invoice.amount_paid_minor + paid_minor
    owed = invoice.amount_due_minor - invoice.amount_credited_minor
    if paid > owed:
        add_balance(w, invoice, "overpaid", paid - owed)
    rest = max(0, owed - paid)
    charge = collectable(rest, invoice.currency)
    if charge or (rest and invoice.status == "draft"):
        partly = w.change(invoice, amount_paid_minor=paid)
        if charge:
            partly = carry_rest(w, partly, part=f"-rest-{paid}")
        announce(w, partly, "partly_paid", received_cents=paid_minor)
        return partly
    fields: dict[str, Any] = {"amount_paid_minor": min(paid, owed)}
    if rest:
        fields |= _carried(w, invoice, rest, "-rest")
    fields |= {"status": "paid", "paid_at": w.facts.at, "settlement": "payment"}
    if invoice.finalized_at is None:
        return _number(w, invoice, **fields)
    settled = w.change(invoice, **fields)
    announce(w, settled, "paid")
    return settled


def void(w: Work[Facts], invoice: Invoice, reason: str) -> Invoice:
    """Void a draft that will not be paid, without a number; numbered invoices are corrected by
    notes.

    What was paid on it goes to the customer's money balance, as does what came from there. What was
    carried of it is not owed.
    """
    if invoice.status != "draft":
        raise wrong_status(invoice, "cannot be voided")
    if invoice.amount_paid_minor:
        add_balance(w, invoice, "returned", invoice.amount_paid_minor)
    if invoice.balance_applied_minor:
        add_balance(w, invoice, "returned", invoice.balance_applied_minor, part="-applied")
    carried = invoice.total_minor - invoice.balance_applied_minor - invoice.amount_due_minor
    if carried:
        add_balance(w, invoice, "returned", carried, part="-carried")
    voided = w.change(invoice, status="void", voided_at=w.facts.at)
    announce(w, voided, "voided", reason=reason)
    return voided


def lines_of(rows: Rows, invoice_id: UUID) -> list[InvoiceLine]:
    """Return the lines of one invoice in order."""
    found = [one for one in rows.of(InvoiceLine) if one.invoice_id == invoice_id]
    return sorted(found, key=lambda one: one.position)


def money_balance(w: Work[InvoiceFacts], currency: str) -> int:
    """Return the customer's money (positive) or carried debt (negative), in minor units."""
    entries = (one for one in w.rows.of(BalanceEntry) if one.currency == currency)
    return w.facts.balance_minor + sum(one.amount_minor for one in entries)


def series_of(facts: InvoiceFacts, invoice: Invoice, kind: str) -> str:
    """Return the issuer's series; a test account has its own."""
    if facts.is_test:
        return series.of_test(kind, invoice.account_id)
    return series.of_issuer(kind, invoice.issuer_id)


def keep_money(w: Work[Facts], invoice: Invoice, payment_id: UUID, amount_minor: int) -> None:
    """Credit money that arrived although nothing was owed to the money balance."""
    add_balance(w, invoice, "unasked", amount_minor, payment_id=payment_id)


def mark_uncollectible(w: Work[Facts], invoice: Invoice) -> Invoice:
    """Stop collecting an invoice; it stays owed on paper."""
    marked = w.change(invoice, status="uncollectible")
    announce(w, marked, "uncollectible", remaining_cents=marked.remaining_minor)
    return marked


def add_balance(
    w: Work[Facts],
    invoice: Invoice,
    kind: str,
    amount_minor: int,
    *,
    payment_id: UUID | None = None,
    part: str = "",
) -> None:
    """Add an entry to the money balance, caused by this invoice."""
    suffix = f"/{ids.encode(ids.PAYMENT, payment_id)}{part}" if payment_id else part
    w.add(
        BalanceEntry(
            id=w.facts.new_id(),
            account_id=invoice.account_id,
            key=f"{ids.encode(ids.INVOICE, invoice.id)}/balance-{kind}{suffix}",
            kind=kind,
            amount_minor=amount_minor,
            currency=invoice.currency,
            invoice_id=invoice.id,
            payment_id=payment_id,
            at=w.facts.at,
        ),
        once="key",
    )


def _apply_balance(
    w: Work[InvoiceFacts], invoice: Invoice, *, with_debt: bool, use_balance: bool
) -> int:
    """Apply the money balance; return the amount: credit up to the total, or debt (negative)."""
    if invoice.subscription_id is None or invoice.balance_applied_minor:
        return invoice.balance_applied_minor
    applied = min(money_balance(w, invoice.currency), invoice.total_minor)
    if not with_debt:
        applied = max(0, applied)
    if not use_balance:
        applied = min(0, applied)
    if applied:
        add_balance(w, invoice, "applied", -applied)
    return applied


def _number(w: Work[InvoiceFacts], invoice: Invoice, **fields: Any) -> Invoice:
    """Freeze the content under the next number of the series."""
    announce(w, invoice, "paid" if fields["status"] == "paid" else "finalized")
    _use_discounts(w, invoice)
    content = content_hash(
        invoice.account_id,
        invoice.currency,
        invoice.total_minor,
        invoice.tax_minor,
        [vars(one) for one in lines_of(w.rows, invoice.id)],
    )
    amounts = invoice.model_copy(update=fields)
    kept: KeptSnapshot = {
        "invoice_id": invoice.id,
        "applied": amounts.balance_applied_minor,
        "due": amounts.amount_due_minor,
        "paid": amounts.amount_paid_minor,
    }
    w.do(Do(KEEP_SNAPSHOT, kept))
    owe_tax(w, invoice)
    number_of = series_of(w.facts, invoice, series.INVOICES)
    return w.issue(invoice, number_of, finalized_at=w.facts.at, content_hash=content, **fields)


def owe_tax(w: Work[InvoiceFacts], invoice: Invoice) -> None:
    """Have the account's matter credit tax that the invoice should not have charged."""
    if _charges_tax_in_vain(w, invoice):
        w.do(Do(OWE_TAX, OfAccount(account_id=invoice.account_id)))
        w.do(Watch(invoice.account_id, due=w.facts.at))


def owe_tax_of_credited(w: Work[InvoiceFacts], draft: Invoice) -> None:
    """Have tax credited that waited for a draft, which credits parts of other invoices."""
    for source_id in giving_back.credited_by(w.rows, draft):
        source = w.rows.find(Invoice, source_id)
        if source is not None:
            owe_tax(w, source)


def _charges_tax_in_vain(w: Work[InvoiceFacts], invoice: Invoice) -> bool:
    """True if it was drafted before the proof that its customer accounts for the tax itself, or
    paid for an invoice that was.
    """
    known = w.facts.taxation
    if why_none(known) != "reverse_charge":
        return False
    parts = giving_back.left(w.rows, invoice), giving_back.room(w.rows, invoice)
    return any(giving_back.added_by(one, known.country or "").total_minor > 0 for one in parts)


def _use_discounts(w: Work[InvoiceFacts], invoice: Invoice) -> None:
    lines = lines_of(w.rows, invoice.id)
    of_use = _codes(line for line in lines if line.kind == USAGE)
    if invoice.period_start is None and invoice.purchase_id is None:
        discounts.note_use(w, of_use)
        return
    others = _codes(line for line in lines if line.kind != USAGE)
    discounts.use(w, others, invoice.period_start, of_use)


def _codes(lines: Iterable[InvoiceLine]) -> set[str]:
    return {off["code"] for line in lines for off in line.discounts}


def announce(w: Work[Facts], invoice: Invoice, what: str, **detail: Any) -> None:
    """Write one audit row and one `evt.billing.invoice.*`."""
    subject = ids.encode(ids.INVOICE, invoice.id)
    facts = {
        "invoice_id": subject,
        "total_cents": invoice.total_minor,
        "currency": invoice.currency,
        **detail,
    }
    w.announce(invoice.account_id, f"invoice.{what}", subject, facts)
