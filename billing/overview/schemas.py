"""Where an account stands, in one answer; money in minor units, credits as exact decimals."""

from decimal import Decimal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class AccountPart(_Part):
    """Who it is; `clock_at` is the frozen instant of a test account."""

    account_id: UUID
    external_id: str
    status: str
    zone: str
    is_test: bool
    clock_at: AwareDatetime | None


class TrialPart(_Part):
    """The trial of credits."""

    status: str
    started_at: AwareDatetime
    expires_at: AwareDatetime
    credits_granted: Decimal
    credits_remaining: Decimal


class SubscriptionPart(_Part):
    """The open subscription, else the newest that ended; what comes next for it, and when."""

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
    next_step: str | None
    next_due_at: AwareDatetime | None


class CreditsPart(_Part):
    """The balance without what has lapsed by now."""

    balance: Decimal = Decimal(0)
    held: Decimal = Decimal(0)
    debt: Decimal = Decimal(0)
    currency: str | None = None


class OpenInvoice(_Part):
    """An invoice that waits for money."""

    invoice_id: UUID
    number: str | None
    remaining_minor: int
    currency: str
    due_at: AwareDatetime | None


class InvoicesPart(_Part):
    """All open invoices, and the newest five of them."""

    open: int = 0
    remaining_minor: int = 0
    newest: tuple[OpenInvoice, ...] = ()


class PendingPurchase(_Part):
    """A purchase that waits for money."""

    purchase_id: UUID
    pack: str
    credits: Decimal
    amount_minor: int
    currency: str
    expires_at: AwareDatetime


class PurchasesPart(_Part):
    """All pending purchases, and the newest five of them."""

    pending: int = 0
    newest: tuple[PendingPurchase, ...] = ()


class DunningPart(_Part):
    """The oldest open recovery: tries made, tries planned, and when it goes on."""

    dunning_case_id: UUID
    invoice_id: UUID
    status: str
    attempts_made: int
    attempts_planned: int
    next_step: str | None
    next_due_at: AwareDatetime | None
    opened_at: AwareDatetime
    open_cases: int


class Overview(_Part):
    """Everything at a glance; nulls and zeros for what is not there."""

    now: AwareDatetime
    account: AccountPart | None = None
    trial: TrialPart | None = None
    subscription: SubscriptionPart | None = None
    credits: CreditsPart = CreditsPart()
    invoices: InvoicesPart = InvoicesPart()
    purchases: PurchasesPart = PurchasesPart()
    dunning: DunningPart | None = None
