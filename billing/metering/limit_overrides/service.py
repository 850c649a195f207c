"""Agree a limit with an account, and end it; both apply to the open cycle immediately.

A later start or end takes effect by a step of the account's matter.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.plans.schemas import Limit
from billing.catalog.products import store as products
from billing.core import clock
from billing.core.errors import NotFound, wrong_field
from billing.ledger.credits import service as credits
from billing.matters import store as matters
from billing.matters.schemas import Matter
from billing.metering.limit_overrides import store
from billing.metering.limit_overrides.schemas import LimitOverride
from billing.metering.limit_overrides.store import Agreed
from billing.platform.audit import service as audit


async def put(
    connection: AsyncConnection,
    account_id: UUID,
    limit: Limit,
    start: datetime | None = None,
    end: datetime | None = None,
    *,
    at: datetime | None = None,
    agreed: Agreed = (None, None),
) -> tuple[LimitOverride, Matter | None]:
    """Agree a limit from `start` (None: now) to `end` (None: open), replacing earlier agreements.

    `agreed` are the instants of a contract, if it is one of its limits: `align` moves it.
    A caller who has read the account's time passes it as `at`: real time goes on meanwhile.
    An identical agreement is left unchanged. If something begins or ends later, the returned matter
    must be woken.
    Errors: METER_NOT_FOUND; VALIDATION_FAILED for times in the past, and for overage without a
    price in the account's currency.
    """
    balance = await credits.lock(connection, account_id)
    at = at or await clock.now(connection, account_id)
    if not await products.is_meter(connection, limit.meter):
        raise NotFound("METER_NOT_FOUND")
    begins = start or at
    known = await store.ahead(connection, account_id, limit.meter, max(begins, at))
    if known and _is_unchanged(known[0], limit, start, begins, end, agreed):
        return known[0], None
    if begins < at:
        raise wrong_field("effective_from", "is in the past: leave it out to start now")
    if end is not None and end <= begins:
        raise wrong_field("effective_to", "must be after the start")
    pays_in = balance.currency
    if limit.then == "overage" and pays_in is not None and pays_in not in limit.prices:
        raise wrong_field("prices", f"the account pays in {pays_in}")
    made = await store.begin(connection, account_id, limit, begins, end, agreed, at)
    await _note(
        connection, account_id, "limit.agreed", limit.meter, at,
        limit=limit.model_dump(mode="json"), effective_from=begins.isoformat(),
        effective_to=end.isoformat() if end else None,
    )  # fmt: skip
    return made, await _follow(connection, account_id, at)


async def end(connection: AsyncConnection, account_id: UUID, meter: str) -> LimitOverride:
    """End the agreement for a meter now; return it with its end.

    Errors: LIMIT_NOT_FOUND.
    """
    at = await credits.now_locked(connection, account_id)
    known = await store.ahead(connection, account_id, meter, at)
    if not known:
        raise NotFound("LIMIT_NOT_FOUND")
    await store.stop(connection, account_id, meter, at, now=at)
    await _note(connection, account_id, "limit.agreement_ended", meter, at)
    await store.follow(connection, account_id, at)
    return known[0].model_copy(update={"effective_to": max(at, known[0].effective_from)})


async def end_from(
    connection: AsyncConnection, account_id: UUID, meters: Sequence[str], start: datetime,
    until: datetime | None, agreed: Agreed, at: datetime,
) -> Matter | None:  # fmt: skip
    """End the agreements for these meters at an instant; those that begin before `until` (None:
    all) begin then. `agreed` are the instants of the contract, `at` is the account's time. Expects
    the account's lock.

    If something ends later, the returned matter must be woken.
    """
    for meter in meters:
        await store.stop(connection, account_id, meter, start, until, agreed, now=at)
        await _note(
            connection, account_id, "limit.agreement_ended", meter, at, ends_at=start.isoformat()
        )
    return await _follow(connection, account_id, at)


async def align(
    connection: AsyncConnection,
    *,
    account_id: UUID,
    starts: Sequence[tuple[datetime, datetime]],
    at: datetime,
) -> None:
    """Have a contract's limits that begin or end later do so with a period: `starts` are instants
    of contracts, each with the start of its period. The caller has the account's matter look.
    """
    await store.move(connection, account_id, dict(starts), at)
    await store.follow(connection, account_id, at)


async def _follow(connection: AsyncConnection, account_id: UUID, at: datetime) -> Matter | None:
    due = await store.follow(connection, account_id, at)
    if due is None:
        return None
    return await matters.ensure_account(connection, account_id, due=due, at=at)


async def _note(
    connection: AsyncConnection,
    account_id: UUID,
    action: str,
    meter: str,
    at: datetime,
    **detail: object,
) -> None:
    await audit.record(
        connection, account_id=account_id, action=action, subject=f"meter {meter}", at=at, **detail
    )


def _is_unchanged(
    known: LimitOverride,
    limit: Limit,
    start: datetime | None,
    begins: datetime,
    end: datetime | None,
    agreed: Agreed,
) -> bool:
    """True if this limit is already agreed; a request for now matches one that began earlier."""
    same = known.limit == limit and known.effective_to == end
    return (
        same
        and (known.agreed_from, known.agreed_to) == agreed
        and (known.effective_from == begins or (start is None and known.effective_from < begins))
    )
