"""Refunds that operators request, and disputes of the payers' banks."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from fastapi import Response
from pydantic import Field, StrictBool

from api.answers.pagination import Page, Paging, paginate
from api.answers.problems import KEYED, responses
from api.answers.public_ids import AccountId, InvoiceId, PaymentId, encoded, row_id
from api.answers.schemas import Answer, Body, OneWord
from api.calls import Call, account_filter
from api.dependencies import AdminCall
from api.idempotency import RequiredKey
from api.routes.admin.invoices import Reference
from api.routes.base import new_router
from api.workflow_calls import need_temporal, wait_until_done
from billing.catalog.plans.schemas import PositiveMinor
from billing.core import ids
from billing.money.disputes.schemas import Dispute, DisputeState
from billing.money.disputes.tables import disputes
from billing.money.payments import store
from billing.money.payments.schemas import Payment
from billing.money.refunds.schemas import Refund, RefundStatus, Way
from billing.money.refunds.tables import refunds
from billing.money.reversals import service
from billing.money.reversals.service import Wanted

router = new_router("refunds and disputes")


class RefundBody(Body):
    """Money to refund, in minor units; by default all that is left of the payment."""

    amount_cents: PositiveMinor | None = Field(
        None, description="What to refund, in minor units; null: all that is left of the payment"
    )
    reason: Reference = Field(description="Kept with the refund, and on its credit note")
    to: Literal["payer", "balance"] = Field(
        "payer",
        description="`payer`: by the way it was paid, so by hand if paid by hand; `balance`: to the"
        " customer's money balance",
    )
    reference: Reference | None = Field(
        None, description="Of the transfer that refunds money paid by hand"
    )
    keep_subscription: StrictBool = Field(
        False,
        description="Keep the subscription though all that was paid for its period is refunded",
    )
    keep_credits: StrictBool = Field(
        False, description="Keep the credits that it paid for: only the price was too high"
    )


class RefundAnswer(Answer):
    """A refund of one payment; minor units of `currency`.

    `method` is provider, outside (by hand) or balance. `credited_cents` is the part that a credit
    note takes off the invoice, `from_balance_cents` the part taken from the money balance. Both are
    0 of a refund that failed; of one that its bank returned later, the credit note stands, and the
    balance has back what it gave.
    """

    refund_id: Annotated[str, encoded(ids.REFUND)] = Field(validation_alias="id")
    payment_id: PaymentId
    invoice_id: InvoiceId
    status: RefundStatus = Field(
        description="`pending`: the provider does not have it yet; `processing`: it has, and the"
        " money is under way; `succeeded`; `failed`",
    )
    method: Way = Field(
        validation_alias="way",
        description="Where the money goes: back by the `provider`, by hand (`outside`), or to the"
        " money `balance`",
    )
    amount_cents: int = Field(
        validation_alias="amount_minor", description="What is refunded, in minor units"
    )
    credited_cents: int = Field(
        validation_alias="credited_minor",
        description="The part that a credit note takes off the invoice, in minor units",
    )
    from_balance_cents: int = Field(validation_alias="from_balance_minor")
    currency: str
    reason: str = Field(description="Why it is refunded")
    reference: str | None = Field(
        description="The reference of the transfer that returns the money by hand; null: none"
    )
    stripe_refund_id: str | None
    failure: str | None = Field(description="Why it failed; null: it did not")
    created_at: datetime
    finished_at: datetime | None

    @classmethod
    def of_row(cls, row: Any) -> Self:
        """Show a row of `service.refund_listing`."""
        return cls.of(Refund.model_validate(row))


class DisputeAnswer(Answer):
    """A dispute of one payment by its payer's bank; minor units of `currency`.

    An `inquiry` has taken no money. A dispute in another currency than its payment's stays an
    `inquiry` until it is `closed`, and is not booked. `loss_cents` is what the bank took beyond the
    money that was left here: the customer does not owe it.
    """

    dispute_id: Annotated[str, encoded(ids.DISPUTE)] = Field(validation_alias="id")
    account_id: AccountId
    payment_id: PaymentId
    invoice_id: InvoiceId
    stripe_dispute_id: str
    status: DisputeState = Field(
        validation_alias="state",
        description="`inquiry`: nothing is taken; `open`: the bank holds the money; `won`; `lost`;"
        " `closed`: it ended without a verdict",
    )
    stripe_status: str = Field(validation_alias="status", description="The status at Stripe")
    amount_cents: int = Field(
        validation_alias="asked_minor", description="What the bank asks back, in minor units"
    )
    returned_cents: int = Field(
        validation_alias="returned_minor",
        description="What the bank returned of it though the dispute is lost",
    )
    loss_cents: int = Field(validation_alias="loss_minor")
    currency: str
    reason: str = Field(description="The bank's reason, such as `fraudulent`")
    evidence_due_at: datetime | None
    created_at: datetime
    closed_at: datetime | None

    @classmethod
    def of_row(cls, row: Any) -> Self:
        """Show a row of `service.dispute_listing`."""
        return cls.of(Dispute.model_validate(row))


@router.post(
    "/admin/payments/{payment_id}/refund",
    response_model=RefundAnswer,
    responses={
        202: {"model": RefundAnswer, "description": "The provider has not decided yet"},
        **responses(
            "PAYMENT_NOT_FOUND", "PAYMENT_STATE", "REFUND_TOO_LARGE", "REFUND_STEP",
            "IDEMPOTENCY_KEY_REQUIRED", "TEMPORAL_UNAVAILABLE", *KEYED,
        ),
    },
)  # fmt: skip
async def refund_payment(
    payment_id: str, body: RefundBody, call: AdminCall, once: RequiredKey
) -> Response:
    """Refund a payment in part or whole, until nothing is left, with a credit note for its invoice;
    the credits that it paid for are clawed back. A failed refund frees its amount again. Refunding
    all the money of its period ends a subscription, unless `keep_subscription` is true.
    """
    payment = await _paid(call, payment_id)
    async with once.claim(call, payment.account_id) as claim:
        await need_temporal(call, claim)
        wanted = Wanted(
            refund_id=claim.resource_id, amount_minor=body.amount_cents, reason=body.reason,
            to_balance=body.to == "balance", reference=body.reference,
            keep_subscription=body.keep_subscription, keep_credits=body.keep_credits,
        )  # fmt: skip
        async with call.database.tenant(payment.account_id) as connection:
            matter = await service.refund(connection, payment.id, wanted)
        await wait_until_done(call, matter)
        async with call.database.operator() as connection:
            made = await service.find_refund(connection, wanted.refund_id)
        return claim.answer(200 if made.is_finished else 202, RefundAnswer.of(made))


@router.get(
    "/admin/payments/{payment_id}/refunds",
    responses=responses("PAYMENT_NOT_FOUND", "INVALID_CURSOR"),
)
async def list_refunds(payment_id: str, call: AdminCall, paging: Paging) -> Page[RefundAnswer]:
    """The refunds of one payment, newest first."""
    keys = (refunds.c.created_at, refunds.c.id)
    payment = await _paid(call, payment_id)
    async with call.database.operator() as connection:
        query = service.refund_listing(payment.id)
        return await paginate(connection, query, keys, paging, RefundAnswer.of_row)


@router.get("/admin/disputes", responses=responses("MERCHANT_NOT_FOUND", "INVALID_CURSOR"))
async def list_disputes(
    call: AdminCall, paging: Paging, status: DisputeState | None = None, account_id: OneWord = None
) -> Page[DisputeAnswer]:
    """Disputes of all accounts, newest first; `evidence_due_at` is the deadline for a response."""
    keys = (disputes.c.created_at, disputes.c.id)
    async with call.database.operator() as connection:
        account = await account_filter(connection, account_id)
        query = service.dispute_listing(account, (status,) if status else ())
        return await paginate(connection, query, keys, paging, DisputeAnswer.of_row)


async def _paid(call: Call, name: str) -> Payment:
    """Return the payment to act on. Errors: PAYMENT_NOT_FOUND, PLATFORM_MISMATCH."""
    async with call.database.operator() as connection:
        payment = await store.get(connection, row_id(ids.PAYMENT, name))
    await call.refuse_other_shop(payment.account_id)
    return payment
