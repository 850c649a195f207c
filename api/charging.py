"""Uses that a card pays at once: recorded and committed, then charged by a workflow.

The caller of one waits for the card; those of a batch are charged behind its answer.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

from api.auth import BILLING
from api.dependencies import ALLOWED, AccountCall, Call
from api.driving import need_temporal, settled, started
from api.idempotency import missing_key
from billing.charges import service as charges
from billing.core import clock
from billing.core.errors import BillingError, NotAllowed
from billing.core.matters import Matter
from billing.usage import store
from billing.usage.schemas import BillingRecord, Recorded, Use

ACCOUNTS_AT_ONCE: Final = 8
"""Of a batch; the uses of one account are charged one after the other."""


async def charge_now(call: AccountCall, use: Use) -> Recorded:
    """Record the use and try the card; the answer's status says what became of it.

    `pending` after 10 s: the workflow goes on. Errors: PAYMENT_CHARGE_NOT_OFFERED; with nothing
    recorded FORBIDDEN, IDEMPOTENCY_KEY_REQUIRED, TEMPORAL_UNAVAILABLE.
    """
    _refuse_careless(call, use)
    await need_temporal(call)
    async with call.transaction() as connection:
        at = await clock.now(connection, call.account.id)
        done, matter = await charges.record(connection, use, at)
    if done.method != charges.METHOD or done.verdict != "recorded":
        return done
    return replace(done, status=(await followed(call, matter, done.id)).billing_status)


def _refuse_careless(call: Call, use: Use) -> None:
    """A card is charged for whoever may spend its money, and once however often it is asked."""
    if call.caller.roles.isdisjoint(ALLOWED[BILLING]):
        raise NotAllowed("FORBIDDEN", "to charge a card needs the role billing")
    if use.event_id is None:
        raise missing_key()


async def charge_rows(call: Call, uses: Sequence[Use]) -> dict[int, Recorded]:
    """Record uses of any accounts and have their cards charged, without waiting for the cards.

    By place, what became of those not recorded; a refusal's verdict is its code.
    """
    try:
        await need_temporal(call)
    except BillingError as away:
        return {place: Recorded(away.code, use.account_id) for place, use in enumerate(uses)}
    by_account: dict[UUID, list[int]] = {}
    for place, use in enumerate(uses):
        by_account.setdefault(use.account_id, []).append(place)
    slots = asyncio.Semaphore(ACCOUNTS_AT_ONCE)
    answers: dict[int, Recorded] = {}

    async def of_account(places: Sequence[int]) -> None:
        async with slots:
            for place in places:
                answers[place] = await _charge_row(call, uses[place])

    await asyncio.gather(*(of_account(places) for places in by_account.values()))
    return {place: one for place, one in answers.items() if one.verdict != "recorded"}


async def _charge_row(call: Call, use: Use) -> Recorded:
    try:
        _refuse_careless(call, use)
        async with call.database.tenant(use.account_id) as connection:
            at = await clock.now(connection, use.account_id)
            done, matter = await charges.record(connection, use, at)
    except BillingError as refusal:
        return Recorded(refusal.code, use.account_id)
    if matter is not None:
        await started(call, matter)
    return done


async def charge_again(call: AccountCall, record_id: UUID) -> Matter | None:
    """Begin anew the charge of a use whose card failed; None where there is none."""
    async with call.transaction() as connection:
        at = await clock.now(connection, call.account.id)
        return await charges.again(connection, call.account.id, record_id, at)


async def followed(call: AccountCall, matter: Matter | None, record_id: UUID) -> BillingRecord:
    """The record, once its charge has come to an answer."""
    if matter is not None:
        await settled(call, matter)
    async with call.transaction() as connection:
        return await store.get_record(connection, call.account.id, record_id)
