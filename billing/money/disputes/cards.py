"""Cards of disputes for fraud: barred while the dispute is open or lost, free once it is not."""

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.prepared import Prepared
from billing.matters.effects import Announce
from billing.money.disputes.schemas import FRAUD
from billing.money.payment_methods.rules import card_facts
from billing.money.payment_methods.schemas import Method
from billing.platform.outbox import service as outbox

# A card that was saved twice is one card, also if it was removed in between.
_CARD: Final = """
    FROM payments p JOIN payment_methods c ON c.id = p.payment_method_id
    WHERE p.id = :payment_id AND m.account_id = p.account_id
      AND (m.id = c.id OR m.fingerprint = c.fingerprint)
"""
_DISPUTES: Final = f"""
    FROM disputes d JOIN payments o ON o.id = d.payment_id
    JOIN payment_methods u ON u.id = o.payment_method_id
    WHERE d.account_id = m.account_id AND d.reason = '{FRAUD}'
      AND (u.id = m.id OR u.fingerprint = m.fingerprint)
"""
_BAR: Final = Prepared(
    text(
        f"""
    UPDATE payment_methods m SET barred_at = :since {_CARD} AND m.barred_at IS NULL
    RETURNING m.*
    """  # noqa: S608 - put together from constants
    )
)
# Its bank may have barred it besides: at another time.
_FREE: Final = Prepared(
    text(
        f"""
    UPDATE payment_methods m SET barred_at = NULL {_CARD}
      AND m.barred_at IN (SELECT d.created_at {_DISPUTES})
      AND NOT EXISTS (SELECT {_DISPUTES}
                      AND (d.state IN ('inquiry', 'open', 'lost') OR d.status = 'lost'))
    RETURNING m.*
    """  # noqa: S608 - put together from constants
    )
)


async def bar(
    connection: AsyncConnection, *, payment_id: UUID, since: datetime, at: datetime
) -> None:
    """Bar the card that paid, because of a dispute made at `since`: it is not charged again on any
    flow. The account's lock is held.
    """
    for row in await _BAR.all(connection, payment_id=payment_id, since=since):
        await _announce(connection, Method.model_validate(row), "barred", at)


async def free(connection: AsyncConnection, *, payment_id: UUID, at: datetime) -> None:
    """Free a card that no other dispute, nor its bank, has barred. The account's lock is held."""
    for row in await _FREE.all(connection, payment_id=payment_id):
        await _announce(connection, Method.model_validate(row), "updated", at)


async def _announce(connection: AsyncConnection, card: Method, what: str, at: datetime) -> None:
    if card.status != "active":
        return
    facts = card_facts(card)
    subject = facts["payment_method_id"]
    event = Announce(card.account_id, f"payment_method.{what}", subject, facts)
    await outbox.announce(connection, event, at)
