"""Saving a card without a charge: a setup intent, confirmed in the browser, becomes a method."""

from datetime import datetime
from typing import Annotated, Any, Final, Self

from fastapi import Response
from pydantic import Field, StrictBool, StringConstraints

from api.answers.problems import KEYED, responses
from api.answers.public_ids import PaymentMethodId, encoded
from api.answers.schemas import Answer, Body
from api.calls import AccountCall
from api.dependencies import BillingCall
from api.idempotency import Claim, OptionalKey
from api.pay.pay_actions import NextAction, with_page
from api.requests.typed_words import TYPED_DEFAULT, ConfirmDefault
from api.routes.base import new_router
from api.routes.payment_methods import MethodAnswer, notify_changed
from api.workflow_calls import need_provider, need_temporal, wait_until_done
from billing.core import clock, ids
from billing.core.errors import Conflict, PaymentRequired, ProviderFailure
from billing.ledger.credits import service as credits
from billing.matters import store as matters
from billing.matters.schemas import Matter
from billing.money.payment_methods import card_setup
from billing.money.payment_methods import store as method_store
from billing.money.payment_methods.schemas import Setup
from billing.money.payments.pay_links import PayLinks

router = new_router("payment methods")


class _Defaulting(Body):
    """A card that may become the default at once."""

    make_default: StrictBool = Field(False, description="True makes it the account's default")
    confirm: ConfirmDefault = None


class SetupBody(_Defaulting):
    """A card to save; the account's first one always becomes the default."""


_PLAIN: Final = SetupBody()


class SyncBody(_Defaulting):
    """A setup intent that the customer has confirmed, by Stripe's id or ours."""

    setup_intent_id: Annotated[str, StringConstraints(min_length=1, max_length=255)] = Field(
        description="The setup intent, by Stripe's id or ours"
    )


class SetupAnswer(Answer):
    """A card being saved; `next_action.type` is none | confirm_card | wait.

    The browser confirms with the client secret; then POST /billing/payment-methods, or wait.
    """

    setup_intent_id: Annotated[str, encoded(ids.SETUP_INTENT)] = Field(validation_alias="id")
    provider_reference: str | None = Field(
        validation_alias="stripe_setup_intent_id",
        description="The setup intent, by Stripe's id; null while Stripe does not have it",
    )
    status: str = Field(
        description="`pending`: the provider does not have it yet; `waiting` or `action`: the payer"
        " is to confirm; `processing`; `succeeded`: the card is saved; `failed`, `canceled`,"
        " `refused`, `expired`: it is not",
    )
    client_secret: str | None = Field(
        description="What Stripe.js confirms it with; null: there is nothing to confirm"
    )
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
            "description": "Stripe has not answered; retry with the same key",
        },
        **responses("PLATFORM_ERROR", "TEMPORAL_UNAVAILABLE", "TEST_ACCOUNT_ON_LIVE_KEY", *KEYED),
    },
)
async def create_setup_intent(
    call: BillingCall, once: OptionalKey, body: SetupBody = _PLAIN
) -> Response:
    """Start saving a card without a charge [K5]; returns the browser's client secret."""
    async with once.claim(call) as claim:
        await need_provider(call, claim)
        name = ids.encode(ids.SETUP_INTENT, claim.resource_id)
        await wait_until_done(call, await _begin(call, claim, body), name)
        setup = await _read_setup(call, name)
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
    responses=responses("SETUP_INTENT_NOT_FOUND"),
)
async def read_setup_intent(setup_intent_id: str, call: BillingCall) -> SetupAnswer:
    """The state of a card that is being saved; needs the role billing, to see the secret."""
    return SetupAnswer.of_setup(await _read_setup(call, setup_intent_id), call.services.pay_links)


@router.post(
    "/billing/payment-methods",
    response_model=MethodAnswer,
    status_code=201,
    dependencies=[TYPED_DEFAULT],
    responses={
        202: {"model": SetupAnswer, "description": "Stripe has not decided; retry"},
        **responses(
            "SETUP_INTENT_NOT_FOUND", "SETUP_INTENT_INCOMPLETE", "CARD_DECLINED",
            "PAYMENT_METHOD_NOT_FOUND", "TEMPORAL_UNAVAILABLE", *KEYED,
        ),
    },
)  # fmt: skip
async def create_payment_method(body: SyncBody, call: BillingCall, once: OptionalKey) -> Response:
    """Store the card of a confirmed setup intent at once, without waiting for the webhook."""
    async with once.claim(call) as claim:
        await need_temporal(call, claim)
        async with call.transaction() as connection:
            setup = await card_setup.find(connection, body.setup_intent_id)
            changed = await card_setup.ask(
                connection,
                setup,
                make_default=body.make_default,
                at=await clock.now(connection, call.account.id),
            )
        await notify_changed(call, changed, wait_for=ids.encode(ids.SETUP_INTENT, setup.id))
        return await _answer_sync(call, claim, body.setup_intent_id)


async def _begin(call: AccountCall, claim: Claim, body: SetupBody) -> Matter:
    """Return the account's matter with the request to save a card, new or from an earlier try."""
    async with call.transaction() as connection:
        at = await credits.now_locked(connection, call.account.id)
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
    """Return the stored method, or 202 while Stripe has not answered; else raise the error."""
    setup = await _read_setup(call, name)
    if setup.payment_method_id is not None:
        async with call.transaction() as connection:
            method = await method_store.get(connection, setup.payment_method_id)
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


def setup_action(setup: Setup) -> dict[str, Any]:
    """The next action of a payer who saves a card."""
    if setup.finished_at is not None:
        return {"type": "none"}
    if setup.client_secret is None or setup.status == "processing":
        return {"type": "wait"}
    return {"type": "confirm_card", "client_secret": setup.client_secret}
