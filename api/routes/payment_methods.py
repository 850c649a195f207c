"""Stored payment methods: list, label, choose the default or backup, remove.

Only metadata is stored [K4]. A page that makes its user type a word sends it in `confirm` [K8]:
DEFAULT to choose a default, DELETE to remove a method. A bearer client need not.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Response
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection

from api.answers.pagination import Page, Paging, paginate
from api.answers.problems import KEYED, responses
from api.answers.public_ids import (
    PaymentMethodId,
    PaymentMethodName,
    payment_method_row,
    row_id,
)
from api.answers.schemas import Answer, Body, Text, optional_body
from api.calls import AccountCall
from api.dependencies import BillingCall, MemberCall
from api.idempotency import Once, OptionalKey
from api.requests.card_numbers import NoCardNumber
from api.requests.typed_words import TYPED_DEFAULT, TYPED_DELETE, ConfirmDefault, ConfirmDelete
from api.routes.base import new_router
from api.workflow_calls import notify, wait_until_done
from billing.core import clock, ids
from billing.matters.schemas import Matter
from billing.money.payment_methods import service as methods
from billing.money.payment_methods import store as method_store
from billing.money.payment_methods.tables import payment_methods
from billing.money.payments import store as payment_store
from billing.money.subscriptions import store as subscriptions

router = new_router("payment methods")


class LabelBody(Body):
    """The changeable fields of a stored method; to change a card, save another one."""

    label: Annotated[Text, NoCardNumber] | None = Field(
        description="Your own name of the method; null: none"
    )


class DefaultBody(Body):
    """The word that a person typed."""

    confirm: ConfirmDefault = None


class RemoveBody(Body):
    """The typed word, and the method that becomes the default."""

    confirm: ConfirmDelete = None
    new_default: PaymentMethodName | None = Field(
        None, description="Becomes the default; if this was the default, else the newest other one"
    )


class MethodAnswer(Answer):
    """A stored method [K4]: metadata only. `type` is card, bank_transfer or other [K14].

    `provider_type` is the provider's own name: card, us_bank_account, sepa_debit.
    """

    id: PaymentMethodId = Field(description="As `payment_method_id`")
    payment_method_id: PaymentMethodId = Field(validation_alias="id")
    type: str = Field(validation_alias="kind", description="`card`, `bank_transfer` or `other`")
    provider_type: str = Field(
        validation_alias="provider_kind",
        description="The provider's own name of its kind, such as `card`, `us_bank_account` or"
        " `sepa_debit`",
    )
    provider: str = Field(description="Who keeps it")
    brand: str | None = Field(description="The brand of a card; null: it is none")
    last4: str | None = Field(description="The last four digits; null: it has none")
    exp_month: int | None = Field(
        description="The month in which the card expires, 1 to 12; null: it does not"
    )
    exp_year: int | None = Field(
        description="The year in which the card expires; null: it does not"
    )
    country: str | None = Field(description="The country of its bank, ISO 3166-1; null: not known")
    label: str | None = Field(description="Your own name of the method; null: none")
    is_default: bool = Field(
        description="True for the account's default, which is charged unless another is named"
    )
    is_backup: bool = Field(
        description="True for the one that is charged if the default cannot pay"
    )
    barred_at: datetime | None = Field(
        description="Since when its bank forbids further charges, or a payment by it is disputed"
        " as fraud: it is not tried"
    )
    created_at: datetime


class RemovedAnswer(Answer):
    """A removed method, which is not charged any more."""

    id: str = Field(description="As `payment_method_id`")
    payment_method_id: str
    deleted: bool = Field(True, description="Always true")


@router.get("/billing/payment-methods", responses=responses("INVALID_CURSOR"))
async def list_payment_methods(call: MemberCall, paging: Paging) -> Page[MethodAnswer]:
    """The account's methods, newest first; `is_default` marks the one that is charged [K7].

    One with `barred_at` is charged no more; the backup is, where there is one.
    """
    keys = (payment_methods.c.created_at, payment_methods.c.id)
    async with call.transaction() as connection:
        query = method_store.listing(call.account.id)
        return await paginate(connection, query, keys, paging, MethodAnswer.of)


@router.get(
    "/billing/payment-methods/{payment_method_id}",
    responses=responses("PAYMENT_METHOD_NOT_FOUND"),
)
async def read_payment_method(payment_method_id: str, call: MemberCall) -> MethodAnswer:
    """One stored method."""
    async with call.transaction() as connection:
        return MethodAnswer.of(await method_store.get(connection, _decode(payment_method_id)))


@router.patch(
    "/billing/payment-methods/{payment_method_id}",
    response_model=MethodAnswer,
    responses=responses("PAYMENT_METHOD_NOT_FOUND", *KEYED),
)
async def change_payment_method(
    payment_method_id: str, body: LabelBody, call: BillingCall, once: OptionalKey
) -> Response:
    """Label a method. Its other fields come from the provider or have their own routes."""
    async with once.claim(call) as claim:
        async with call.transaction() as connection:
            at = await clock.now(connection, call.account.id)
            method = await methods.rename(connection, _decode(payment_method_id), body.label, at)
            await claim.keep(connection, 200, MethodAnswer.of(method))
        return claim.answer(200, MethodAnswer.of(method))


@router.delete(
    "/billing/payment-methods/{payment_method_id}",
    response_model=RemovedAnswer,
    dependencies=[TYPED_DELETE],
    responses=responses("PAYMENT_METHOD_NOT_FOUND", "PAYMENT_METHOD_IN_USE", *KEYED),
)
async def delete_payment_method(
    payment_method_id: str,
    body: Annotated[RemoveBody, optional_body(RemoveBody)],
    call: BillingCall,
    once: OptionalKey,
) -> Response:
    """Remove a method, here at once and at Stripe right after. The body is optional.

    409 for the last method that can pay an open subscription, and while it is being charged.
    """
    removed = RemovedAnswer(id=payment_method_id, payment_method_id=payment_method_id)
    async with once.claim(call) as claim:
        async with call.transaction() as connection:
            changed = await methods.remove(
                connection,
                _decode(payment_method_id),
                payment_method_row(body.new_default),
                await clock.now(connection, call.account.id),
                is_in_use=payment_store.uses_method,
                charged_in=subscriptions.charged_in,
            )
            await claim.keep(connection, 200, removed)
        await notify_changed(call, changed)
        return claim.answer(200, removed)


@router.post(
    "/billing/payment-methods/{payment_method_id}/default",
    response_model=MethodAnswer,
    dependencies=[TYPED_DEFAULT],
    responses=responses("PAYMENT_METHOD_NOT_FOUND", *KEYED),
)
async def choose_default_method(
    payment_method_id: str,
    body: Annotated[DefaultBody, optional_body(DefaultBody)],
    call: BillingCall,
    once: OptionalKey,
) -> Response:
    """Charge this method from now on [K3]; overdue invoices are tried with it at once."""
    return await _choose(call, once, payment_method_id, methods.choose)


@router.post(
    "/billing/payment-methods/{payment_method_id}/backup",
    response_model=MethodAnswer,
    responses=responses("PAYMENT_METHOD_NOT_FOUND", "PAYMENT_METHOD_IS_DEFAULT", *KEYED),
)
async def choose_backup_method(
    payment_method_id: str, call: BillingCall, once: OptionalKey
) -> Response:
    """Charge this method for open invoices whose card the bank has permanently declined [K6].

    An account has one backup: this one replaces any other.
    """
    return await _choose(call, once, payment_method_id, methods.choose_backup)


@router.delete(
    "/billing/payment-methods/{payment_method_id}/backup",
    response_model=MethodAnswer,
    responses=responses("PAYMENT_METHOD_NOT_FOUND", *KEYED),
)
async def end_backup_method(
    payment_method_id: str, call: BillingCall, once: OptionalKey
) -> Response:
    """Stop using the method as the backup; it stays saved."""
    async with once.claim(call) as claim:
        async with call.transaction() as connection:
            at = await clock.now(connection, call.account.id)
            method = await methods.end_backup(connection, _decode(payment_method_id), at)
            await claim.keep(connection, 200, MethodAnswer.of(method))
        return claim.answer(200, MethodAnswer.of(method))


async def _choose(
    call: AccountCall,
    once: Once,
    name: str,
    verb: Callable[[AsyncConnection, UUID, datetime], Awaitable[list[Matter]]],
) -> Response:
    """Give a method a role among the account's, and answer it."""
    async with once.claim(call) as claim:
        method_id = _decode(name)
        async with call.transaction() as connection:
            at = await clock.now(connection, call.account.id)
            changed = await verb(connection, method_id, at)
            chosen = MethodAnswer.of(await method_store.get(connection, method_id))
            await claim.keep(connection, 200, chosen)
        await notify_changed(call, changed)
        return claim.answer(200, chosen)


async def notify_changed(
    call: AccountCall, changed: Sequence[Matter], *, wait_for: str | None = None
) -> None:
    """Notify the matters; `wait_for`: wait until nothing of this is due in the account's own."""
    for matter in changed:
        if wait_for is not None and matter.kind == "account":
            await wait_until_done(call, matter, wait_for)
        else:
            await notify(call, matter)


def _decode(name: str) -> UUID:
    return row_id(ids.PAYMENT_METHOD, name)
