"""The body and the answer of a payment of everything overdue."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field, StrictBool

from api.answers import statuses
from api.answers.public_ids import InvoiceId, InvoiceName, PaymentMethodName, SubscriptionId
from api.answers.schemas import Answer, Body, UseBalance
from api.pay.pay_actions import NextAction
from api.routes.subscription_previews import PreviewToken
from billing.money.invoices.schemas import Invoice


class PayOverdueBody(Body):
    """The invoices and the card, by default all open ones and the saved card.

    `dry_run` only previews. With the `preview_token` of a dry run exactly the previewed amounts are
    charged, or nothing. `use_balance` applies to the invoice that resumes the subscription: open
    invoices used the balance when they got their numbers.
    """

    invoice_ids: Annotated[list[InvoiceName], Field(min_length=1, max_length=100)] | None = Field(
        None, description="The invoices to pay; null: all that are open"
    )
    payment_method_id: PaymentMethodName | None = Field(
        None, description="The saved card; null: the account's default"
    )
    resume: StrictBool = Field(False, description="True also starts a paused subscription again")
    use_balance: UseBalance = True
    preview_token: PreviewToken = None
    dry_run: StrictBool = Field(
        False, description="True answers what it would do; nothing is written or charged"
    )


class OwedPart(Answer):
    """An invoice that was open; `amount_cents` is the amount charged, else the amount owed."""

    invoice_id: InvoiceId = Field(validation_alias="id")
    invoice_number: str | None = Field(validation_alias="number")
    status: str = Field(description=statuses.INVOICE)
    amount_cents: int = Field(
        validation_alias="remaining_minor",
        description="What was charged, else what is owed, in minor units",
    )
    currency: str


class StandingPart(Answer):
    """The subscription as it stands afterwards."""

    subscription_id: SubscriptionId = Field(validation_alias="id")
    status: str = Field(description=statuses.SUBSCRIPTION)
    pause_reason: str | None = Field(description="Why it is paused; null: it is not")
    current_period_start: datetime
    current_period_end: datetime
    cancel_at_period_end: bool


class ResumptionPart(Answer):
    """The invoice that resumes a paused subscription, and its new period.

    `invoice_id` is null while it is not written; `amount_cents` is its amount due.
    """

    invoice_id: InvoiceId | None = Field(description="The invoice; null while it is not written")
    amount_cents: int = Field(
        validation_alias="amount_due_minor", description="What it charges, in minor units"
    )
    currency: str
    period_start: datetime = Field(description="When the new period begins")
    period_end: datetime = Field(
        description="When the new period ends; it is no part of the period"
    )


class OverdueAnswer(Answer):
    """The paid invoices, the subscription afterwards, and the cost of resuming it.

    With `resume` the `resumption` is what resumed it, and `charged_cents` includes its charge;
    otherwise it is what resuming would cost. It is null if nothing is paused.
    """

    dry_run: bool = Field(description="True if nothing was done")
    charged_cents: int = Field(
        description="What was charged in all, in minor units; in a dry run what would be"
    )
    invoices: list[OwedPart] = Field(description="The invoices that were open")
    subscription: StandingPart | None = Field(
        description="The subscription afterwards; null: there is none"
    )
    resumption: ResumptionPart | None = Field(
        description="What started the paused subscription again, or what that would cost; null:"
        " nothing is paused",
    )
    next_action: NextAction = Field(examples=[{"type": "none"}])
    preview_token: str | None = None
    expires_at: datetime | None = Field(
        None, description="When the token expires, in real time even if the account has a clock"
    )


def resumption_part(invoice: Invoice, written: UUID | None) -> ResumptionPart:
    return ResumptionPart.of(invoice, invoice_id=written)
