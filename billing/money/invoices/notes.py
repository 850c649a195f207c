"""Credit notes: numbered corrections of invoices, with the tax that they credit. Pure."""

from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple

from billing.core import ids
from billing.matters.effects import Add, Issue, Rows, Work
from billing.money.invoices import giving_back, note_shares, note_taxes, series, transitions
from billing.money.invoices.giving_back import Part, is_of
from billing.money.invoices.refusals import wrong_status
from billing.money.invoices.schemas import (
    CORRECTIONS,
    BalanceEntry,
    CreditNote,
    Invoice,
    InvoiceLine,
    NoteKind,
)
from billing.money.invoices.transitions import InvoiceFacts

_BRING_CREDITS: Final = ("pack", "plan")
"""Kinds of lines whose price bought credits."""
Settlement = Literal["credited", "forgiven"]
"""The reason why nothing is owed once notes took the rest: it was not due, or somebody forgave it.
"""


class NewNote(NamedTuple):
    """The content of a note to write; its taxes follow from the invoice."""

    kind: NoteKind
    amount_minor: int
    reason: str
    suffix: str
    """Names the note among those of its invoice, which has each once."""
    lines: tuple[dict[str, Any], ...] = ()
    """The parts of the invoice's lines that are credited; without them the note is on all of it."""
    was_served: bool = False
    """A minimum counts the amount as spent."""
    settlement: Settlement = "credited"


def credit_note(
    w: Work[InvoiceFacts], invoice: Invoice, note: NewNote, *, to_balance: bool = False
) -> Invoice:
    """Credit part or all of a numbered invoice, once.

    The amount is taken off what is owed, unless it goes `to_balance`; the rest, which is paid
    already, goes to the money balance. What has no room on the invoice is a note on the invoices
    whose money paid it. An invoice with nothing left to collect has the note's settlement, or is
    `carried` if no card can be charged what is left.
    """
    if note.amount_minor <= 0 or is_written(w, invoice, note.suffix):
        return invoice
    outstanding = invoice.outstanding_minor
    kept, owed = (outstanding, 0) if to_balance else (0, outstanding)
    shares = note_shares.shares(
        w.rows, invoice, note.amount_minor, kept_minor=kept, owed_minor=owed
    )
    # The whole amount is credited even if an invoice that paid for it was not read.
    shares.pop(invoice.id)
    rest = _asked(w, invoice, note)
    minor = note.amount_minor - sum(shares.values())
    own = note._replace(amount_minor=minor, lines=_up_to(note.lines, minor))
    if minor:
        part = _asked(w, invoice, own)
        rest = rest.without(part)
        taxes = note_taxes.on(w.rows, invoice, part).as_rows
        invoice = _take_back(w, invoice, own, taxes, to_balance=to_balance)
    for source_id, minor in shares.items():
        source, part = w.rows.get(Invoice, source_id), rest.up_to(minor)
        rest = rest.without(part)
        taxes = note_taxes.on(w.rows, source, part).as_rows
        named = _of(invoice, note.suffix)
        of_source = NewNote(note.kind, minor, note.reason, named, was_served=note.was_served)
        _take_back(w, source, of_source, taxes, to_balance=True)
    return invoice


def noted_part(line: InvoiceLine, amount_minor: int) -> dict[str, Any]:
    """Return a part of a line, as a note that credits it lists it."""
    return {
        "position": line.position,
        "description": line.description,
        "amount_minor": amount_minor,
    }


def credit_tax(
    w: Work[InvoiceFacts], invoice: Invoice, part: Part, reason: str, suffix: str
) -> Invoice:
    """Credit known taxes of a numbered invoice, once per `suffix`; the rest as with a note.

    The prices stay as they are.
    """
    if part.total_minor <= 0 or is_written(w, invoice, suffix):
        return invoice
    left, changed = part, invoice
    for payer in note_shares.payers(w.rows, invoice):
        returned, own = note_taxes.tax_on(w.rows, payer, left)
        left = left.without(returned)
        if own.total_minor <= 0:
            continue
        is_own = payer.id == invoice.id
        named = suffix if is_own else _of(invoice, suffix)
        note = NewNote("reverse_charge", own.total_minor, reason, named, was_served=True)
        written = _take_back(w, payer, note, own.as_rows, to_balance=not is_own)
        changed = written if is_own else changed
    return changed


def _take_back(
    w: Work[InvoiceFacts],
    invoice: Invoice,
    note: NewNote,
    taxes: list[dict[str, Any]],
    *,
    to_balance: bool,
) -> Invoice:
    """Write one note: off what is owed of its invoice, the rest to the money balance."""
    amount_minor = note.amount_minor
    credited = 0 if to_balance else min(invoice.remaining_minor, amount_minor)
    fields: dict[str, Any] = {"amount_credited_minor": invoice.amount_credited_minor + credited}
    if invoice.is_owed and credited == invoice.remaining_minor:
        fields |= {"status": "paid", "paid_at": w.facts.at, "settlement": note.settlement}
    changed = w.change(invoice, **fields)
    if credited and changed.status == "open":
        changed = transitions.carry_rest(w, changed, part=f"-{note.suffix}")
    if credited < amount_minor:
        part = f"-{note.suffix}"
        transitions.add_balance(w, invoice, "credited", amount_minor - credited, part=part)
    _announce(w, changed, note, credited_minor=credited, balance_minor=amount_minor - credited)
    if changed.status == "paid" and invoice.status != "paid":
        transitions.announce(w, changed, "paid")
    _issue_note(w, invoice, note, taxes)
    return changed


def _up_to(lines: Sequence[dict[str, Any]], amount_minor: int) -> tuple[dict[str, Any], ...]:
    """Return the parts of lines that a note over this amount credits, in their order."""
    found, left = list[dict[str, Any]](), amount_minor
    for one in lines:
        minor = min(left, one["amount_minor"])
        left -= minor
        if minor > 0:
            found.append(one | {"amount_minor": minor})
    return tuple(found)


def is_written(w: Work[InvoiceFacts], invoice: Invoice, suffix: str) -> bool:
    """Return True if this note, or a part of it on another invoice, exists."""
    own, of = key(invoice, suffix), f"/{_of(invoice, suffix)}"
    keys = [one.fact_key for one in w.rows.of(CreditNote)]
    return any(one == own or one.endswith(of) for one in keys)


def corrected_to_balance(rows: Rows, invoice: Invoice) -> int:
    """Return what corrections of a price that bought credits have put on the money balance."""
    there = {one.key: one.amount_minor for one in rows.of(BalanceEntry)}
    written = (one for one in rows.of(CreditNote) if one.invoice_id == invoice.id)
    corrections = (one for one in written if one.kind in CORRECTIONS and is_of(one, invoice))
    return sum(
        max(0, there.get(_balance_key(one), 0) - beside_credits(rows, invoice, one))
        for one in corrections
    )


def _balance_key(note: CreditNote) -> str:
    """Return the key of the entry for what a note has put on the money balance."""
    return note.fact_key.replace("/", "/balance-credited-", 1)


def beside_credits(rows: Rows, invoice: Invoice, note: CreditNote) -> int:
    """Return the part of a note that credits lines of its invoice which brought no credits, such as
    use or an add-on; none of a note that names no line.
    """
    charged = transitions.lines_of(rows, invoice.id)
    others = {one.position for one in charged if one.kind not in _BRING_CREDITS}
    return sum(one["amount_minor"] for one in note.lines if one["position"] in others)


def key(invoice: Invoice, suffix: str) -> str:
    """Return the fact key of a note on this invoice."""
    return f"{ids.encode(ids.INVOICE, invoice.id)}/{suffix}"


def _of(invoice: Invoice, suffix: str) -> str:
    """Return the suffix of a note on another invoice that credits a part of this one."""
    return f"{suffix}{giving_back.OF}{ids.encode(ids.INVOICE, invoice.id)}"


def void_numbered(w: Work[InvoiceFacts], invoice: Invoice, reason: str) -> Invoice:
    """Void an invoice that is not paid, by a note for what was not credited before.

    What was paid of it, or came from the money balance, goes back to the balance; a debt that was
    carried to it from there is owed there again. Errors: INVOICE_STATE.
    """
    notes = (one for one in w.rows.of(CreditNote) if one.invoice_id == invoice.id)
    amount = invoice.total_minor - sum(one.amount_minor for one in notes)
    if not invoice.is_owed or amount <= 0:
        raise wrong_status(invoice, "cannot be voided")
    credited = invoice.remaining_minor
    voided = w.change(
        invoice,
        amount_credited_minor=invoice.amount_credited_minor + credited,
        status="void",
        voided_at=w.facts.at,
    )
    if credited != amount:
        transitions.add_balance(w, invoice, "credited", amount - credited, part="-void")
    transitions.announce(w, voided, "voided", reason=reason)
    taxes = giving_back.room(w.rows, invoice).as_rows
    _issue_note(w, invoice, NewNote("void", amount, reason, "void"), taxes)
    return voided


def reverse(w: Work[InvoiceFacts], invoice: Invoice, note: NewNote) -> None:
    """Write the note for a part of a numbered invoice, or of the named lines, whose money went back
    to its payer, once.
    """
    _announce(w, invoice, note, credited_minor=0, balance_minor=0)
    taxes = note_taxes.on(w.rows, invoice, _asked(w, invoice, note)).as_rows
    _issue_note(w, invoice, note, taxes)


def _announce(
    w: Work[InvoiceFacts],
    invoice: Invoice,
    note: NewNote,
    *,
    credited_minor: int,
    balance_minor: int,
) -> None:
    """Announce a note: what it took off the debt, and what it added to the money balance."""
    amounts = {
        "amount_cents": note.amount_minor,
        # Release 0.1.0 names the amount `amount_minor`: who reads it goes on.
        "amount_minor": note.amount_minor,
        "credited_cents": credited_minor,
        "balance_cents": balance_minor,
    }
    transitions.announce(w, invoice, "credited", **amounts, reason=note.reason)


def _asked(w: Work[InvoiceFacts], invoice: Invoice, note: NewNote) -> Part:
    """Return the note's amount of what is left of the invoice's charges, or of its named parts."""
    left, charged = giving_back.left(w.rows, invoice), transitions.lines_of(w.rows, invoice.id)
    return note_taxes.with_taxes(left, note.amount_minor, charged, note.lines)


def _issue_note(
    w: Work[InvoiceFacts], invoice: Invoice, note: NewNote, taxes: list[dict[str, Any]]
) -> None:
    taxes = taxes or [
        dict(one) | {"amount_minor": 0} for one in note_taxes.untaxed(w.rows, invoice)
    ]
    row = CreditNote(
        id=w.facts.new_id(),
        account_id=invoice.account_id,
        invoice_id=invoice.id,
        kind=note.kind,
        fact_key=key(invoice, note.suffix),
        series=transitions.series_of(w.facts, invoice, series.CREDIT_NOTES),
        reason=note.reason,
        amount_minor=note.amount_minor,
        currency=invoice.currency,
        lines=list(note.lines),
        tax_minor=sum(one["amount_minor"] for one in taxes),
        taxes=taxes,
        was_served=note.was_served,
        created_at=w.facts.at,
    )
    w.do(Issue(Add(row), row.series))
