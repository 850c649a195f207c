"""Publishing facts to the outside: a row in the same transaction, numbered per account."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import context, ids
from billing.core.clock import real_now
from billing.core.prepared import Prepared

PREFIX: Final = "evt.billing."

# Taking the number locks the account's balance row: the order of numbers is the order of commits.
_PUBLISH = """
    WITH numbered AS (
        UPDATE credit_balances SET event_seq = event_seq + 1
        WHERE account_id = :account_id RETURNING event_seq
    ), published AS (
        INSERT INTO events (id, account_id, seq, type, data, correlation_id, occurred_at,
            created_at)
        SELECT :id, :account_id, event_seq, :type, :facts, :correlation_id, :at, :real_at
        FROM numbered RETURNING seq
    )
"""
_PUBLISH_ONLY = Prepared(
    text(f"{_PUBLISH} SELECT seq FROM published").bindparams(  # noqa: S608 (constants)
        bindparam("facts", type_=JSONB)
    )
)
_ANNOUNCE = Prepared(
    text(
        f"""{_PUBLISH}
    INSERT INTO billing_audit (account_id, actor, action, subject, detail, correlation_id, at,
        real_at)
    SELECT :account_id, :actor, :action, :subject, :facts, :correlation_id, :at, :real_at
    FROM published
    """  # noqa: S608 (constants)
    ).bindparams(bindparam("facts", type_=JSONB))
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
    await _PUBLISH_ONLY.run(connection, **_values(account_id, type, data, at))


async def announce(
    connection: AsyncConnection,
    *,
    account_id: UUID,
    action: str,
    subject: str,
    facts: dict[str, Any],
    at: datetime,
    type: str | None = None,
) -> None:
    """One fact for both: an audit row `purchase.completed` and its event, in one statement.

    The event is `evt.billing.<action>` unless `type` names another.
    """
    values = _values(account_id, type or PREFIX + action, facts, at)
    values |= {"actor": context.actor.get(), "action": action, "subject": subject}
    await _ANNOUNCE.run(connection, **values)


def _values(account_id: UUID, type: str, facts: dict[str, Any], at: datetime) -> dict[str, Any]:
    return {
        "id": ids.new(),
        "account_id": account_id,
        "type": type,
        "facts": facts,
        "correlation_id": context.correlation_id.get(),
        "at": at,
        "real_at": real_now(),
    }
