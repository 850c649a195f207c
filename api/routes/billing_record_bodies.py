"""Bodies and answers about billing records: the price of a use, its payment and its void."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StrictBool
from sqlalchemy import RowMapping

from api.answers.public_ids import TransactionId, encoded
from api.answers.schemas import Answer, Body, Credits, Quantity, Text, UnitPrice
from api.requests.card_numbers import FreeText
from billing.catalog.products.schemas import ServiceType
from billing.catalog.rating.schemas import BillingMethod
from billing.core import ids
from billing.metering.usage.schemas import BillingRecord, Status
from billing.money.card_usage.offers import UseQuote
from billing.money.usage_voids.service import Voided


class PricingContext(Body):
    """The subscription to price under: the account's open one, which is also the default."""

    subscription_id: Text | None = Field(
        None, description="The account's open subscription, which is also the default"
    )


class CalculateBody(Body):
    """A use to price [F8]."""

    product_id: Text
    usage_amount: Quantity
    user_id: Text | None = None
    service_type: ServiceType | None = Field(None, description="The service that is to be used")
    pricing_context: PricingContext | None = Field(
        None, description="The subscription to price under"
    )


class CalculateAnswer(Answer):
    """The cost of the use now [F9]; without a card no method is suggested for a price in money."""

    success: Literal[True] = Field(True, description="Always true")
    product_id: str
    usage_amount: str
    unit_price: UnitPrice
    total_cost: Credits = Field(validation_alias="total")
    currency: str
    is_free_tier: bool
    is_included_in_subscription: bool = Field(validation_alias="is_included")
    suggested_billing_method: BillingMethod | None
    available_billing_methods: list[BillingMethod]

    @classmethod
    def of_offer(cls, body: CalculateBody, found: UseQuote) -> Self:
        """Return the price of the requested use."""
        return cls.of(
            found.rating,
            product_id=body.product_id,
            usage_amount=f"{body.usage_amount:f}",
            currency=found.currency,
            suggested_billing_method=found.suggested,
            available_billing_methods=found.available,
        )


class ProcessBody(Body):
    """A billing record to pay [F13]."""

    billing_id: Text
    billing_method: BillingMethod | None = Field(
        None, description="What pays: credits by default, or the card (`payment_charge`)"
    )
    force_charge: StrictBool = Field(
        False,
        description="True takes the credits even if they are not there, up to the account's"
        " overdraft; for the role `service`",
    )


class RatedAnswer(Answer):
    """The facts of a use, its price, and what paid for it. A record that voids a use (`voids`) has
    negative figures; both are `refunded`. Its `billing_method` is `payment_charge` also if an
    invoice had billed the use beyond the plan.
    """

    voids: Annotated[str, encoded(ids.BILLING_RECORD)] | None = None

    event_id: str | None
    user_id: str | None
    organization_id: str | None
    session_id: str | None
    request_id: str | None
    product_id: str | None
    service_type: str | None
    feature_type: str | None
    operation: str | None
    model: str | None
    meter: str
    usage_amount: Credits
    unit_price: UnitPrice
    total_amount: Credits
    currency: str
    billing_method: BillingMethod
    billing_status: Status
    is_free_tier: bool
    is_included_in_subscription: bool = Field(validation_alias="is_included")
    is_late: bool
    transaction_id: TransactionId | None
    usage_details: dict[str, Any] | None = Field(validation_alias="detail")
    billing_period_start: datetime = Field(validation_alias="period_start")
    occurred_at: datetime
    created_at: datetime
    updated_at: datetime


class RecordAnswer(RatedAnswer):
    """A billing record [F19]; kind `true_up` is what rounding an invoice line adds."""

    billing_id: Annotated[str, encoded(ids.BILLING_RECORD)] = Field(validation_alias="id")
    kind: Literal["usage", "true_up"] = Field(
        description="`usage`, or `true_up` for what rounding an invoice line added or took"
    )


class VoidBody(Body):
    """The reason for voiding a use."""

    reason: FreeText = Field(
        description="Kept with the record, and on the credit note if there is one"
    )


class VoidAnswer(Answer):
    """A voided use, and what was returned: credits to their lots, money that was paid to the money
    balance, and money still owed on an invoice by a credit note.
    """

    billing_id: str
    correction_id: str
    billing_status: Status
    reason: str = Field(description="Why the use was voided")
    credits_returned: Credits
    transaction_id: TransactionId | None
    balance_cents: int = Field(description="What went to the money balance, in minor units")
    credited_cents: int = Field(description="What an open invoice asks less, in minor units")
    currency: str
    voided_at: datetime

    @classmethod
    def of_voided(cls, done: Voided) -> Self:
        """The void as callers see it."""
        record, correction = done.record, done.correction
        return cls.of(
            record,
            billing_id=ids.encode(ids.BILLING_RECORD, record.id),
            correction_id=ids.encode(ids.BILLING_RECORD, correction.id),
            reason=done.reason,
            credits_returned=done.credits,
            transaction_id=correction.transaction_id,
            balance_cents=done.balance_minor,
            credited_cents=done.credited_minor,
            currency=done.currency,
            voided_at=correction.created_at,
        )


def show(row: RowMapping) -> RecordAnswer:
    """A row of `billing_records` as callers see it."""
    return RecordAnswer.of(BillingRecord.model_validate(dict(row)))
