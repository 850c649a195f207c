"""Holds and captures, many at once: one statement for all that wait, each with its own answer.

A refusal is an answer too, so that one item fails alone; what goes wrong is said in
migrations/functions/credits_4_hold.sql.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.arrays import plain, sparse, texts
from billing.core.errors import BillingError
from billing.core.prepared import Prepared, Row
from billing.credits import calls, rules
from billing.credits.schemas import Capture, Hold
from billing.credits.verdicts import fact, is_refused, refusal

LIFETIME: Final = timedelta(minutes=15)
"""How long a hold lasts whose caller does not say."""
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, kw_only=True)
class HoldOrder:
    """Set `amount` credits aside, once per (account, key); see `service.hold`.

    It ends at `expires_at`, or `lifetime` after the account's now. Errors: INVALID_AMOUNT.
    """

    account_id: UUID
    amount: Decimal
    key: str
    reason: str
    expires_at: datetime | None = None
    lifetime: timedelta | None = None
    scope: str | None = None
    paid_only: bool = False
    subject: str | None = None
    hash: str = field(init=False)

    def __post_init__(self) -> None:
        amount = rules.bookable(self.amount)
        facts: dict[str, Any] = {
            "verb": "hold", "amount": amount, "reason": self.reason, "scope": self.scope,
            "paid_only": self.paid_only, "subject": self.subject, "expires_at": self.expires_at,
        }  # fmt: skip
        if self.expires_at is None:
            facts["lifetime"] = self.lifetime
        object.__setattr__(self, "amount", amount)
        object.__setattr__(self, "hash", rules.request_hash(**facts))
        object.__setattr__(self, "key", rules.caller_key(self.account_id, self.key))


@dataclass(frozen=True, kw_only=True)
class CaptureOrder:
    """Spend `amount` of a hold (None: all of it); see `service.capture`."""

    account_id: UUID
    hold_id: UUID
    amount: Decimal | None = None
    reason: str = "capture"
    detail: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.amount is not None:
            object.__setattr__(self, "amount", rules.bookable(self.amount))


async def hold_many(
    connection: AsyncConnection, orders: Sequence[HoldOrder], at: datetime | None = None
) -> list[Hold | BillingError]:
    """One answer per order, in their order: the hold, or why it is refused.

    Refusals: INSUFFICIENT_CREDITS, which says `top_up` when credits are wanted now (unless the
    transaction is undone), NOT_FOUND, INVALID_EXPIRY, IDEMPOTENCY_KEY_REUSED.
    """
    columns = {
        "account_ids": plain([one.account_id.hex for one in orders]),
        "amounts": plain([one.amount for one in orders]),
        "keys": texts([one.key for one in orders]),
        "hashes": plain([one.hash for one in orders]),
        "reasons": texts([one.reason for one in orders]),
        "expires_at": sparse([_instant(one.expires_at) for one in orders]),
        "lifetimes": sparse([_span(one) for one in orders]),
        "scopes": sparse([one.scope for one in orders]),
        "paid_only": plain([one.paid_only for one in orders]),
        "subjects": sparse([one.subject for one in orders]),
        "at": at,
    }
    rows = await _rows(connection, calls.HOLD_BATCH, columns)
    return [_refused(row) if is_refused(row) else fact(Hold, row) for row in rows]


def _instant(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def _span(order: HoldOrder) -> str | None:
    """How long a hold lasts that does not say when it ends."""
    if order.expires_at:
        return None
    return f"{(order.lifetime or LIFETIME) / _MICROSECOND:.0f} microseconds"


def _refused(row: Row) -> BillingError:
    refused = refusal(row)
    if row["top_up"]:
        refused.fields["top_up"] = True
    return refused


async def capture_many(
    connection: AsyncConnection, orders: Sequence[CaptureOrder], at: datetime | None = None
) -> list[Capture | BillingError]:
    """One answer per order, in their order: the capture, or why it is refused.

    Refusals: HOLD_NOT_FOUND, HOLD_RESOLVED, HOLD_EXCEEDED, NOT_FOUND.
    """
    columns = {
        "account_ids": plain([one.account_id.hex for one in orders]),
        "hold_ids": plain([one.hold_id.hex for one in orders]),
        "amounts": sparse([None if one.amount is None else str(one.amount) for one in orders]),
        "reasons": texts([one.reason for one in orders]),
        "details": sparse([calls.as_json(one.detail) if one.detail else None for one in orders]),
        "at": at,
    }
    rows = await _rows(connection, calls.CAPTURE_BATCH, columns)
    return [refusal(row) if is_refused(row) else fact(Capture, row) for row in rows]


async def _rows(connection: AsyncConnection, call: Prepared, columns: dict[str, Any]) -> list[Row]:
    return sorted(await call.all(connection, **columns), key=lambda row: row["place"])
