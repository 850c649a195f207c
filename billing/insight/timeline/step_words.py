"""The texts and amounts of a projected step. Pure.

Amounts come from the step's calls and the rows before it: the rows after it no longer have the
amount that was owed.
"""

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from billing.core import ids
from billing.core.money import show_money
from billing.core.periods import spoken_day
from billing.matters.agenda import Step
from billing.matters.deciding import Course
from billing.matters.effects import Rows
from billing.money.dunning import cases
from billing.money.invoices.schemas import Invoice
from billing.money.payment_methods.schemas import Method
from billing.money.payments.schemas import Attempt, Payment

FINAL_WORDS: Final = {
    "unpaid": "the subscription becomes unpaid",
    "cancel": "the subscription is canceled",
    "uncollectible": "the invoice is given up as uncollectible",
}
WHY_NOT: Final = {
    "paid_by_transfer": "but its customer pays by transfer",
    "hard_decline_before": "but its bank refused the card for good",
    "too_many_attempts": "but the card was tried too often",
}
NO_CARD: Final = "but there is no card to charge"


@dataclass(frozen=True, slots=True)
class Shown:
    """A step's text and amounts, and the condition for it to happen."""

    words: str
    amount_minor: int | None = None
    currency: str | None = None
    only_if: str | None = None
    comes: bool = True
    """False: later entries are shown as if the step had not happened."""
    from_now_on: str | None = None
    """A condition of all later entries."""


@dataclass(frozen=True, slots=True)
class Before:
    """The rows before a step, and the ids of those that exist already."""

    rows: Rows
    written: frozenset[UUID]
    zone: str
    """The subscription's time zone, else the account's."""

    def invoice(self, step: Step) -> Invoice:
        """Return the invoice of a step."""
        return self.rows.get(Invoice, ids.decode(ids.INVOICE, step.invoice or ""))

    def label(self, invoice: Invoice) -> str:
        """Return the name of an invoice for people: its number, amount or period."""
        if invoice.number is not None:
            return invoice.number
        if invoice.id in self.written:
            return f"a draft of {show_money(invoice.total_minor, invoice.currency)}"
        begins = invoice.period_start or invoice.created_at
        return f"the invoice of {spoken_day(begins, self.zone)}"


def show(before: Before, course: Course[Any]) -> Shown:
    """Describe a step that collects an invoice; any other shows only its own text."""
    step = course.step
    match step.name:
        case "charge":
            return _charge(before, course)
        case "settle":
            return _settle(before, step)
        case "give_up":
            return _give_up(before, course)
        case "end_approval":
            return Shown(step.words, only_if="nobody decides on the payment before")
        case "open":
            return Shown("open the payment, so that the payer can finish it")
        case _:
            return Shown(step.words)


def _charge(before: Before, course: Course[Any]) -> Shown:
    step = course.step
    invoice = before.invoice(step)
    label = before.label(invoice)
    attempt = next(one for one in course.rows.of(Attempt) if one.key == step.key)
    asked = [call.payment.amount_minor for call in course.calls if call.what == "try_card"]
    amount = asked[0] if asked else invoice.remaining_minor
    only_if = None
    if cases.is_recovering(before.rows, invoice.id):
        only_if = f"{label} is not paid before"
    elif attempt.status == "skipped":
        only_if = "no card comes before"
    words = f"{step.words}: {show_money(amount, invoice.currency)} for {label}"
    return Shown(words + _by(course.rows, attempt), amount, invoice.currency, only_if)


def _by(rows: Rows, attempt: Attempt) -> str:
    """Return the card that is tried, or why none is."""
    card = rows.find(Method, attempt.payment_method_id)
    if card is None:
        return f", {WHY_NOT.get(attempt.decline_code or '', NO_CARD)}"
    return f" by {card.brand or card.kind} {card.last4 or ''}".rstrip()


def _settle(before: Before, step: Step) -> Shown:
    payment = before.rows.get(Payment, ids.decode(ids.PAYMENT, step.payment or ""))
    label, received = before.label(before.invoice(step)), payment.received_minor
    words = f"book {show_money(received, payment.currency)} on {label}"
    return Shown(words, received, payment.currency)


def _give_up(before: Before, course: Course[Any]) -> Shown:
    invoice = before.invoice(course.step)
    label = before.label(invoice)
    words = f"final action for {label}: {FINAL_WORDS[course.result or 'unpaid']}"
    unpaid = f"{label} is not paid before"
    return Shown(
        words, invoice.remaining_minor, invoice.currency, only_if=unpaid, from_now_on=unpaid
    )
