"""Idempotency keys: one readable name per business fact, never hashed, never changed.

The same text is the unique key in Postgres and the key sent to Stripe.
"""

from datetime import UTC, date, datetime
from typing import Final
from uuid import UUID

from billing.core import ids

MAX_KEY_CHARS: Final = 255
"""The longest key that a caller may give."""
REFUND_TRIES: Final = 10
"""The maximum number of keys, and so of tries, of one refund."""
NOT_KEPT: Final = "/not-kept"
"""The suffix of the key of credits that expire with their cycle while the rest rolls over."""


def stamp(at: datetime) -> str:
    """An instant within a key."""
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def stamp_exact(at: datetime) -> str:
    """An instant within a key, where several may fall into one second."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


def slot_attempt(invoice: str, slot: int) -> str:
    """The charge of a dunning slot; slot 0 is the renewal itself."""
    return f"{invoice}/attempt-{slot}"


def manual_retry(invoice: str, number: int) -> str:
    """The n-th immediate retry by an operator or payer."""
    return f"{invoice}/now-{number}"


def intent(invoice_id: UUID, number: int) -> str:
    """The n-th PaymentIntent of an invoice; a new one only after the last is known canceled."""
    return f"{ids.encode(ids.INVOICE, invoice_id)}/intent-{number}"


def payers_try(intent_key: str, proven_by: str) -> str:
    """An attempt that the payer made in the browser, identified by the provider's charge, by
    the card that its payer did not confirm, or by the order and what it was refused for.
    """
    return f"{intent_key}/{proven_by}"


def submission(invoice_id: UUID, number: int) -> str:
    """A manual payment, as the n-th flow of its invoice."""
    return f"{ids.encode(ids.INVOICE, invoice_id)}/manual-{number}"


def refund(payment_id: UUID) -> str:
    """The one refund of a payment for which nothing was delivered."""
    return f"{ids.encode(ids.PAYMENT, payment_id)}/refund"


def asked_refund(refund_id: UUID) -> str:
    """A refund requested by an operator; also the provider's idempotency key."""
    return f"{ids.encode(ids.REFUND, refund_id)}/refund"


def end_refund(subscription_id: UUID, payment_id: UUID) -> str:
    """The one refund of a payment at the end of its subscription."""
    subscription = ids.encode(ids.SUBSCRIPTION, subscription_id)
    return f"{subscription}/ended/{ids.encode(ids.PAYMENT, payment_id)}/refund"


def refund_try(key: str, number: int) -> str:
    """The n-th key of a refund; a new one only if the provider stored a failure under the last."""
    return key if number == 1 else f"{key}/again-{number}"


def found_refund(provider_id: str) -> str:
    """A refund made at the provider, by its id there."""
    return f"{provider_id}/refund"


def clawback(subject: str, number: int) -> str:
    """The n-th grant from which a refund or dispute clawed credits back."""
    return f"{subject}/clawback-{number}"


def returned_clawback(subject: str, number: int) -> str:
    """The return of the n-th clawback of a dispute that was won."""
    return f"{subject}/returned-{number}"


def reminder(dispute: str, number: int) -> str:
    """The n-th reminder of a dispute's deadline."""
    return f"{dispute}/remind-{number}"


def pay_request(invoice_id: UUID, suffix: str) -> str:
    """A request to pay an invoice now; the suffix makes it unique."""
    return f"{ids.encode(ids.INVOICE, invoice_id)}/pay-{suffix}"


def use_charge(record: str, number: int) -> str:
    """The n-th charge of a card for a use: its invoice, and the account's step that begins one."""
    return f"{record}/charge-{number}"


def charge_request(record_id: UUID, suffix: str) -> str:
    """A request to charge a card again for a use; the suffix makes it unique."""
    return f"{ids.encode(ids.BILLING_RECORD, record_id)}/charge-{suffix}"


def command(workflow_subject: str, suffix: str) -> str:
    """An operator's command to a matter; the suffix makes it unique."""
    return f"{workflow_subject}/order-{suffix}"


def customer(account: str, deleted: str | None) -> str:
    """The customer of an account at the provider; another one after that was deleted there."""
    return f"{account}/customer" if deleted is None else f"{account}/customer-after-{deleted}"


def setup_intent(setup_id: UUID) -> str:
    """The SetupIntent that saves one card."""
    return f"{ids.encode(ids.SETUP_INTENT, setup_id)}/intent"


def portal_session(portal_id: UUID) -> str:
    """The session of the provider's portal."""
    return f"{ids.encode(ids.PORTAL_SESSION, portal_id)}/session"


def free_grant(account_id: UUID, plan: str, month: date) -> str:
    """The one grant of a free plan's credits to an account for a month or other span."""
    return f"{ids.encode(ids.ACCOUNT, account_id)}/{plan}-{month:%Y-%m-%d}"


def cycle_grant(subscription_id: UUID, cycle_start: datetime) -> str:
    """The one grant of an allowance cycle's credits."""
    return f"{ids.encode(ids.SUBSCRIPTION, subscription_id)}/cycle-{stamp(cycle_start)}"


def usage_before(subscription: str, cycle_start: datetime) -> str:
    """The invoice for the use before an allowance cycle."""
    return f"{subscription}/usage-{stamp_exact(cycle_start)}"


def period(subscription: str, start: datetime) -> str:
    """The invoice of a subscription's period."""
    return f"{subscription}/period-{stamp_exact(start)}"


def change(subscription: str, change_id: UUID) -> str:
    """The invoice to be paid before a change is applied."""
    return f"{subscription}/{ids.encode(ids.CHANGE, change_id)}"


def pause(subscription: str, suffix: str) -> str:
    """The invoice for the use until a pause; the suffix makes it unique."""
    return f"{subscription}/pause-{suffix}"


def final(subscription: str) -> str:
    """The last invoice of a subscription, at its end."""
    return f"{subscription}/final"


def late_usage(subscription: str, at: datetime) -> str:
    """The invoice for use that arrived after a subscription's end."""
    return f"{subscription}/late-usage-{stamp_exact(at)}"


def commitment(subscription: str, end: datetime) -> str:
    """The invoice for the rest of a commitment that ends in a pause, and its step."""
    return f"{subscription}/commitment-{stamp(end)}"


def change_grant(change_id: UUID) -> str:
    """The one grant of a plan change's credits."""
    return f"{ids.encode(ids.CHANGE, change_id)}/grant"


def not_kept(grant: str) -> str:
    """The part of a grant that expires with its cycle while the rest rolls over."""
    return f"{grant}{NOT_KEPT}"


def change_take_back(change_id: UUID, number: int) -> str:
    """The n-th grant from which a plan change clawed credits back."""
    return f"{ids.encode(ids.CHANGE, change_id)}/take-back-{number}"


def used_meanwhile(change_id: UUID) -> str:
    """The invoice for use under the old plan while a change was pending."""
    return f"{ids.encode(ids.CHANGE, change_id)}/used"


def end_take_back(subscription_id: UUID, number: int) -> str:
    """The n-th grant from which the end of a subscription clawed credits back."""
    return f"{ids.encode(ids.SUBSCRIPTION, subscription_id)}/end-take-back-{number}"


def unserved_take_back(grant_key: str) -> str:
    """The removal of the rest of an unpaid grant whose period is not served."""
    return f"{grant_key}/unserved"


def purchase_grant(purchase_id: UUID) -> str:
    """The one grant of a purchase's credits."""
    return f"{ids.encode(ids.PURCHASE, purchase_id)}/grant"


def adjustment(adjustment_id: UUID) -> str:
    """An operator's correction of credits, booked once."""
    return f"{ids.encode(ids.ADJUSTMENT, adjustment_id)}/credits"


def balance_adjustment(adjustment_id: UUID) -> str:
    """An operator's correction of the money balance, booked once."""
    return f"{ids.encode(ids.ADJUSTMENT, adjustment_id)}/balance"


def trial_grant(account_id: UUID) -> str:
    """The credits of the account's one trial."""
    return f"{ids.encode(ids.ACCOUNT, account_id)}/trial"
