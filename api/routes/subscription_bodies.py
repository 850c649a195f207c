"""Bodies of requests about a subscription: its start, its end, a pause, its card."""

from typing import Annotated, Any, Final, Self

from pydantic import BeforeValidator, Field, StrictBool, StringConstraints, model_validator

from api.answers.public_ids import PaymentMethodName
from api.answers.schemas import Body, CatalogName, ExpectedAmount, Instant
from api.requests.card_numbers import NoCardNumber
from api.requests.coupon_codes import CouponCode
from api.routes.paying_bodies import PayingBody
from api.routes.subscription_previews import PreviewToken
from billing.catalog.plans import rules
from billing.catalog.plans.schemas import Currency
from billing.catalog.plans.spec import Every
from billing.money.subscriptions.schemas import CancelReason, Collection, Rest, When

_WORDS: Final = {"monthly": "month", "yearly": "year"}


def _without_adverb(value: Any) -> Any:
    return _WORDS.get(value, value) if isinstance(value, str) else value


PriceInterval = Annotated[
    Every,
    BeforeValidator(_without_adverb),
    Field(description="An interval on sale, such as `month` or `2 weeks`, `monthly` or `yearly`"),
]


class SubscribeBody(PayingBody):
    """The plan, how often it is billed, and how the first payment is made."""

    plan: CatalogName
    interval: PriceInterval = "month"
    currency: Currency | None = Field(
        None,
        description="ISO 4217; by default the account's currency, else that of its contract, else"
        " USD",
    )
    quantity: Annotated[int, Field(strict=True, ge=1, le=10_000)] = Field(
        1, description="How many seats, of a plan that is sold by seats"
    )
    trial: StrictBool = Field(
        True, description="False: begin with a payment though the plan has a trial"
    )
    expected_amount_cents: ExpectedAmount = None
    coupon: CouponCode = None
    billing_day: Annotated[int, Field(strict=True, ge=1, le=31)] | None = Field(
        None, description="The day of the month on which periods start; the first period is shorter"
    )
    collection: Collection = "charge"
    days_until_due: Annotated[int, Field(strict=True, ge=1, le=365)] | None = Field(
        None, description="For each invoice that is sent; 30 by default"
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.collection == "charge" and self.days_until_due is not None:
            raise ValueError("days_until_due is only allowed with collection send_invoice")
        by_months = rules.parse_interval(self.interval).unit in ("month", "year")
        if self.billing_day is not None and not by_months:
            raise ValueError("billing_day is only allowed with an interval of months or years")
        return self


class CancelBody(Body):
    """The end of the subscription: at the end of the paid period, on a date, or now.

    `refund` is for the paid, unused time: nothing, a credit on the money balance, or a refund to
    the payer, as far as the payments can be refunded.
    """

    at: When = Field(
        "period_end", description="`period_end`: with the period that is paid for; `now`: at once"
    )
    cancel_at_period_end: StrictBool | None = Field(
        None,
        description="Stripe's name: true is the same as `at: period_end`; false requires `at: now`"
        " or `cancel_at`",
    )
    cancel_at: Instant | None = Field(
        None, description="A future date; the last period is billed up to it"
    )
    refund: Rest = Field(
        "none",
        description="What becomes of money for unused time, with `at: now`: `none` keeps it,"
        " `credit` puts it on the money balance, `refund` returns it to its payer as far as"
        " possible",
    )
    preview_token: PreviewToken = Field(
        None, description="From a dry run: cancel as previewed, to the cent, or not at all"
    )
    reason: CancelReason | None = Field(None, description="Why the customer leaves")
    comment: (
        Annotated[str, StringConstraints(min_length=1, max_length=1_000), NoCardNumber] | None
    ) = Field(None, description="The customer's own words")

    @model_validator(mode="after")
    def _one_end(self) -> Self:
        if self.cancel_at_period_end and self.at != "period_end":
            raise ValueError("at: now contradicts cancel_at_period_end")
        if self.cancel_at_period_end is False and self.at != "now" and self.cancel_at is None:
            raise ValueError("with cancel_at_period_end false, set at: now or cancel_at")
        if self.cancel_at is not None and (self.cancel_at_period_end or self.at == "now"):
            raise ValueError("set only one end: cancel_at or at")
        if self.refund != "none" and self.at != "now":
            raise ValueError("refund is only allowed with at: now")
        return self


class PauseBody(Body):
    """The start of the pause: the end of the paid period, or now without a refund."""

    at: When = Field(
        "period_end",
        description="`period_end`: with the period that is paid for; `now`: at once, without a"
        " refund",
    )


class CardBody(Body):
    """The card that the subscription is charged to; null: the account's default."""

    payment_method_id: PaymentMethodName | None = Field(
        description="The card to charge from now on; null: the account's default"
    )
