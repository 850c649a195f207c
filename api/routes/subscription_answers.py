"""The subscription as callers see it: its plan, add-ons, changes, and the payer's next action."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Self

from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection

from api.answers import statuses
from api.answers.public_ids import AccountId, ChangeId, InvoiceId, PaymentMethodId, SubscriptionId
from api.answers.schemas import Answer, Credits
from api.calls import Call
from api.pay.pay_actions import NextAction
from api.routes.invoice_answers import next_action_of
from billing.catalog.plans import rules
from billing.catalog.plans import store as plans
from billing.money.discounts import store as discount_store
from billing.money.payments import store as payment_store
from billing.money.payments.schemas import UNTRIED, Attempt
from billing.money.subscriptions import store
from billing.money.subscriptions.periods import true_ups
from billing.money.subscriptions.periods.items import standing
from billing.money.subscriptions.periods.spending import spent_so_far
from billing.money.subscriptions.schemas import Collection, Subscription


class AddOnPart(Answer):
    """An add-on; each unit of `quantity` gives `units` of `meter` per cycle for `amount_cents`."""

    add_on: str
    name: str = Field(
        validation_alias="description", description="The name of the add-on, as on invoices"
    )
    meter: str
    units: Credits = Field(
        description="Units of the meter that each of them adds per allowance cycle"
    )
    amount_cents: int = Field(
        validation_alias="amount_minor", description="The price of one per cycle, in minor units"
    )
    quantity: int = Field(description="How many of it the subscription has")
    quantity_next_period: int = Field(
        validation_alias="lasting", description="How many it will have from the next period on"
    )


class DiscountPart(Answer):
    """A coupon that reduces the invoices of the next `periods_left` periods, or forever (null).

    `kinds` are the kinds of lines it reduces, `[]` all of them.
    """

    code: str = Field(description="The code of the coupon")
    percent: Credits | None
    amount_cents: int | None = Field(
        validation_alias="amount_minor",
        description="What it takes off, in minor units; null: a percentage",
    )
    kinds: list[str]
    periods_left: int | None
    status: str = Field(
        description="`reserved` until the payment it came with is decided, `active`, `ended`, or"
        " `released` as that payment never came",
    )


class ChangePart(Answer):
    """A change that waits for its payment: `add_ons`, `plan` or `resume`."""

    change_id: ChangeId = Field(validation_alias="id")
    kind: str = Field(
        description="What it changes: `add_ons`, `plan`, or `resume` of a paused subscription"
    )
    wanted: dict[str, Any] = Field(description="What was asked for")
    invoice_id: InvoiceId
    expires_at: datetime = Field(description="Until when it can be paid")


class ScheduledPart(Answer):
    """A change that applies at the end of the period: `add_ons`, `plan`, `pause` or `price`."""

    change_id: ChangeId = Field(validation_alias="id")
    kind: str = Field(description="What it changes: `add_ons`, `plan`, `pause` or `price`")
    wanted: dict[str, Any] = Field(description="What was asked for")
    effective_at: datetime = Field(description="When it applies")


class ChangeAnswer(Answer):
    """A change of the subscription, and its result."""

    change_id: ChangeId = Field(validation_alias="id")
    kind: str = Field(
        description="What it changes: `add_ons`, `plan`, `price`, `pause`, `resume`, or `extend`"
        " for days that an operator added",
    )
    status: str = Field(
        description="`pending`: it waits for its payment; `scheduled`: it waits for the end of the"
        " period; `applied`; `failed`: its payment was declined; `expired`: nobody paid it in time;"
        " `canceled`",
    )
    wanted: dict[str, Any] = Field(description="What was asked for")
    invoice_id: InvoiceId | None
    reason: str | None = Field(description="Why it ended so; null: nothing was said")
    expires_at: datetime | None = Field(
        description="Until when it can be paid; null: it waits for no payment"
    )
    effective_at: datetime | None = Field(
        description="When it applies or applied; null: it does not"
    )
    created_at: datetime
    decided_at: datetime | None


class PlanPart(Answer):
    """The plan version the subscription was sold with."""

    key: str = Field(description="The key of the plan")
    name: str = Field(description="The name of the plan, for people")
    version: int = Field(description="The version of the plan that was sold")
    family: str


class DeclinePart(Answer):
    """The last attempt on a card for `latest_invoice_id`, if it was declined."""

    decline_code: str | None
    decline_class: str | None
    message: str | None = Field(description="The decline in words")
    declined_at: datetime | None = Field(validation_alias="finished_at")


class CommitmentPart(Answer):
    """The minimum that it spends until `ends_at`, by the contract that it was sold under.

    `spent_cents` is what invoices have charged so far, after discounts and before tax;
    `remaining_cents` would be charged at `ends_at` if no more is spent.
    """

    amount_cents: int = Field(
        validation_alias="amount_minor",
        description="What is spent at least until `ends_at`, in minor units",
    )
    spent_cents: int = Field(
        description="What invoices have charged so far, after discounts and before tax, in minor"
        " units",
    )
    remaining_cents: int = Field(
        description="What would be charged at its end if no more is spent, in minor units"
    )
    periods: int = Field(description="The number of periods in which it is spent")
    since: datetime = Field(description="When it began")
    ends_at: datetime
    on_early_end: str

    @classmethod
    async def read(cls, connection: AsyncConnection, subscription: Subscription) -> Self | None:
        """The commitment of a subscription, if it has one."""
        agreed = subscription.committed
        if agreed is None:
            return None
        spent = await spent_so_far(connection, subscription, agreed)
        missing = true_ups.rest(agreed.amount_minor, spent)
        return cls.of(agreed, spent_cents=spent, remaining_cents=missing)


class GivenBackPart(Answer):
    """Money paid for unused time, given back because the cancellation requested it.

    `refunded_cents` was refunded to the payer or is on its way; `balance_cents` went to the money
    balance, where it may have paid debts. A failed refund moves to `balance_cents`.
    """

    credited_cents: int = Field(
        validation_alias="credited_minor",
        description="What was credited for unused time, in minor units",
    )
    refunded_cents: int = Field(
        validation_alias="refunded_minor",
        description="The part of it that goes back to its payer, in minor units",
    )
    balance_cents: int = Field(
        validation_alias="balance_minor",
        description="The part of it that went to the money balance, in minor units",
    )


class SubscriptionAnswer(Answer):
    """A subscription with its plan [C1, C2].

    `next_action` belongs to `latest_invoice_id`: the invoice of a pending change, else the one
    owed; `latest_decline` says why its card did not pay.
    """

    subscription_id: SubscriptionId = Field(validation_alias="id")
    user: AccountId = Field(validation_alias="account_id")
    status: str = Field(description=statuses.SUBSCRIPTION)
    plan: PlanPart = Field(description="The plan that it was sold with")
    interval: str = Field(description="The interval of its price, as `GET /billing/plans` names it")
    quantity: int = Field(description="The number of seats; 1 if the plan is not sold by seats")
    amount_cents: int = Field(
        validation_alias="amount_minor",
        description="The price of the plan per period, with its seats, before discounts and tax, in"
        " minor units",
    )
    currency: str
    add_ons: list[AddOnPart] = Field(description="The add-ons that it has")
    discounts: list[DiscountPart] = Field(description="The coupons that reduce its next invoices")
    billing_threshold_cents: int | None = Field(validation_alias="billing_threshold_minor")
    minimum_cents: int | None = Field(validation_alias="minimum_minor")
    commitment: CommitmentPart | None = Field(
        description="The minimum that it spends over several periods; null: none"
    )
    current_period_start: datetime
    current_period_end: datetime
    cycle_start: datetime
    cycle_end: datetime
    trial_end: datetime | None
    cancel_at_period_end: bool
    cancel_at: datetime | None
    canceled_at: datetime | None
    ended_at: datetime | None
    end_reason: str | None = Field(description="Why it ended; null: it has not")
    cancel_reason: str | None = Field(description="Why the customer leaves; null: nothing was said")
    cancel_comment: str | None = Field(description="The customer's own words; null: none")
    given_back: GivenBackPart | None = Field(
        description="What its end gave back for unused time; null: nothing"
    )
    payment_method_id: PaymentMethodId | None
    collection: Collection
    days_until_due: int | None = Field(
        description="Days after which an invoice that is sent is due; null: a card pays"
    )
    pause_reason: str | None = Field(
        description="Why it is paused: `requested`, `trial_ended` without a card, or `debt_settled`"
        " after its period; null: it is not",
    )
    stripe_subscription_id: str | None = Field(
        description="null, until Stripe Billing can be in charge of subscriptions"
    )
    pending_change: ChangePart | None = Field(
        description="The change that waits for its payment; null: none"
    )
    scheduled_changes: list[ScheduledPart] = Field(
        description="The changes that wait for the end of the period"
    )
    latest_invoice_id: InvoiceId | None
    latest_decline: DeclinePart | None = Field(
        description="Why the last card did not pay `latest_invoice_id`; null: none was declined"
    )
    next_action: NextAction = Field(examples=[{"type": "none"}])
    created_at: datetime
    updated_at: datetime

    @classmethod
    async def read(
        cls, call: Call, connection: AsyncConnection, subscription: Subscription
    ) -> Self:
        """The subscription as callers see it, read in the caller's transaction."""
        plan = await plans.get_plan(connection, subscription.plan_id)
        items = await store.items(connection, subscription.id)
        coming = await store.open_changes(connection, subscription.id)
        change = next((one for one in coming if one.status == "pending"), None)
        invoice = await store.invoice_to_pay(connection, subscription)
        tries = await payment_store.attempts_of(connection, invoice.id) if invoice else []
        owed = invoice is not None and bool(invoice.outstanding_minor)
        given_back = await store.given_back(connection, subscription)
        action = await next_action_of(connection, invoice, tries, call.services.pay_links)
        return cls.of(
            subscription,
            plan=plan,
            interval=rules.show_interval(subscription.interval),
            quantity=items[0].quantity,
            add_ons=standing(items, subscription),
            discounts=[
                DiscountPart.of(one)
                for one in await discount_store.of_subscription(connection, subscription.id)
            ],
            commitment=await CommitmentPart.read(connection, subscription),
            latest_invoice_id=invoice.id if invoice else None,
            pending_change=ChangePart.of(change) if change else None,
            scheduled_changes=[ScheduledPart.of(one) for one in coming if one is not change],
            given_back=GivenBackPart.of(given_back) if given_back else None,
            latest_decline=_latest_decline(tries) if owed else None,
            next_action=action,
        )


def _latest_decline(tries: Sequence[Attempt]) -> DeclinePart | None:
    tried = [one for one in tries if one.status not in UNTRIED]
    declined = bool(tried) and tried[-1].status == "declined"
    return DeclinePart.of(tried[-1]) if declined else None
