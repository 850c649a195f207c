"""Payment of everything overdue in one step."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Annotated, Any
from uuid import UUID

from fastapi import Response
from sqlalchemy.ext.asyncio import AsyncConnection

from api.answers.card_refusals import refusal
from api.answers.problems import KEYED, responses
from api.answers.public_ids import invoice_rows, payment_method_row
from api.answers.schemas import optional_body
from api.calls import AccountCall
from api.dependencies import BillingCall
from api.idempotency import Claim, OptionalKey
from api.pay.pay_actions import NextAction
from api.routes.base import new_router
from api.routes.invoice_answers import next_action_of
from api.routes.overdue_bodies import (
    OverdueAnswer,
    OwedPart,
    PayOverdueBody,
    ResumptionPart,
    StandingPart,
    resumption_part,
)
from api.routes.paying_bodies import PayingBody
from api.routes.subscription_answers import SubscriptionAnswer
from api.routes.subscription_changes import PaidVerb, charge
from api.workflow_calls import free_halted, need_temporal, wait_until_all_done
from billing.core import clock, ids
from billing.core.errors import Conflict, PaymentRequired, ProviderFailure
from billing.matters.effects import Work
from billing.money.invoice_requests import card, overdue
from billing.money.invoice_requests.overdue import Foreseen, Wanted
from billing.money.invoices import store as invoice_store
from billing.money.invoices.schemas import Invoice
from billing.money.payment_methods import store as method_store
from billing.money.payments import store as payment_store
from billing.money.payments.schemas import Attempt
from billing.money.subscriptions import store as subscriptions
from billing.money.subscriptions.commands import running
from billing.money.subscriptions.facts import SubscriptionFacts
from billing.money.subscriptions.previews import tokens
from billing.money.subscriptions.previews.tokens import Promise
from billing.money.subscriptions.schemas import Paying

router = new_router("invoices")
_Try = tuple[UUID, Attempt | None]
"""An invoice, and its requested attempt."""


@router.post(
    "/billing/pay-overdue",
    response_model=OverdueAnswer,
    responses={
        202: {"model": OverdueAnswer, "description": "Still undecided; retry with the same key"},
        **responses(
            "INVOICE_NOT_FOUND", "INVOICE_ALREADY_PAID", "INVOICE_STATE", "PAYMENT_OVERDUE",
            "PAYMENT_PENDING", "PAYMENT_METHOD_NOT_FOUND", "PAYMENT_METHOD_REQUIRED",
            "CARD_DECLINED", "CURRENCY_NOT_CHARGED", "AMOUNT_TOO_LARGE", "PLATFORM_ERROR",
            "CHANGE_PENDING", "CHANGE_EXPIRED", "PREVIEW_EXPIRED", "TEMPORAL_UNAVAILABLE",
            "IDEMPOTENCY_KEY_REQUIRED", *KEYED,
        ),
    },
)  # fmt: skip
async def pay_overdue(
    body: Annotated[PayOverdueBody, optional_body(PayOverdueBody)],
    call: BillingCall,
    once: OptionalKey,
) -> OverdueAnswer | Response:
    """Pay every open invoice, or the named ones.

    With `resume` also resume a paused subscription.
    """
    if body.dry_run:
        return await _foreseen(call, body)
    once.require()
    async with once.claim(call) as claim:
        await need_temporal(call, claim)
        tried, resumed = await _pay(call, claim, body)
        answer = await _done(call, claim, body, tried, resumed)
        return claim.answer(202 if answer.next_action["type"] == "wait" else 200, answer)


async def _pay(
    call: AccountCall, claim: Claim, body: PayOverdueBody
) -> tuple[list[_Try], SubscriptionAnswer | None]:
    """Pay the debt, then resume if requested; a refusal says what was paid."""
    tried = await _try_each(call, claim, body)
    try:
        _raise_refusal(tried)
        resumes = body.resume and await _is_decided(call, tried)
        return tried, await _resume(call, claim, body) if resumes else None
    except (PaymentRequired, Conflict, ProviderFailure) as refused:
        refused.fields |= await _paid_before(call, tried)
        raise


async def _try_each(call: AccountCall, claim: Claim, body: PayOverdueBody) -> list[_Try]:
    """Try each invoice once."""
    await free_halted(call, call.account.id)
    async with call.transaction() as connection:
        account_id, wanted = call.account.id, _wanted(body)
        only = wanted.only
        # One that ended before it requested money, such as without Temporal, is checked anew.
        known = claim.resumed and await overdue.has_asked(
            connection, account_id, claim.suffix, claim.resource_id
        )
        if not known:
            await _demand_method(connection, wanted)
        if body.preview_token is not None and not known:
            secrets = call.services.settings.pay_link_secrets
            only = await overdue.demand_as_previewed(
                connection, account_id, wanted, body.preview_token, secrets
            )
        asked = await overdue.ask(
            connection,
            account_id,
            await clock.now(connection, account_id),
            suffix=claim.suffix,
            method_id=wanted.method_id,
            only=only,
        )
    claim.has_acted = True
    await wait_until_all_done(call, (one.matter for _, one in asked))
    async with call.transaction() as connection:
        return [
            (invoice_id, await payment_store.find_attempt(connection, one.attempt))
            for invoice_id, one in asked
        ]


def _wanted(body: PayOverdueBody) -> Wanted:
    return Wanted(
        only=invoice_rows(body.invoice_ids),
        method_id=payment_method_row(body.payment_method_id),
        resumes=body.resume,
        use_balance=body.use_balance,
    )


async def _demand_method(connection: AsyncConnection, wanted: Wanted) -> None:
    if wanted.method_id is not None:
        await method_store.get(connection, wanted.method_id)


async def _is_decided(call: AccountCall, tried: list[_Try]) -> bool:
    async with call.transaction() as connection:
        return all([await card.is_decided(connection, *one) for one in tried])


def _raise_refusal(tried: list[_Try]) -> None:
    """Raise the first refusal, with every declined invoice; the others are paid."""
    refused = [
        (invoice_id, error)
        for invoice_id, attempt in tried
        if attempt is not None and (error := refusal(attempt)) is not None
    ]
    if refused:
        _, error = refused[0]
        error.fields["unpaid_invoices"] = [ids.encode(ids.INVOICE, one) for one, _ in refused]
        raise error


async def _paid_before(call: AccountCall, tried: list[_Try]) -> dict[str, Any]:
    """Return the fields that say what was paid before a card refused the rest."""
    async with call.transaction() as connection:
        paid = {one: await overdue.received(connection, attempt) for one, attempt in tried}
        subscription = await subscriptions.find_current(connection, call.account.id)
    return {
        "charged_cents": sum(paid.values()),
        "paid_invoices": [ids.encode(ids.INVOICE, one) for one, cents in paid.items() if cents],
        "subscription_status": subscription.status if subscription else None,
    }


async def _resume(
    call: AccountCall, claim: Claim, body: PayOverdueBody
) -> SubscriptionAnswer | None:
    """Resume if the subscription is paused now, or was when this was first requested."""
    async with call.transaction() as connection:
        found = await subscriptions.find_open(connection, call.account.id)
        known = await subscriptions.find_change(connection, claim.resource_id)
    if known is None and (found is None or found.status != "paused"):
        return None
    paying = PayingBody(payment_method_id=body.payment_method_id, use_balance=body.use_balance)
    resume: PaidVerb = running.resume
    if body.preview_token is not None:
        resume = partial(_resume_as_previewed, call, body.preview_token)
    return await charge(call, claim, paying, "resume", resume)


def _resume_as_previewed(
    call: AccountCall, token: str, w: Work[SubscriptionFacts], paying: Paying
) -> None:
    """Resume as previewed. The token's expiry was checked when the debt was charged, which may be
    days ago with a bank debit.
    """
    secrets = call.services.settings.pay_link_secrets
    overdue.resume_as_previewed(w, paying, tokens.read(token, secrets, None))


async def _done(
    call: AccountCall,
    claim: Claim,
    body: PayOverdueBody,
    tried: list[_Try],
    resumed: SubscriptionAnswer | None,
) -> OverdueAnswer:
    """Return the answer after all attempts, with an action that the payer has to take."""
    action: NextAction = {"type": "none"} if await _is_decided(call, tried) else {"type": "wait"}
    if resumed is not None:
        action = resumed.next_action
    parts, charged = [], 0
    async with call.transaction() as connection:
        for invoice_id, attempt in tried:
            invoice = await invoice_store.get(connection, invoice_id)
            tries = await payment_store.attempts_of(connection, invoice_id)
            mine = await next_action_of(connection, invoice, tries, call.services.pay_links)
            action = mine if mine["type"] != "none" else action
            paid = await overdue.received(connection, attempt)
            charged += paid
            parts.append(OwedPart.of(invoice, remaining_minor=paid or invoice.remaining_minor))
        subscription = await subscriptions.find_current(connection, call.account.id)
        resumption, cents = await _resumption(call, connection, claim, body)
    return OverdueAnswer(
        dry_run=False,
        charged_cents=charged + cents,
        invoices=parts,
        subscription=StandingPart.of(subscription) if subscription else None,
        resumption=resumption,
        next_action=action,
    )


async def _resumption(
    call: AccountCall, connection: AsyncConnection, claim: Claim, body: PayOverdueBody
) -> tuple[ResumptionPart | None, int]:
    """Return the invoice that resumed it, with the cents charged for it; else the offered one."""
    change = await subscriptions.find_change(connection, claim.resource_id)
    if change is None:
        foreseen = await overdue.foresee(connection, call.account.id, use_balance=body.use_balance)
        offered = foreseen.resumption
        return (resumption_part(offered, None) if offered else None), 0
    invoice = await invoice_store.get(connection, change.draft_id)
    tries = await payment_store.attempts_of(connection, invoice.id)
    received = [await overdue.received(connection, one) for one in tries]
    return resumption_part(invoice, invoice.id), sum(received)


def _promised(
    call: AccountCall,
    body: PayOverdueBody,
    owed: Sequence[Invoice],
    foreseen: Foreseen,
    at: datetime,
) -> dict[str, Any]:
    """Return the token of this preview; nothing without a subscription, which the token names."""
    if foreseen.subscription is None:
        return {}
    promise = Promise(
        subscription_id=foreseen.subscription.id,
        as_of=at,
        digest=foreseen.digest_with(owed, resumes=body.resume),
    )
    now = clock.real_now()
    token = tokens.write(promise, call.services.settings.pay_link_secrets, now)
    return {"preview_token": token, "expires_at": now + tokens.LIFETIME}


async def _foreseen(call: AccountCall, body: PayOverdueBody) -> OverdueAnswer:
    wanted = _wanted(body)
    async with call.transaction() as connection:
        await _demand_method(connection, wanted)
        at = await clock.now(connection, call.account.id)
        await overdue.demand(
            connection, call.account.id, at, method_id=wanted.method_id, only=wanted.only
        )
        owed, foreseen = await overdue.look(connection, call.account.id, wanted)
    coming = foreseen.resumption
    return OverdueAnswer(
        **_promised(call, body, owed, foreseen, at),
        dry_run=True,
        charged_cents=sum(one.remaining_minor for one in owed) + foreseen.charged_minor,
        invoices=[OwedPart.of(one, remaining_minor=one.remaining_minor) for one in owed],
        subscription=StandingPart.of(foreseen.subscription) if foreseen.subscription else None,
        resumption=resumption_part(coming, None) if coming else None,
        next_action={"type": "none"},
    )
