"""A use that a card pays at once: recorded and committed, then charged while the caller waits."""

from dataclasses import replace
from uuid import UUID

from api.dependencies import AccountCall
from api.driving import need_temporal, settled
from billing.charges import service as charges
from billing.core import clock
from billing.core.matters import Matter
from billing.usage import store
from billing.usage.schemas import BillingRecord, Recorded, Use


async def charge_now(call: AccountCall, use: Use) -> Recorded:
    """Record the use and try the card; the answer's status says what became of it.

    `pending` after 10 s: the workflow goes on. Errors: PAYMENT_CHARGE_NOT_OFFERED;
    TEMPORAL_UNAVAILABLE, with nothing recorded.
    """
    await need_temporal(call)
    async with call.transaction() as connection:
        at = await clock.now(connection, call.account.id)
        done, matter = await charges.record(connection, use, at)
    if done.method != charges.METHOD or done.verdict != "recorded":
        return done
    return replace(done, status=(await followed(call, matter, done.id)).billing_status)


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
