"""Publish facts as outbox rows in the same transaction, numbered per account.

One statement per account writes a transaction's events, before it commits or numbers an invoice.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import context, ids
from billing.core.clock import real_now
from billing.core.prepared import Prepared
from billing.core.with_commit import before_commit
from billing.matters.effects import Announce
from billing.platform.outbox.kinds import PREFIX

# The audit omits the link to a payment page, because anybody who reads it can use it.
# Taking the numbers locks the account's balance row, so their order is the order of commits.
_WRITE = Prepared(
    text(
        """
    WITH told AS (
        SELECT * FROM jsonb_to_recordset(:facts) AS f(position int, id uuid, type text,
            actor text, action text, subject text, data jsonb, correlation_id text,
            at timestamptz, real_at timestamptz)
    ), numbered AS (
        UPDATE credit_balances SET event_seq = CAST(:many AS int)
            + greatest(event_seq, (SELECT max(last_number) FROM skipped_events))
        WHERE account_id = :account_id
        RETURNING event_seq - CAST(:many AS int) AS before
    ), published AS (
        INSERT INTO events (id, account_id, seq, type, data, correlation_id, occurred_at,
            created_at)
        SELECT t.id, :account_id, n.before + t.position, t.type, t.data, t.correlation_id, t.at,
               t.real_at
        FROM told t CROSS JOIN numbered n
    )
    INSERT INTO billing_audit (account_id, actor, action, subject, detail, correlation_id, at,
        real_at)
    SELECT :account_id, actor, action, subject, data - 'pay_url', correlation_id, at, real_at
    FROM told WHERE action IS NOT NULL ORDER BY position
    """
    ).bindparams(bindparam("facts", type_=JSONB), bindparam("account_id", type_=Uuid))
)


async def publish(
    connection: AsyncConnection,
    *,
    account_id: UUID,
    type: str,
    data: dict[str, Any],
    at: datetime,
) -> None:
    """Write `evt.billing.*` to the outbox; `data` is JSON with external ids and strings."""
    await _say(connection, account_id, _fact(type, data, at))


async def announce(connection: AsyncConnection, event: Announce, at: datetime) -> None:
    """Write a fact as an audit row, such as `purchase.completed`, and as its event."""
    whose = {"actor": context.actor.get(), "action": event.action, "subject": event.subject}
    type_ = event.type or PREFIX + event.action
    await _say(connection, event.account_id, _fact(type_, event.facts, at) | whose)


async def flush(connection: AsyncConnection) -> None:
    """Write the events announced so far, so that the account is locked before a number series."""
    waiting = before_commit(connection)
    if waiting is not None and (facts := waiting.pop(_write, None)):
        await _write(connection, facts)


async def _say(connection: AsyncConnection, account_id: UUID, fact: dict[str, Any]) -> None:
    waiting = before_commit(connection)
    if waiting is None:
        await _write(connection, [(account_id, fact)])
    else:
        waiting.setdefault(_write, []).append((account_id, fact))


async def _write(connection: AsyncConnection, facts: Sequence[tuple[UUID, dict[str, Any]]]) -> None:
    """Write one statement per account, in the common order of locking accounts."""
    by_account: dict[UUID, list[dict[str, Any]]] = defaultdict(list)
    for account_id, fact in facts:
        of = by_account[account_id]
        of.append(fact | {"position": len(of) + 1})
    for account_id, of in sorted(by_account.items()):
        await _WRITE.send(connection, account_id=account_id, facts=of, many=len(of))


def _fact(type: str, data: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    return {
        "id": str(ids.new()),
        "type": type,
        "data": dict(data),
        "correlation_id": context.correlation_id.get(),
        "at": at.isoformat(),
        "real_at": real_now().isoformat(),
    }
