"""Uses that a card pays at once: recorded and committed, then charged by a workflow.

A single use waits for the card; the uses of a batch are charged after the answer.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from api.calls import AccountCall, Call
from api.gates import ALLOWED
from api.idempotency import Claim, Once
from api.identity.auth import BILLING
from api.usage import dated_uses
from api.usage.repeats import sent_again
from api.workflow_calls import ensure_started, need_temporal, wait_until_done
from billing.catalog.rating.schemas import BY_CARD
from billing.core import clock, ids
from billing.core.errors import BillingError, Invalid, NotAllowed, PaymentRequired
from billing.matters.kinds import CHARGE
from billing.matters.schemas import Matter
from billing.metering.usage import store
from billing.metering.usage.schemas import BillingRecord, Recorded, Use
from billing.money.card_usage import service as card_usage_service
from billing.money.card_usage import unpaid_uses
from billing.money.payments import store as payment_store

ACCOUNTS_AT_ONCE: Final = 8
"""Accounts of a batch in parallel; one account's uses are charged one by one."""


async def charge_now(call: AccountCall, use: Use) -> Recorded:
    """Record the use and charge the card; the status of the answer says how that ended.

    `pending` after 10 s: the workflow continues. Errors: CARD_DECLINED, with the record `failed`;
    PAYMENT_CHARGE_NOT_OFFERED; with nothing recorded FORBIDDEN, IDEMPOTENCY_KEY_REQUIRED,
    BILLING_PARKED, RATE_LIMITED, TEMPORAL_UNAVAILABLE.
    """
    check_payer(call, use)
    await _admit(call, use)
    async with call.transaction() as connection:
        await dated_uses.check(connection, call, use)
        done, matter = await card_usage_service.record(connection, use)
    if done.method != BY_CARD or done.verdict not in ("recorded", "duplicate"):
        return done
    return replace(done, status=(await after_charge(call, matter, done.id)).billing_status)


def check_payer(call: Call, use: Use) -> None:
    """Require the role billing, and an event id or key that makes a repeated request one charge."""
    if call.caller.roles.isdisjoint(ALLOWED[BILLING]):
        raise NotAllowed("FORBIDDEN", "charging a card requires the role billing")
    if use.event_id is None:
        raise Invalid("IDEMPOTENCY_KEY_REQUIRED", "send an event_id or an Idempotency-Key")


async def _admit(call: Call, use: Use) -> None:
    """Count a use as a money request; one that is already recorded charges nothing [G3].

    Errors: BILLING_PARKED, RATE_LIMITED, TEMPORAL_UNAVAILABLE.
    """
    async with call.database.tenant(use.account_id) as connection:
        known = await sent_again(connection, call, {0: (use.account_id, use.event_id)})
    if not known:
        await call.services.barrier.refuse()
        await need_temporal(call)
        await call.services.rates.count_charge(call.caller, use.account_id)


async def charge_rows(call: Call, uses: Sequence[Use]) -> dict[int, Recorded]:
    """Record uses of any accounts and start charging their cards, without waiting for the cards.

    Return the outcome of each use that was not recorded, by its place; the verdict of a refusal is
    its code.
    """

    async def charge(own: Sequence[tuple[int, Use]]) -> dict[int, Recorded]:
        return {place: await _charge_row(call, use) for place, use in own}

    answers = await of_each_account(uses, charge)
    return {place: one for place, one in answers.items() if one.verdict != "recorded"}


async def of_each_account(
    uses: Sequence[Use],
    do: Callable[[Sequence[tuple[int, Use]]], Awaitable[dict[int, Recorded]]],
) -> dict[int, Recorded]:
    """Do this with the uses of each account and their places, several accounts at a time."""
    by_account: dict[UUID, list[tuple[int, Use]]] = {}
    for place, use in enumerate(uses):
        by_account.setdefault(use.account_id, []).append((place, use))
    slots = asyncio.Semaphore(ACCOUNTS_AT_ONCE)
    answers: dict[int, Recorded] = {}

    async def one(own: Sequence[tuple[int, Use]]) -> None:
        async with slots:
            answers.update(await do(own))

    await asyncio.gather(*map(one, by_account.values()))
    return answers


async def _charge_row(call: Call, use: Use) -> Recorded:
    try:
        check_payer(call, use)
        await _admit(call, use)
        async with call.database.tenant(use.account_id) as connection:
            await dated_uses.check(connection, call, use)
            done, matter = await card_usage_service.record(connection, use)
    except BillingError as refusal:
        return Recorded(refusal.code, use.account_id)
    if matter is not None:
        await ensure_started(call, matter)
    return done


async def need_key(call: AccountCall, once: Once, record_id: UUID, method: str | None) -> bool:
    """Return True for a request that charges a card now, which needs a key.

    Errors: BILLING_RECORD_NOT_FOUND, IDEMPOTENCY_KEY_REQUIRED.
    """
    async with call.transaction() as connection:
        record = await store.get_record(connection, call.account.id, record_id)
    by_card = unpaid_uses.is_asked(record, method)
    if by_card:
        once.require()
    return by_card


async def charge_again(
    call: AccountCall, claim: Claim, record_id: UUID, method: str | None
) -> Matter | None:
    """Start a charge for a use whose card failed or that was deferred.

    Return None for any other use, and for a request without a key whose use has only now begun to
    wait for a card.
    """
    if not claim.is_keyed:
        return None
    async with call.transaction() as connection:
        at = await clock.now(connection, call.account.id)
        return await unpaid_uses.again(
            connection, call.account.id, record_id, method, at, suffix=claim.resource_id.hex
        )


async def after_charge(call: AccountCall, matter: Matter | None, record_id: UUID) -> BillingRecord:
    """Return the record after its charge has ended or ten seconds have passed."""
    if matter is not None:
        await wait_until_done(call, matter)
    async with call.transaction() as connection:
        record = await store.get_record(connection, call.account.id, record_id)
        if record.billing_status == "failed" and record.billing_method == BY_CARD:
            await _refuse_declined(connection, record_id)
    return record


async def _refuse_declined(connection: AsyncConnection, record_id: UUID) -> None:
    """Raise CARD_DECLINED if the card was charged and declined; the record stays `failed`."""
    tried = await payment_store.last_try_of(connection, CHARGE.workflow_id(record_id))
    if tried is None or tried.status not in ("declined", "action", "skipped"):
        return
    raise PaymentRequired(
        "CARD_DECLINED",
        tried.message or "the card was declined",
        billing_id=ids.encode(ids.BILLING_RECORD, record_id),
        decline_code=tried.decline_code,
        decline_class=tried.decline_class or "hard",
    )
