"""The overview of an account; money in minor units, credits as exact decimals."""

from decimal import Decimal
from uuid import UUID

from pydantic import AwareDatetime

from billing.core.frozen import Frozen
from billing.core.money import ZERO


class AccountPart(Frozen):
    """The account itself; `clock_at` is the frozen instant of a test account."""

    account_id: UUID
    external_id: str
    status: str
    zone: str
    is_test: bool
    clock_at: AwareDatetime | None


class TrialPart(Frozen):
    """The trial of credits."""

    status: str
    started_at: AwareDatetime
    expires_at: AwareDatetime
    credits_granted: Decimal
    credits_remaining: Decimal


class SubscriptionPart(Frozen):
    """The open subscription, else the newest ended one, with its next step and when it is due."""

    subscription_id: UUID
    status: str
    plan: str
    plan_name: str
    amount_minor: int
    currency: str
    current_period_start: AwareDatetime
    current_period_end: AwareDatetime
    trial_end: AwareDatetime | None
    cancel_at_period_end: bool
    cancel_at: AwareDatetime | None
    next_step: str | None
    next_due_at: AwareDatetime | None


class CreditsPart(Frozen):
    """The balance without credits that have expired by now."""

    balance: Decimal = ZERO
    held: Decimal = ZERO
    debt: Decimal = ZERO
    currency: str | None = None

    @property
    def available(self) -> Decimal:
        """Return the credits that can still be spent."""
        return self.balance - self.held


class OpenInvoice(Frozen):
    """An invoice that waits for money."""

    invoice_id: UUID
    number: str | None
    remaining_minor: int
    currency: str
    due_at: AwareDatetime | None


class InvoicesPart(Frozen):
    """All open invoices, and the newest five of them."""

    open: int = 0
    remaining_minor: int = 0
    newest: tuple[OpenInvoice, ...] = ()


class PendingPurchase(Frozen):
    """A purchase that waits for money."""

    purchase_id: UUID
    pack: str
    credits: Decimal
    amount_minor: int
    currency: str
    expires_at: AwareDatetime


class PurchasesPart(Frozen):
    """All pending purchases, and the newest five of them."""

    pending: int = 0
    newest: tuple[PendingPurchase, ...] = ()


class DunningPart(Frozen):
    """The oldest open dunning case, else the oldest exhausted one whose invoice is still open:
    tries made, tries planned, and its next step.
    """

    dunning_case_id: UUID
    invoice_id: UUID
    status: str
    attempts_made: int
    attempts_planned: int
    next_step: str | None
    next_due_at: AwareDatetime | None
    opened_at: AwareDatetime
    open_cases: int
    all_paused_at: AwareDatetime | None = None
    """Since then all of the account's recovery is paused, that to come included; None: not."""


class Overview(Frozen):
    """Everything at a glance; nulls and zeros for missing parts."""

    now: AwareDatetime
    account: AccountPart | None = None
    trial: TrialPart | None = None
    subscription: SubscriptionPart | None = None
    credits: CreditsPart = CreditsPart()
    invoices: InvoicesPart = InvoicesPart()
    purchases: PurchasesPart = PurchasesPart()
    dunning: DunningPart | None = None
