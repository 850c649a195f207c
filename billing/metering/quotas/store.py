"""Queries on quotas and claims."""

from collections.abc import Collection, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, Select, func, literal, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import prepared, row_writes
from billing.core.periods import EPOCH
from billing.core.transaction_settings import limit_statements
from billing.metering.quotas.rules import CLAIM_LIFETIME
from billing.metering.quotas.schemas import KnownUse, Moment, Quota, QuotaClaim, Release, Window
from billing.metering.quotas.tables import billing_quotas, quota_claims

_SET: Final = text(
    "SELECT quota_set(:account_id, CAST(ROW(:owner, :meter, :window_kind, :span_seconds,"
    " :limit_amount, :is_hard, CAST(:alert_percents AS integer[])) AS quota_input), :at)"
)
_ROW: Final = "CAST(ROW(:id, :event_id, :user_id, :organization_id, :meter, :amount, :lifetime)"
_CLAIM: Final = text(f"SELECT quota_claim_use(:account_id, {_ROW} AS quota_claim_input), :real_at)")
_CLAIM_FAST: Final = text(
    f"SELECT quota_claim_fast(:account_id, {_ROW} AS quota_claim_input), :real_at)"
)
_KNOWN_USES: Final = text(
    "SELECT is_recorded, meter, user_id, organization_id, amount, at"
    " FROM quota_known_uses(:id, :real_at)"
)
# The use of the windows at an instant, even if their rows still show an earlier window.
_STANDING: Final = text(
    """
    SELECT p.place, (s.quota).id, (s.quota).account_id, (s.quota).owner, (s.quota).meter,
        (s.quota).window_kind, (s.quota).span_seconds, (s.quota).limit_amount, (s.quota).is_hard,
        (s.quota).is_derived, (s.quota).alert_percents, (s.quota).created_at,
        (s.quota).updated_at, s.begins AS window_start, s.used
    FROM unnest(
        CAST(:zones AS text[]), CAST(:starts AS timestamptz[]), CAST(:ats AS timestamptz[]),
        CAST(:nows AS timestamptz[])) WITH ORDINALITY AS p(zone, start_at, at, now, place)
    CROSS JOIN LATERAL quota_standing(:account_id, :meter, CAST(:owners AS text[]),
        p.zone, p.start_at, p.at, p.now) AS s
    ORDER BY 1, 5, 4, 6
    """
)
_REMOVE: Final = text("SELECT quota_remove(:account_id, :id, :at)")
# Setting or removing a default quota changes the rows of up to millions of users.
PATIENCE_MS: Final = 60_000
_RELEASES: Final = text("SELECT at, amount FROM quota_releases(:quota_id, :at)")
_RESERVED: Final = text(
    "SELECT a.at, quota_reserved(:account_id, :meter, a.at, '{}') AS amount"
    " FROM unnest(CAST(:ats AS timestamptz[])) AS a(at)"
)
_EXPIRIES: Final = text(
    "SELECT expires_at, sum(amount) FROM quota_claims_in_force(:account_id, :at)"
    " WHERE meter = :meter GROUP BY 1 ORDER BY 1"
)

_EXPIRED: Final = text(
    """
    SELECT c.account_id, count(*) AS claims, (count(*) - 1) / quota_part_size() + 1 AS parts
    FROM quota_claims AS c JOIN accounts AS a ON a.id = c.account_id
    WHERE c.status = 'open' AND c.account_id > :after
        AND c.expires_at < coalesce(a.clock_at, :before)
    GROUP BY c.account_id ORDER BY c.account_id LIMIT 1
    """
)
_EXPIRE: Final = text("SELECT quota_open_windows(:account_id, NULL, NULL, '{}', :at)")
_FORGET: Final = text(
    """
    DELETE FROM quota_claims WHERE id = ANY (ARRAY(
        SELECT id FROM quota_claims
        WHERE status <> 'open' AND coalesce(written_at, claimed_at) < :before
        ORDER BY coalesce(written_at, claimed_at) LIMIT :limit FOR UPDATE SKIP LOCKED))
    """
)
FORGET_PAGE: Final = 2_000
"""Claims deleted in one transaction."""


async def standing(
    connection: AsyncConnection,
    account_id: UUID,
    moments: Sequence[Moment],
    owners: Collection[str],
    meter: str | None = None,
) -> list[list[Quota]]:
    """Return these owners' quotas in their windows at each of these moments."""
    zones, starts, ats, nows = map(list, zip(*moments, strict=True))
    values = {
        "account_id": account_id, "zones": zones, "starts": starts, "ats": ats, "nows": nows,
        "owners": list(owners), "meter": meter,
    }  # fmt: skip
    found: list[list[Quota]] = [[] for _ in moments]
    for row in (await connection.execute(_STANDING, values)).mappings():
        fields = dict(row)
        found[fields.pop("place") - 1].append(Quota.model_validate(fields))
    return found


async def reserved(
    connection: AsyncConnection, account_id: UUID, meter: str, ats: Collection[datetime]
) -> dict[datetime, Decimal]:
    """Return the amount of a meter that claims in force hold at each of these instants."""
    values = {"account_id": account_id, "meter": meter, "ats": list(ats)}
    return {row.at: row.amount for row in await connection.execute(_RESERVED, values)}


async def releases(
    connection: AsyncConnection, account_id: UUID, quota_id: UUID | None, meter: str, at: datetime
) -> list[Release]:
    """Return the amounts that a quota or plan limit regains before its window ends."""
    if quota_id is not None:
        rows = await connection.execute(_RELEASES, {"quota_id": quota_id, "at": at})
    else:
        values = {"account_id": account_id, "meter": meter, "at": at}
        rows = await connection.execute(_EXPIRIES, values)
    return [Release(when, amount) for when, amount in rows]


async def put(
    connection: AsyncConnection,
    account_id: UUID,
    *,
    owner: str,
    meter: str,
    window: Window,
    span_seconds: int | None,
    limit: Decimal,
    hard: bool,
    percents: Sequence[int],
    at: datetime,
) -> Quota:
    """Set a quota; it starts with the use already counted in its window."""
    values = {
        "account_id": account_id, "owner": owner, "meter": meter, "window_kind": window,
        "span_seconds": span_seconds, "limit_amount": limit, "is_hard": hard,
        "alert_percents": list(percents), "at": at,
    }  # fmt: skip
    await limit_statements(connection, PATIENCE_MS)
    quota_id = await connection.scalar(_SET, values)
    row = await connection.execute(select(billing_quotas).where(billing_quotas.c.id == quota_id))
    return Quota.model_validate(dict(row.mappings().one()))


async def claim_fast(connection: AsyncConnection, account_id: UUID, wish: QuotaClaim) -> bool:
    """Count a use that a single quota limits, and store the claim.

    False: a full check is needed, in another transaction (`claim`). Errors: IntegrityError if its
    event was already claimed or recorded.
    """
    if not await connection.scalar(_CLAIM_FAST, _claim_values(account_id, wish)):
        return False
    row = {
        "id": wish.record_id, "account_id": account_id, "event_id": wish.event_id,
        "user_id": wish.user_id, "organization_id": wish.organization_id, "meter": wish.meter,
        "amount": wish.amount, "claimed_at": wish.at, "expires_at": wish.at + CLAIM_LIFETIME,
        "status": "open",
    }  # fmt: skip
    await row_writes.add(connection, quota_claims, row)
    return True


async def claim(connection: AsyncConnection, account_id: UUID, wish: QuotaClaim) -> bool:
    """Count a use against every quota if all allow it; False: nothing was changed."""
    return bool(await connection.scalar(_CLAIM, _claim_values(account_id, wish)))


def _claim_values(account_id: UUID, wish: QuotaClaim) -> dict[str, Any]:
    return {
        "account_id": account_id, "id": wish.record_id, "event_id": wish.event_id,
        "user_id": wish.user_id, "organization_id": wish.organization_id, "meter": wish.meter,
        "amount": wish.amount, "lifetime": CLAIM_LIFETIME, "real_at": wish.at,
    }  # fmt: skip


async def known_uses(
    connection: AsyncConnection, record_id: UUID, real_at: datetime
) -> list[KnownUse]:
    """Return what this record's event was claimed or recorded for; none without a claim in force or
    a record.
    """
    values = {"id": record_id, "real_at": real_at}
    return [KnownUse(*row) for row in await connection.execute(_KNOWN_USES, values)]


async def expired(
    connection: AsyncConnection, before: datetime, after: UUID
) -> tuple[UUID, int, int] | None:
    """Return the next account with claims that expired before then, how many, and their parts."""
    found = (await connection.execute(_EXPIRED, {"before": before, "after": after})).first()
    return (found.account_id, found.claims, found.parts) if found else None


async def expire(connection: AsyncConnection, account_id: UUID, at: datetime) -> None:
    """Release a part of the account's expired claims. Expects the account's lock."""
    await connection.execute(_EXPIRE, {"account_id": account_id, "at": at})


async def forget(connection: AsyncConnection, before: datetime) -> int:
    """Delete a page of closed claims made before then; return how many."""
    return (await connection.execute(_FORGET, {"before": before, "limit": FORGET_PAGE})).rowcount


def listing(account_id: UUID | None) -> Select[Any]:
    """Select the quotas set for one account or all; the caller adds order and limit."""
    query = select(billing_quotas).where(~billing_quotas.c.is_derived)
    return query if account_id is None else query.where(billing_quotas.c.account_id == account_id)


def after_others(
    others: int, account_id: UUID, *, of_users: bool
) -> list[tuple[Select[Any], Sequence[ColumnElement[Any]]]]:
    """Return the keys of `others` preceding rows (`place` counts down to 1) and then (0) of the
    quotas that were set, newest first; users' quotas only if `of_users`.
    """
    quota = billing_quotas.c
    known = listing(account_id).with_only_columns(
        literal(0, BigInteger).label("place"), quota.created_at, quota.id, quota.owner
    )
    if not of_users:
        known = known.where(~quota.owner.startswith("u"))
    place = func.generate_series(1, others, type_=BigInteger).column_valued("place")
    first = select(
        place,
        literal(EPOCH, quota.created_at.type).label("created_at"),
        literal(UUID(int=0), quota.id.type).label("id"),
        literal("").label("owner"),
    )
    parts = [part.subquery() for part in (first, known)]
    return [(select(part), (part.c.place, part.c.created_at, part.c.id)) for part in parts]


async def find(connection: AsyncConnection, quota_id: UUID) -> Quota | None:
    """Return a quota that was set."""
    known = select(billing_quotas).where(
        billing_quotas.c.id == quota_id, ~billing_quotas.c.is_derived
    )
    row = await prepared.find(connection, known)
    return Quota.model_validate(dict(row)) if row else None


async def remove(connection: AsyncConnection, quota: Quota, at: datetime) -> None:
    """Remove a quota; a user then has the default quota. Expects the account's lock.

    Removing the default quota removes it from all users in one statement, which may take long.
    """
    await limit_statements(connection, PATIENCE_MS)
    values = {"account_id": quota.account_id, "id": quota.id, "at": at}
    await connection.execute(_REMOVE, values)
