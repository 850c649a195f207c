"""Idempotency keys: one readable name per business fact, never hashed, never changed.

The same text is the unique key in Postgres and the key sent to Stripe.
"""

from datetime import datetime
from uuid import UUID

from billing.core import ids


def slot_attempt(invoice_id: UUID, slot: int) -> str:
    """The charge of a dunning slot; slot 0 is the renewal itself."""
    return f"{ids.encode(ids.INVOICE, invoice_id)}/attempt-{slot}"


def card_attempt(invoice_id: UUID, method_id: UUID) -> str:
    """The one extra try that a new card gets."""
    return f"{ids.encode(ids.INVOICE, invoice_id)}/card-{ids.encode(ids.PAYMENT_METHOD, method_id)}"


def manual_retry(invoice_id: UUID, number: int) -> str:
    """The n-th retry-now of an operator or payer."""
    return f"{ids.encode(ids.INVOICE, invoice_id)}/now-{number}"


def intent(invoice_id: UUID, number: int) -> str:
    """The n-th PaymentIntent of an invoice; a new one only after the last was seen canceled."""
    return f"{ids.encode(ids.INVOICE, invoice_id)}/intent-{number}"


def submission(invoice_id: UUID, number: int) -> str:
    """A manual payment, as the n-th road of its invoice."""
    return f"{ids.encode(ids.INVOICE, invoice_id)}/manual-{number}"


def pay_request(invoice_id: UUID, mark: str) -> str:
    """A request to pay an invoice now, told apart by its mark."""
    return f"{ids.encode(ids.INVOICE, invoice_id)}/pay-{mark}"


def order(workflow_subject: str, mark: str) -> str:
    """An operator's order to a matter, told apart by its mark."""
    return f"{workflow_subject}/order-{mark}"


def provider_again(attempt_key: str, number: int) -> str:
    """The n-th hourly repeat of an attempt that is proven to have never reached the card."""
    return f"{attempt_key}/again-{number}"


def setup_intent(setup_id: UUID) -> str:
    """The SetupIntent by which one card is saved."""
    return f"{ids.encode(ids.SETUP_INTENT, setup_id)}/intent"


def cycle_grant(subscription_id: UUID, cycle_start: datetime) -> str:
    """The credits of one allowance cycle, granted once."""
    return f"{ids.encode(ids.SUBSCRIPTION, subscription_id)}/cycle-{cycle_start:%Y-%m-%dT%H:%M:%SZ}"


def purchase_grant(purchase_id: UUID) -> str:
    """The credits of one purchase, granted once."""
    return f"{ids.encode(ids.PURCHASE, purchase_id)}/grant"


def adjustment(adjustment_id: UUID) -> str:
    """An operator's correction of credits, booked once."""
    return f"{ids.encode(ids.ADJUSTMENT, adjustment_id)}/credits"


def trial_grant(account_id: UUID) -> str:
    """The credits of the account's one trial."""
    return f"{ids.encode(ids.ACCOUNT, account_id)}/trial"


def step(workflow_subject: str, name: str, mark: str | int) -> str:
    """A step of a matter, told apart by `mark` (a period's start, a number, a revision)."""
    return f"{workflow_subject}/{name}-{mark}"


def slot_of(attempt_key: str) -> int | None:
    """The dunning slot an attempt key uses up; None for a new card's or a retry-now's try."""
    _, _, mark = attempt_key.partition("/attempt-")
    return int(mark.partition("/")[0]) if mark else None


def invoice_of(key: str) -> UUID:
    """The invoice whose key this is."""
    return ids.decode(ids.INVOICE, key.partition("/")[0])
