"""The texts of an invoice's documents and their places, from frozen rows. Pure."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from billing.catalog.rating.rules import EXACT
from billing.core.money import exponent
from billing.money.invoices.explaining import explain_apart
from billing.money.invoices.schemas import CreditNote, Invoice, InvoiceLine

_NO_INVOICE: Final = "Not an invoice yet: it gets its number when it is paid or sent."
_COLUMNS: Final = ("Description", "Quantity", "Unit price", "Amount")
_REASONS: Final = {
    "reverse_charge": "Reverse charge: the customer accounts for this tax",
    "exempt": "The customer is tax-exempt",
}
"""Sentences on the document for the reasons of a zero tax."""


def invoice(
    made: Invoice, lines: Sequence[InvoiceLine], snapshot: dict[str, Any]
) -> dict[str, Any]:
    """An invoice as it was finalized; a draft is a pro-forma."""
    is_draft = made.number is None
    number = made.number or made.payment_reference or "draft"
    due = snapshot["amount_due_minor"] - snapshot["amount_paid_minor"]
    issued = made.issued_on or made.created_at.date()
    facts = [("Date" if is_draft else "Issued", _day(issued))]
    if made.due_at is not None and due:
        facts.append(("Due", _day(made.due_at)))
    if made.payment_reference is not None:
        facts.append(("Payment reference", made.payment_reference))
    settled = "carried" if made.settlement == "carried" else "paid"
    headline = f"{_money(due, made.currency)} due{'' if due else f': {settled}'}"
    return _document(
        snapshot,
        heading="Pro-forma invoice" if is_draft else "Invoice",
        notice=_NO_INVOICE if is_draft else None,
        number=number,
        issued=issued,
        facts=facts,
        headline=headline,
        lines=[_line(one, made.currency) for one in lines],
        totals=_totals(made, snapshot),
        taxes=_taxes(lines, made.currency),
    )  # fmt: skip


def credit_note(note: CreditNote, of: Invoice, snapshot: dict[str, Any]) -> dict[str, Any]:
    """A credit note, to the customer of the invoice that it corrects."""
    issued = note.issued_on or note.created_at.date()
    amount = _money(note.amount_minor, note.currency)
    net, tax = note.amount_minor - note.tax_minor, note.tax_minor
    parts = [("Credited without tax", net), ("Tax", tax)] if tax else []
    return _document(
        snapshot,
        heading="Credit note",
        number=note.number or "",
        issued=issued,
        facts=[("Issued", _day(issued)), ("Corrects", of.number or "")],
        headline=f"{amount} credited",
        lines=[
            _row(one["description"], amount=_money(one["amount_minor"], note.currency))
            for one in note.lines
        ] or [_row(f"Part of invoice {of.number}", amount=amount)],
        notes=[{"caption": "Reason", "text": note.reason}],
        totals=[*(_total(name, minor, note.currency) for name, minor in parts),
                _total("Credited", note.amount_minor, note.currency, strong=True)],
        taxes=_taxes_back(note),
    )  # fmt: skip


def receipt(
    of: Invoice,
    paid_at: datetime,
    payments: Iterable[tuple[date, str, int]],
    snapshot: dict[str, Any],
) -> dict[str, Any]:
    """A receipt: each payment with its day, how it was paid, and how much came; what it brought
    beyond the invoice is on the money balance.
    """
    payments = list(payments)
    totals = [_total("Invoice total", of.total_minor, of.currency)]
    applied = snapshot["balance_applied_minor"]
    if applied:
        totals.append(_total(_applied(applied), -applied, of.currency))
    carried = of.total_minor - applied - of.amount_due_minor
    if carried:
        totals.append(_total("Carried in the money balance", -carried, of.currency))
    if of.amount_credited_minor:
        totals.append(_total("Credited", -of.amount_credited_minor, of.currency))
    totals.append(_total("Amount paid", of.amount_paid_minor, of.currency, strong=True))
    beyond = sum(minor for *_, minor in payments) - of.amount_paid_minor
    if beyond > 0:
        totals.append(_total("Received beyond it, to the money balance", beyond, of.currency))
    money = (
        f"{_money(of.amount_paid_minor, of.currency)} paid"
        if of.amount_paid_minor
        else f"{_money(applied, of.currency)} paid from the money balance"
    )
    return _document(
        snapshot,
        heading="Receipt",
        number=of.number or "",
        issued=paid_at.date(),
        facts=[("Paid", _day(paid_at)),
               ("Invoice date", _day(of.issued_on) if of.issued_on else "")],
        headline=f"{money} on {_day(paid_at)}",
        columns=("Payment", "", "", "Amount"),
        lines=[
            _row(f"{how}, {_day(at)}", amount=_money(minor, of.currency))
            for at, how, minor in payments
        ],
        totals=totals,
    )  # fmt: skip


def sample(on: date) -> dict[str, Any]:
    """An empty document, to test whether a logo can be printed."""
    nobody = {"issuer": {"name": "Seller"}, "customer": {"name": "Customer"}}
    return _document(
        nobody, heading="Sample", number="0", issued=on, facts=[], lines=[], totals=[],
        headline="",
    )  # fmt: skip


def _document(
    snapshot: dict[str, Any],
    *,
    facts: list[tuple[str, str]],
    issued: date,
    lines: list[dict[str, Any]],
    totals: list[dict[str, Any]],
    **more: Any,
) -> dict[str, Any]:
    """The parts that every document has."""
    issuer, customer = snapshot["issuer"], snapshot["customer"]
    named = [(one["name"], one["value"]) for one in customer.get("custom_fields", ())]
    if snapshot.get("po_number"):
        facts = [*facts, ("PO number", snapshot["po_number"])]
    return {
        "notice": None,
        "taxes": [],
        "columns": _COLUMNS,
        "issuer": _party(issuer, issuer.get("name") or "durable-billing"),
        "customer": _party(customer, customer["name"]),
        "customer_caption": "Billed to",
        "facts": [("Number", more["number"]), *facts, *named],
        "footer": issuer.get("footer", ""),
        "issued_on": issued.isoformat(),
        "lines": lines,
        "totals": totals,
        "notes": [{"caption": "Memo", "text": snapshot["memo"]}] if snapshot.get("memo") else [],
        **more,
    }


def _party(who: dict[str, Any], name: str) -> list[str]:
    """The lines of an address block."""
    address = who.get("address") or {}
    city = " ".join(filter(None, (address.get("postal_code"), address.get("city"))))
    country = address.get("country") or who.get("country")
    return list(
        filter(
            None,
            (
                name, address.get("line1"), address.get("line2"), city,
                address.get("state"), country,
                who.get("email"), *(who.get("tax_ids") or ()),
            ),
        )
    )  # fmt: skip


def _line(line: InvoiceLine, currency: str) -> dict[str, Any]:
    apart = explain_apart(line, currency)
    more = [apart] if apart is not None else []
    more += [
        f"Discount {one['code']}: {_money(-one['amount_minor'], currency)}"
        for one in line.discounts
    ]
    return _row(
        line.description,
        quantity=f"{line.quantity.normalize(EXACT):,f}",
        unit=_unit(line.unit_amount, currency),
        amount=_money(line.amount_minor, currency),
        more=more,
    )


def _row(
    description: str, *, amount: str, quantity: str = "", unit: str = "", more: Sequence[str] = ()
) -> dict[str, Any]:
    return {
        "description": description, "quantity": quantity, "unit": unit, "amount": amount,
        "more": list(more),
    }  # fmt: skip


def _totals(made: Invoice, snapshot: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows from the subtotal to the amount due."""
    parts = [
        ("Subtotal", made.subtotal_minor, made.subtotal_minor != made.total_minor),
        ("Discounts", -made.discount_minor, made.discount_minor != 0),
        ("Tax", made.tax_minor, made.tax_minor != 0),
        ("Of which included in prices", -made.tax_included_minor, made.tax_included_minor != 0),
    ]
    applied, paid = snapshot["balance_applied_minor"], snapshot["amount_paid_minor"]
    due = snapshot["amount_due_minor"]
    carried = made.total_minor - applied - due
    after = [
        (_applied(applied), -applied, applied != 0),
        ("Carried in the money balance", -carried, carried != 0),
        ("Paid", -paid, paid != 0),
    ]
    return [
        *(_total(name, minor, made.currency) for name, minor, is_there in parts if is_there),
        _total("Total", made.total_minor, made.currency, strong=True),
        *(_total(name, minor, made.currency) for name, minor, is_there in after if is_there),
        _total("Amount due", due - paid, made.currency, strong=True),
    ]


def _applied(minor: int) -> str:
    """Return the caption of what the money balance paid, or of a debt that it added."""
    return "From the money balance" if minor > 0 else "Carried from before"


def _total(name: str, minor: int, currency: str, *, strong: bool = False) -> dict[str, Any]:
    return {"name": name, "amount": _money(minor, currency), "strong": strong}


def _taxes(lines: Sequence[InvoiceLine], currency: str) -> list[dict[str, Any]]:
    """Return a row per tax: its name, rate, base and amount.

    An included tax is based on the price without all included taxes, an added one on the whole.
    """
    sums: dict[tuple[str, ...], list[int]] = {}
    for line in lines:
        for tax in line.taxes:
            key = (tax["name"], tax["jurisdiction"], str(tax["rate"]), tax.get("reason") or "")
            known = sums.setdefault(key, [0, 0])
            included = line.tax_included_minor if tax["inclusive"] else 0
            known[0] += line.amount_minor - line.discount_minor - included
            known[1] += tax["amount_minor"]
    return [
        _tax(name, where, rate, reason, base=_money(base, currency), amount=_money(minor, currency))
        for (name, where, rate, reason), (base, minor) in sums.items()
    ]


def _taxes_back(note: CreditNote) -> list[dict[str, Any]]:
    """Return a row per tax that a credit note gives back, with its base if that is all the net."""
    net = note.amount_minor - note.tax_minor
    return [
        _tax(
            one["name"], one["jurisdiction"], str(one["rate"]), one.get("reason") or "",
            base=_money(net, note.currency) if _is_on_all(one, net, note) else "",
            amount=_money(one["amount_minor"], note.currency),
        )
        for one in note.taxes
    ]  # fmt: skip


def _is_on_all(tax: dict[str, Any], net_minor: int, note: CreditNote) -> bool:
    """True if it is the only tax, and its rate of the whole net to the unit: nothing is exempt."""
    asked = net_minor * Decimal(str(tax["rate"])) / 100
    return len(note.taxes) == 1 and abs(asked - tax["amount_minor"]) <= 1


def _tax(
    name: str, where: str, rate: str, reason: str, *, base: str, amount: str
) -> dict[str, Any]:
    return {
        "name": f"{name}, {where}",
        "rate": f"{Decimal(rate).normalize():f} %",
        "base": base,
        "amount": amount,
        "more": [_REASONS.get(reason, reason.replace("_", " "))] if reason else [],
    }


def _money(minor: int, currency: str) -> str:
    """`1,234.50 EUR`, with the currency's own number of decimals."""
    digits = exponent(currency)
    return f"{Decimal(minor).scaleb(-digits):,.{digits}f} {currency}"


def _unit(minor: Decimal, currency: str) -> str:
    """Format a unit price, which may have more decimals than the currency."""
    digits = exponent(currency)
    amount = f"{minor.scaleb(-digits).normalize():,f}"
    whole, _, fraction = amount.partition(".")
    fraction = fraction.ljust(digits, "0")
    return f"{whole}.{fraction} {currency}" if fraction else f"{whole} {currency}"


def _day(on: date) -> str:
    return f"{on:%-d %b %Y}"
