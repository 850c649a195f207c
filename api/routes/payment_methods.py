"""Stored payment methods: save a card, list, label, choose the default, remove.

Only metadata is stored [K4]. A page that asks its person to type a word passes it on in `confirm`
[K8]: DEFAULT to choose a default, DELETE to remove a method. A bearer client need not.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self
from uuid import UUID

from fastapi import Response
from pydantic import Field, StringConstraints

from api.answers.pagination import Page, Paging, paginate
from api.answers.problems import KEYED, responses
from api.answers.public_ids import (
    PaymentMethodId,
    PaymentMethodName,
    encoded,
    payment_method_row,
    row_id,
)
from api.answers.schemas import Answer, Body, Text, optional_body
from api.dependencies import AccountCall, BillingCall, MemberCall
from api.idempotency import Claim, OptionalKey
from api.pay.pay_actions import NextAction, with_page
from api.requests.card_numbers import NoCardNumber
from api.requests.typed_words import TYPED_DEFAULT, TYPED_DELETE
from api.routes.base import new_router
from api.workflow_calls import need_provider, need_temporal, notify, wait_until_done
from billing.core import clock, ids
from billing.core.errors import Conflict, PaymentRequired, ProviderFailure
from billing.matters import store as matters
from billing.matters.schemas import Matter
from billing.money.payment_methods import card_setup
from billing.money.payment_methods import service as methods
from billing.money.payment_methods.schemas import Setup
from billing.money.payment_methods.tables import payment_methods
from billing.money.payments import store as payment_store
from billing.money.payments.pay_links import PayLinks
from billing.money.subscriptions import store as subscriptions

router = new_router("payment methods")

Flag = Annotated[bool, Field(strict=True)]


class _Defaulting(Body):
    """A card that may become the default at once."""

    make_default: Flag = False
    confirm: Literal["DEFAULT"] | None = Field(None, description="DEFAULT, typed by the person")


class SetupBody(_Defaulting):
    """A card to save; the account's first one always becomes the default."""


_PLAIN: Final = SetupBody()


class SyncBody(_Defaulting):
    """A setup intent that the customer has confirmed: Stripe's id of it, or ours."""

    setup_intent_id: Annotated[str, StringConstraints(min_length=1, max_length=255)]


class LabelBody(Body):
    """The changeable fields of a stored method; to change a card, save another one."""

    label: Annotated[Text, NoCardNumber] | None


class DefaultBody(Body):
    """The word that a person typed."""

    confirm: Literal["DEFAULT"] | None = Field(None, description="DEFAULT, typed by the person")


class RemoveBody(Body):
    """The word that a person typed, and the method that becomes the default."""

    confirm: Literal["DELETE"] | None = Field(None, description="DELETE, typed by the person")
    new_default: PaymentMethodName | None = Field(
        None, description="Becomes the default; without it the newest other one, where this was it"
    )


class MethodAnswer(Answer):
    """A stored method [K4]: metadata only. `type` is card, bank_transfer or other [K14].

    `provider_type` is the provider's own name: card, us_bank_account, sepa_debit.
    """

    id: PaymentMethodId
    type: str = Field(validation_alias="kind")
    provider_type: str = Field(validation_alias="provider_kind")
    provider: str
    brand: str | None
    last4: str | None
    exp_month: int | None
    exp_year: int | None
    country: str | None
    label: str | None
    is_default: bool
    is_backup: bool
    created_at: datetime


class RemovedAnswer(Answer):
    """A removed method: nothing is charged to it any more."""

    id: str
    deleted: bool = True


class SetupAnswer(Answer):
    """A card being saved; `next_action.type` is none | confirm_card | wait.

    The browser confirms with the client secret; then POST /billing/payment-methods, or wait.
    """

    setup_intent_id: Annotated[str, encoded(ids.SETUP_INTENT)] = Field(validation_alias="id")
    provider_reference: str | None = Field(validation_alias="stripe_setup_intent_id")
    status: str
    client_secret: str | None
    payment_method_id: PaymentMethodId | None
    next_action: NextAction = Field(
        examples=[{"type": "confirm_card", "client_secret": "seti_1_secret_2"}]
    )
    created_at: datetime

    @classmethod
    def of_setup(cls, setup: Setup, links: PayLinks) -> Self:
        """The card being saved, with the browser's next action."""
        action = with_page(links, setup_action(setup), setup.account_id, "setup", setup.id)
        return cls.of(setup, next_action=action)


@router.post(
    "/billing/payment-methods/setup-intent",
    response_model=SetupAnswer,
    status_code=201,
    dependencies=[TYPED_DEFAULT],
    responses={
        202: {
            "model": SetupAnswer,
            "description": "Stripe has not answered: the same key asks again",
        },
        **responses(
            "MERCHANT_NOT_FOUND", "PLATFORM_ERROR", "TEMPORAL_UNAVAILABLE",
            "TEST_ACCOUNT_ON_LIVE_KEY", *KEYED,
        ),
    },
)  # fmt: skip
async def create_setup_intent(
    call: BillingCall, once: OptionalKey, body: SetupBody = _PLAIN
) -> Response:
    """Start saving a card without a charge [K5]; the answer has the browser's client secret."""
    await need_provider(call)
    async with once.claim(call) as claim:
        await wait_until_done(call, await _begin(call, claim, body))
        setup = await _read_setup(call, ids.encode(ids.SETUP_INTENT, claim.resource_id))
        if setup.status == "refused":
            raise ProviderFailure(
                "PLATFORM_ERROR", "the payment provider refused; no card was saved"
            )
        return claim.answer(
            202 if setup.status == "pending" else 201,
            SetupAnswer.of_setup(setup, call.services.pay_links),
        )


@router.get(
    "/billing/payment-methods/setup-intent/{setup_intent_id}",
    responses=responses("SETUP_INTENT_NOT_FOUND", "MERCHANT_NOT_FOUND"),
)
async def read_setup_intent(setup_intent_id: str, call: BillingCall) -> SetupAnswer:
    """The state of a card that is being saved; it needs the role billing, as it has the secret."""
    return SetupAnswer.of_setup(await _read_setup(call, setup_intent_id), call.services.pay_links)


@router.post(
    "/billing/payment-methods",
    response_model=MethodAnswer,
    status_code=201,
    dependencies=[TYPED_DEFAULT],
    responses={
        202: {"model": SetupAnswer, "description": "Stripe has not decided: ask again"},
        **responses(
            "SETUP_INTENT_NOT_FOUND", "SETUP_INTENT_INCOMPLETE", "CARD_DECLINED",
            "PAYMENT_METHOD_NOT_FOUND", "MERCHANT_NOT_FOUND", "TEMPORAL_UNAVAILABLE", *KEYED,
        ),
    },
)  # fmt: skip
async def create_payment_method(body: SyncBody, call: BillingCall, once: OptionalKey) -> Response:
    """Store the card of a confirmed setup intent at once, without waiting for the webhook."""
    await need_temporal(call)
    async with once.claim(call) as claim:
        async with call.transaction() as connection:
            setup = await card_setup.find(connection, body.setup_intent_id)
            changed = await card_setup.ask(
                connection,
                setup,
                make_default=body.make_default,
                at=await clock.now(connection, call.account.id),
            )
        await _notify(call, changed, wait=True)
        return await _answer_sync(call, claim, body.setup_intent_id)


@router.get("/billing/payment-methods", responses=responses("INVALID_CURSOR", "MERCHANT_NOT_FOUND"))
async def list_payment_methods(call: MemberCall, paging: Paging) -> Page[MethodAnswer]:
    """The account's methods, newest first; `is_default` marks the one that is charged [K7]."""
    keys = (payment_methods.c.created_at, payment_methods.c.id)
    async with call.transaction() as connection:
        query = methods.listing(call.account.id)
        return await paginate(connection, query, keys, paging, MethodAnswer.of)


@router.get(
    "/billing/payment-methods/{payment_method_id}",
    responses=responses("PAYMENT_METHOD_NOT_FOUND", "MERCHANT_NOT_FOUND"),
)
async def read_payment_method(payment_method_id: str, call: MemberCall) -> MethodAnswer:
    """One stored method."""
    async with call.transaction() as connection:
        return MethodAnswer.of(await methods.get(connection, _decode(payment_method_id)))


@router.patch(
    "/billing/payment-methods/{payment_method_id}",
    response_model=MethodAnswer,
    responses=responses("PAYMENT_METHOD_NOT_FOUND", "MERCHANT_NOT_FOUND", *KEYED),
)
async def change_payment_method(
    payment_method_id: str, body: LabelBody, call: BillingCall, once: OptionalKey
) -> Response:
    """Label a method. Its other fields come from the provider or have their own routes."""
    async with once.claim(call) as claim:
        async with call.transaction() as connection:
            at = await clock.now(connection, call.account.id)
            method = await methods.rename(connection, _decode(payment_method_id), body.label, at)
        return claim.answer(200, MethodAnswer.of(method))


@router.delete(
    "/billing/payment-methods/{payment_method_id}",
    response_model=RemovedAnswer,
    dependencies=[TYPED_DELETE],
    responses=responses(
        "PAYMENT_METHOD_NOT_FOUND", "PAYMENT_METHOD_IN_USE", "MERCHANT_NOT_FOUND", *KEYED
    ),
)
async def delete_payment_method(
    payment_method_id: str,
    body: Annotated[RemoveBody, optional_body(RemoveBody)],
    call: BillingCall,
    once: OptionalKey,
) -> Response:
    """Remove a method, here at once and at Stripe right after. The body may be left out.

    409 for the last method that can pay an open subscription, and while it is being charged.
    """
    removed = RemovedAnswer(id=payment_method_id)
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
        await _notify(call, changed)
        return claim.answer(200, removed)


@router.post(
    "/billing/payment-methods/{payment_method_id}/default",
    response_model=MethodAnswer,
    dependencies=[TYPED_DEFAULT],
    responses=responses("PAYMENT_METHOD_NOT_FOUND", "MERCHANT_NOT_FOUND", *KEYED),
)
async def choose_default_method(
    payment_method_id: str,
    body: Annotated[DefaultBody, optional_body(DefaultBody)],
    call: BillingCall,
    once: OptionalKey,
) -> Response:
    """Charge this method from now on [K3]; overdue invoices are tried with it at once."""
    async with once.claim(call) as claim:
        method_id = _decode(payment_method_id)
        async with call.transaction() as connection:
            at = await clock.now(connection, call.account.id)
            changed = await methods.choose(connection, method_id, at)
            chosen = MethodAnswer.of(await methods.get(connection, method_id))
            await claim.keep(connection, 200, chosen)
        await _notify(call, changed)
        return claim.answer(200, chosen)


@router.post(
    "/billing/payment-methods/{payment_method_id}/backup",
    response_model=MethodAnswer,
    responses=responses(
        "PAYMENT_METHOD_NOT_FOUND", "PAYMENT_METHOD_IS_DEFAULT", "MERCHANT_NOT_FOUND", *KEYED
    ),
)
async def choose_backup_method(
    payment_method_id: str, call: BillingCall, once: OptionalKey
) -> Response:
    """Charge this method for open invoices whose card the bank has refused for good [K6].

    An account has one backup: this one takes the place of another.
    """
    async with once.claim(call) as claim:
        method_id = _decode(payment_method_id)
        async with call.transaction() as connection:
            at = await clock.now(connection, call.account.id)
            changed = await methods.choose_backup(connection, method_id, at)
            chosen = MethodAnswer.of(await methods.get(connection, method_id))
            await claim.keep(connection, 200, chosen)
        await _notify(call, changed)
        return claim.answer(200, chosen)


@router.delete(
    "/billing/payment-methods/{payment_method_id}/backup",
    response_model=MethodAnswer,
    responses=responses("PAYMENT_METHOD_NOT_FOUND", "MERCHANT_NOT_FOUND", *KEYED),
)
async def end_backup_method(
    payment_method_id: str, call: BillingCall, once: OptionalKey
) -> Response:
    """Let the method be the backup no more; it stays saved."""
    async with once.claim(call) as claim:
        async with call.transaction() as connection:
            at = await clock.now(connection, call.account.id)
            method = await methods.end_backup(connection, _decode(payment_method_id), at)
            await claim.keep(connection, 200, MethodAnswer.of(method))
        return claim.answer(200, MethodAnswer.of(method))


async def _begin(call: AccountCall, claim: Claim, body: SetupBody) -> Matter:
    """The account's matter with the request to save a card, new or from an earlier try."""
    async with call.transaction() as connection:
        at = await clock.now(connection, call.account.id)
        if claim.resumed and await card_setup.exists(connection, claim.resource_id):
            return await matters.ensure_account(connection, call.account.id, due=at, at=at)
        return await card_setup.start(
            connection,
            call.account.id,
            setup_id=claim.resource_id,
            make_default=body.make_default,
            at=at,
        )


async def _read_setup(call: AccountCall, name: str) -> Setup:
    async with call.transaction() as connection:
        return await card_setup.find(connection, name)


async def _answer_sync(call: AccountCall, claim: Claim, name: str) -> Response:
    """The stored method; 202 while Stripe has not answered; else the error."""
    setup = await _read_setup(call, name)
    if setup.payment_method_id is not None:
        async with call.transaction() as connection:
            method = await methods.get(connection, setup.payment_method_id)
        return claim.answer(201, MethodAnswer.of(method))
    if setup.asked_at is not None:
        return claim.answer(202, SetupAnswer.of_setup(setup, call.services.pay_links))
    if setup.status == "failed":
        raise PaymentRequired("CARD_DECLINED", "the card could not be saved: try another")
    raise Conflict(
        "SETUP_INTENT_INCOMPLETE",
        f"no card was saved: the setup intent is {setup.status}",
        setup_status=setup.status,
    )


async def _notify(call: AccountCall, changed: Sequence[Matter], *, wait: bool = False) -> None:
    """Notify the matters; for the account's own, wait until nothing of it is due."""
    for matter in changed:
        if wait and matter.kind == "account":
            await wait_until_done(call, matter)
        else:
            await notify(call, matter)


def setup_action(setup: Setup) -> dict[str, Any]:
    """The next action of a payer who saves a card."""
    if setup.finished_at is not None:
        return {"type": "none"}
    if setup.client_secret is None or setup.status == "processing":
        return {"type": "wait"}
    return {"type": "confirm_card", "client_secret": setup.client_secret}


def _decode(name: str) -> UUID:
    return row_id(ids.PAYMENT_METHOD, name)
