"""Payments of invoices, and manual payments that operators approve or reject."""

from datetime import date, datetime
from typing import Annotated, Any, Final, Literal, Self
from uuid import UUID

from fastapi import Response
from pydantic import Field, StringConstraints, model_validator

from api.answers import statuses
from api.answers.pagination import Page, Paging, paginate_merged
from api.answers.problems import KEYED, responses
from api.answers.public_ids import (
    AccountId,
    AttemptId,
    InvoiceId,
    PaymentId,
    PaymentMethodId,
    SubscriptionId,
    row_id,
)
from api.answers.schemas import Answer, Body
from api.calls import AccountCall
from api.dependencies import MemberCall, MoneyCameCall
from api.idempotency import Claim, OptionalKey
from api.identity.auth import ADMIN
from api.pay.pay_actions import demand_offered
from api.requests.card_numbers import NoCardNumber
from api.routes.base import new_router
from api.user_scope import is_member
from api.workflow_calls import need_temporal, notify, wait_until_done
from billing.catalog.plans.schemas import Currency, PositiveMinor
from billing.core import clock, ids
from billing.core.errors import Invalid, NotFound
from billing.matters import store as matters
from billing.money.invoice_requests import locks, manual
from billing.money.invoices import store as invoice_store
from billing.money.payments import history, store
from billing.money.payments.rules import NOT_OPENED, PROVIDER_REFUSED, provider_of, type_of
from billing.money.payments.schemas import Payment, PaymentStatus

router = new_router("payments")

# `cancelled` is another spelling of the one we keep [X7].
StatusFilter = Literal[PaymentStatus, "cancelled"]
Spelled = Annotated[str, StringConstraints(strip_whitespace=True, max_length=255), NoCardNumber]
_REQUIRED: Final = ("invoice_id", "payment_method", "transaction_reference")


class ManualBody(Body):
    """Money sent outside the service: a reference, never account numbers or card data [J4, J7]."""

    invoice_id: Spelled = Field(
        examples=["inv_01h455vb4pex5vsknk084sn02q"], description="The invoice that was paid"
    )
    payment_method: Spelled = Field(
        examples=["bank_transfer"], description="How it was sent, in the payer's own words"
    )
    transaction_reference: Spelled = Field(
        examples=["TRX-2027-0004711"],
        description="The reference by which the transfer is found; no number of an account or card",
    )
    amount: PositiveMinor | None = Field(
        None, description="In minor units; by default all that is owed"
    )
    currency: Currency | None = Field(
        None, description="ISO 4217; if it is sent, it must be that of the invoice"
    )

    @model_validator(mode="before")
    @classmethod
    def _demand_required(cls, sent: Any) -> Any:
        """Errors: MISSING_FIELD, before anything else is checked [J4]."""
        if not isinstance(sent, dict):
            return sent
        missing = [name for name in _REQUIRED if not str(sent.get(name) or "").strip()]
        if missing:
            errors = [{"field": name, "message": "is missing"} for name in missing]
            what = " and ".join(missing)
            raise Invalid("MISSING_FIELD", f"missing: {what}", errors=errors)
        return sent


class PaymentAnswer(Answer):
    """One payment [J2, J3, J10]; `amount` and `amount_received` in minor units of `currency`.

    `invoice_id` is the invoice that asked for it. If that was void by then because its purchase had
    ended, it is the one that the money paid instead, once that is booked.

    `payment_method` is card, saved_card, checkout, paypal, or the payer's own name of a manual one.
    `payment_method_type` is card, bank_transfer or other [K14], and null if the card or bank
    account is not saved; `provider` is stripe, paypal or manual. `received_on` is the day that an
    operator named for money from outside, `paid_at` is when it was recorded. In lists each declined
    attempt is an entry of its own that stays `failed`, with the id of its payment and an
    `attempt_id`.
    """

    payment_id: PaymentId = Field(validation_alias="id")
    attempt_id: AttemptId | None = None
    invoice_id: InvoiceId = Field(
        description="The invoice that asked for it, or that it paid instead"
    )
    user: AccountId = Field(validation_alias="account_id")
    subscription: SubscriptionId | None = Field(
        description="The subscription that its invoice bills, by our id; null: none"
    )
    status: str = Field(description=statuses.PAYMENT)
    amount: int = Field(
        validation_alias="amount_minor",
        description="What was asked for, in minor units of `currency`",
    )
    amount_received: int = Field(validation_alias="received_minor")
    amount_refunded: int = Field(validation_alias="refunded_minor")
    currency: str
    payment_method: str = Field(
        description="`card`, `saved_card`, `checkout` or `paypal`; of money from outside the"
        " payer's own name for it",
    )
    payment_method_type: Literal["card", "bank_transfer", "other"] | None
    provider: Literal["stripe", "paypal", "manual"] = Field(
        description="What handles it: `stripe`, `paypal`, or `manual` for money from outside"
    )
    payment_method_id: PaymentMethodId | None
    stripe_payment_intent_id: str | None
    transaction_reference: str | None = Field(
        description="The reference of money from outside; null: it came through a provider"
    )
    received_on: date | None = Field(
        description="The day on which money from outside came, as an operator said; null: nobody"
        " did",
    )
    failure_code: str | None
    failure_message: str | None
    decided_at: datetime | None
    decision_reason: str | None
    paid_at: datetime | None = Field(
        description="When its money came, or was recorded if it came from outside; null: not yet"
    )
    created_at: datetime

    @classmethod
    def of_row(cls, row: Any, **more: Any) -> Self:
        """Show a row of `store.listing` or `history.listing`, with further fields."""
        payment = Payment.model_validate(row)
        shown = cls.of(
            payment,
            subscription=row["subscription_id"],
            payment_method=payment.manual_method or payment.flow,
            payment_method_type=type_of(payment.flow, payment.manual_method, row["method_kind"]),
            provider=provider_of(payment.flow),
            **more,
        )
        return shown.model_copy(update={"attempt_id": _attempt(row)})

    @classmethod
    def for_customer(cls, row: Any) -> Self:
        """Show a row without what the provider said of our own account or request."""
        shown = cls.of_row(row)
        if shown.failure_code != PROVIDER_REFUSED:
            return shown
        return shown.model_copy(update={"failure_message": NOT_OPENED})


@router.post(
    "/billing/payments/manual",
    response_model=PaymentAnswer,
    status_code=201,
    responses={
        202: {"model": PaymentAnswer, "description": "The open card payment is canceled first"},
        **responses(
            "MISSING_FIELD", "INVOICE_NOT_FOUND", "INVOICE_ALREADY_PAID", "INVOICE_STATE",
            "PAYMENT_PENDING", "PAYMENT_REFERENCE_USED", "CURRENCY_MISMATCH", "INVALID_COUPON",
            "PAYMENT_METHOD_NOT_OFFERED", "TEMPORAL_UNAVAILABLE", *KEYED, manual=True,
        ),
    },
)  # fmt: skip
async def submit_manual_payment(
    call: MoneyCameCall, once: OptionalKey, body: ManualBody | None = None
) -> Response:
    """State that money was sent for an invoice; an operator approves or rejects it [J4 to J6].

    For a purchase that ended unpaid this is possible for 30 days, and its coupon is redeemed again.
    """
    wanted = body or ManualBody.model_validate({})
    async with once.claim(call) as claim:
        await need_temporal(call, claim)
        await _submit(call, claim, wanted)
        answer = await _read(call, claim.resource_id)
        return claim.answer(202 if answer.status == "pending" else 201, answer)


@router.get("/billing/payments", responses=responses("INVALID_CURSOR"))
async def list_payments(
    call: MemberCall, paging: Paging, status: StatusFilter | None = None
) -> Page[PaymentAnswer]:
    """The account's payments, newest first, each declined attempt as its own entry [J1, J3]."""
    member = is_member(call)
    parts = history.listing(call.account.id, statuses=statuses_of(status), for_member=member)
    async with call.transaction() as connection:
        return await paginate_merged(connection, parts, paging, PaymentAnswer.for_customer)


@router.get("/billing/payments/{payment_id}", responses=responses("PAYMENT_NOT_FOUND"))
async def read_payment(payment_id: str, call: MemberCall) -> PaymentAnswer:
    """One payment."""
    return await _read(call, row_id(ids.PAYMENT, payment_id))


def _attempt(row: Any) -> str | None:
    """Return the id of the attempt that an entry of the list is made from."""
    attempt_id = row.get("attempt_id")
    return ids.encode(ids.ATTEMPT, attempt_id) if attempt_id is not None else None


async def _read(call: AccountCall, payment_id: UUID) -> PaymentAnswer:
    query = store.listing(call.account.id, only=payment_id)
    if is_member(call):
        query = query.where(~invoice_store.is_of_use())
    async with call.transaction() as connection:
        row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise NotFound("PAYMENT_NOT_FOUND")
    return PaymentAnswer.for_customer(row)


def statuses_of(wanted: StatusFilter | None) -> tuple[str, ...]:
    """Return the stored statuses to list; none for all."""
    return () if wanted is None else ("canceled" if wanted == "cancelled" else wanted,)


async def _submit(call: AccountCall, claim: Claim, wanted: ManualBody) -> None:
    """Write the payment unless an earlier request did; its matter cancels an open card payment."""
    async with call.transaction() as connection:
        invoice = await locks.take(connection, row_id(ids.INVOICE, wanted.invoice_id))
        payment = await store.find(connection, claim.resource_id) if claim.resumed else None
        if payment is not None:
            matter = await matters.find(connection, payment.workflow_id)
        else:
            by_operator = ADMIN in call.caller.roles
            is_agreed = by_operator or await manual.is_by_hand(connection, invoice)
            if invoice.status != "paid" and not is_agreed:
                await demand_offered(call, connection, "manual")
            payment, matter = await manual.submit(
                connection,
                invoice.id,
                payment_id=claim.resource_id,
                method=wanted.payment_method,
                reference=wanted.transaction_reference,
                amount_minor=wanted.amount,
                currency=wanted.currency,
                at=await clock.now(connection, call.account.id),
                by_operator=by_operator,
            )
    if matter is not None and payment.status == "pending":
        await wait_until_done(call, matter)
    elif matter is not None:
        await notify(call, matter)
