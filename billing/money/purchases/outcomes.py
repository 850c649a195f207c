"""Outcomes of a purchase: paid and granted once, or ended proven not charged. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Literal, TypedDict
from uuid import UUID

from billing.catalog.taxes.schemas import STANDARD, TaxRate
from billing.core import ids, keys
from billing.core.money import show_decimal
from billing.ledger.credits import verbs
from billing.matters.effects import Do, Facts, Operation, Work
from billing.matters.kinds import PURCHASE
from billing.money.discounts import transitions as discounts
from billing.money.discounts.schemas import Discount
from billing.money.invoices import transitions as invoices
from billing.money.invoices.operations import LEAVE_CURRENCY, OfAccount
from billing.money.invoices.rules import payment_reference
from billing.money.invoices.schemas import Invoice, InvoiceLine, Line, NewInvoice
from billing.money.invoices.transitions import InvoiceFacts
from billing.money.payments import transitions as payments
from billing.money.payments.calls import Answer
from billing.money.payments.owed import Owed
from billing.money.payments.schemas import Payment
from billing.money.purchases.schemas import Purchase
from billing.money.refunds import transitions as refunds


class CompletedTopUp(TypedDict):
    """A top-up whose purchase was paid."""

    top_up_id: UUID
    purchase_id: UUID
    pack: str
    amount_minor: int
    currency: str


class FailedTopUp(TypedDict):
    """A top-up whose purchase was not paid."""

    top_up_id: UUID
    reason: str


TOP_UP_COMPLETED: Final = Operation[CompletedTopUp]("top_up_completed")
TOP_UP_FAILED: Final = Operation[FailedTopUp]("top_up_failed")
REFUNDED: Final = "REFUNDED"
"""The failure code of a purchase whose money went back before it was booked: no decline."""
EndedUnpaid = Literal["failed", "expired", "canceled"]
"""Statuses of a purchase that is proven not charged."""


@dataclass(slots=True)
class PurchaseFacts(InvoiceFacts):
    """The facts of a purchase beside its rows."""

    answer: Answer | None = None
    declines: Mapping[UUID, int] = field(default_factory=dict)
    """The number of declines of each card in the last 30 days, over all its invoices."""
    purchase_id: UUID = field(kw_only=True)


def start(
    w: Work[PurchaseFacts],
    row: Mapping[str, Any],
    issuer_id: UUID | None,
    *,
    use_balance: bool = True,
) -> Purchase:
    """Add a pending purchase with its draft and, unless it is paid by hand, its payment.

    The money balance pays first; if that is enough, the purchase is completed.
    """
    invoice = _draft(w, row, issuer_id)
    if use_balance:
        invoice = invoices.use_balance(w, invoice)
    invoice = invoices.whole_steps(w, invoice)
    bought = {name: value for name, value in row.items() if name != "tax_category"}
    purchase = w.add(Purchase.model_validate({**bought, "invoice_id": invoice.id}))
    if not invoice.amount_due_minor or (
        invoice.balance_applied_minor and not invoices.is_collectable(invoice)
    ):
        _announce(w, purchase, "created")
        done = _complete(w, purchase, invoice)
        invoices.finalize(w, invoice)
        return done
    if purchase.flow != "manual":
        owed = Owed(w.rows, invoice.id)
        payments.open_flow(w, owed, purchase.flow, purchase.payment_method_id)
    _announce(w, purchase, "created")
    return purchase


def fulfil(w: Work[PurchaseFacts], payment: Payment) -> Purchase:
    """Book the money of `payment`; when the invoice is covered, grant the credits, once [E17].

    Money that came after the purchase had ended still buys the credits, on a new invoice. If it is
    too little for that, it goes to the money balance. Money that was refunded buys nothing.
    """
    purchase = purchase_of(w)
    payment = refunds.mark_booked(w, payment)
    if purchase.status in ("completed", "refunded"):
        return _keep(w, purchase, payment)
    if refunds.is_all_back(w.rows, payment):
        return _went_back(w, purchase, payment)
    if _is_too_late(w, purchase, payment):
        _keep(w, purchase, payment)
        discounts.release(w)
        return purchase
    invoice = _payable_invoice(w, purchase)
    if payment.received_minor < invoice.remaining_minor:
        invoices.receive(w, invoice, payment.received_minor)
        return purchase
    done = _complete(w, purchase, invoice)
    invoices.receive(w, invoice, payment.received_minor)
    return done


def _went_back(w: Work[PurchaseFacts], purchase: Purchase, payment: Payment) -> Purchase:
    """End a purchase whose money is on its way back. If others have paid a part, the rest of that
    is awaited as before.
    """
    invoice = w.rows.get(Invoice, purchase.invoice_id)
    invoices.keep_money(w, invoice, payment.id, payment.received_minor)
    refunds.leave_at_once(w, payment)
    if invoice.amount_paid_minor:
        return purchase
    return end_unpaid(w, "failed", code=REFUNDED, message="the money went back to its payer")


def _keep(w: Work[PurchaseFacts], purchase: Purchase, payment: Payment) -> Purchase:
    """Add money that the purchase does not take to the money balance."""
    invoice = w.rows.get(Invoice, purchase.invoice_id)
    invoices.keep_money(w, invoice, payment.id, payment.received_minor)
    payments.announce(w, payment, "kept", invoice_status=invoice.status)
    return purchase


def _is_too_late(w: Work[PurchaseFacts], purchase: Purchase, payment: Payment) -> bool:
    """True if the purchase has ended and the money does not cover a new invoice, whose rest nobody
    would be asked for.
    """
    if w.rows.get(Invoice, purchase.invoice_id).status != "void":
        return False
    anew = _payable_invoice(Work(w.rows.copy(), w.facts), purchase)
    return payment.received_minor < anew.remaining_minor


def _complete(w: Work[PurchaseFacts], purchase: Purchase, invoice: Invoice) -> Purchase:
    """Grant the paid credits; the caller then books the invoice, whose number comes last."""
    w.do(_grant_of(purchase, is_paid=invoice.total_minor > 0))
    done = w.change(
        purchase, status="completed", completed_at=w.facts.at, closed_at=w.facts.at,
        invoice_id=invoice.id, failure_code=None, failure_message=None,
    )  # fmt: skip
    named = ids.encode(ids.INVOICE, invoice.id)
    _announce(w, done, "completed", type="evt.billing.credits.purchased", invoice_id=named)
    if done.top_up_id is not None:
        bought: CompletedTopUp = {
            "top_up_id": done.top_up_id, "purchase_id": done.id, "pack": done.pack,
            "amount_minor": invoice.total_minor, "currency": done.currency,
        }  # fmt: skip
        w.do(Do(TOP_UP_COMPLETED, bought))
    return done


def end_unpaid(
    w: Work[PurchaseFacts],
    status: EndedUnpaid,
    *,
    code: str | None = None,
    message: str | None = None,
) -> Purchase:
    """End a purchase, proven not charged, as `failed`, `expired` or `canceled`; void its draft. A
    reported transfer still waits for its decision.
    """
    purchase = purchase_of(w)
    if purchase.status != "pending":
        return purchase
    live = Owed(w.rows, purchase.invoice_id).live
    if live is not None and live.status != "pending_approval":
        payments.close_unpaid(w, live, "failed" if status == "failed" else "canceled")
    ended = w.change(
        purchase, status=status, closed_at=w.facts.at, failure_code=code, failure_message=message
    )
    _announce(w, ended, status, code=code)
    if ended.top_up_id is not None:
        failed = FailedTopUp(top_up_id=ended.top_up_id, reason=code or status)
        w.do(Do(TOP_UP_FAILED, failed))
    invoice = w.rows.get(Invoice, purchase.invoice_id)
    if invoice.status == "draft":
        invoices.void(w, invoice, f"purchase {status}")
    discounts.release(w)
    w.do(Do(LEAVE_CURRENCY, OfAccount(account_id=ended.account_id)))
    return ended


def invoice_of(row: Mapping[str, Any], issuer_id: UUID | None, *, late: bool = False) -> NewInvoice:
    """The invoice of a purchase's row, with one line for the pack; `late`: the second one."""
    stem = ids.encode(ids.PURCHASE, row["id"])
    return NewInvoice(
        account_id=row["account_id"],
        issuer_id=issuer_id,
        workflow_id=PURCHASE.workflow_id(row["id"]),
        fact_key=f"{stem}/invoice-late" if late else f"{stem}/invoice",
        currency=row["currency"],
        purchase_id=row["id"],
        payment_reference=None if late else payment_reference(row["id"]),
        lines=(
            Line(
                kind="pack",
                description=f"{row['pack_name']}: {show_decimal(row['credits'])} credits",
                unit_amount=Decimal(row["amount_minor"]),
                amount_minor=row["amount_minor"],
                detail={"pack": row["pack"], "tax_category": row["tax_category"]},
                sold=row["pack"],
                tax_category=row["tax_category"],
                taxes=row.get("taxes"),
            ),
        ),
        vat_id=row.get("vat_id"),
    )


def _draft(
    w: Work[InvoiceFacts], row: Mapping[str, Any], issuer_id: UUID | None, *, late: bool = False
) -> Invoice:
    """Draft the invoice less the coupon, also when late, and then with the tax rates of the first
    one: the payer was not asked for more.
    """
    terms = tuple(w.rows.of(Discount))
    wanted = invoice_of(row, issuer_id, late=late)
    return invoices.draft(w, wanted.model_copy(update={"discounts": terms}))


def _payable_invoice(w: Work[PurchaseFacts], purchase: Purchase) -> Invoice:
    """Return the purchase's draft; if expiry voided it, a new one for the late money."""
    invoice = w.rows.get(Invoice, purchase.invoice_id)
    if invoice.status != "void":
        return invoice
    (asked,) = (one for one in w.rows.of(InvoiceLine) if one.invoice_id == invoice.id)
    row = purchase.model_dump() | {
        "tax_category": asked.detail.get("tax_category", STANDARD),
        "taxes": tuple(TaxRate.model_validate(one) for one in asked.taxes),
        "vat_id": invoice.vat_id,
    }
    late = _draft(w, row, invoice.issuer_id, late=True)
    # Voiding the first one returned what the balance, or a transfer, had paid of it.
    returned = invoice.balance_applied_minor + invoice.amount_paid_minor
    late = invoices.use_balance(w, late, most=returned)
    return invoices.whole_steps(w, late)


def _announce(
    w: Work[Facts], purchase: Purchase, what: str, *, type: str | None = None, **detail: Any
) -> None:
    """Write one audit row and one `evt.billing.purchase.*`, or the event that `type` names."""
    subject = ids.encode(ids.PURCHASE, purchase.id)
    facts = {
        "purchase_id": subject,
        "pack": purchase.pack,
        "credits": show_decimal(purchase.credits),
        "amount_cents": purchase.amount_minor,
        "currency": purchase.currency,
        **detail,
    }
    w.announce(purchase.account_id, f"purchase.{what}", subject, facts, type=type)


def _grant_of(purchase: Purchase, *, is_paid: bool) -> Do[verbs.NewGrant]:
    return Do(
        verbs.GRANT,
        {
            "account_id": purchase.account_id,
            "amount": purchase.credits,
            "kind": "purchase",
            "key": keys.purchase_grant(purchase.id),
            "is_paid": is_paid,
            "reason": f"purchase of {purchase.pack_name}",
            "subject": ids.encode(ids.PURCHASE, purchase.id),
        },
    )


def purchase_of(w: Work[PurchaseFacts]) -> Purchase:
    """The purchase as it is now."""
    return w.rows.get(Purchase, w.facts.purchase_id)
