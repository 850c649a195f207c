"""Holds and captures in batches: one statement for all, with an answer for each.

A refusal is an answer too, so that one item fails alone; sql/ documents what can go wrong.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.arrays import records
from billing.core.errors import BillingError
from billing.core.periods import MICROSECOND
from billing.core.prepared import Prepared, Row
from billing.ledger.credits import rules, sql_calls
from billing.ledger.credits.results import fact, is_refused, refusal
from billing.ledger.credits.schemas import Capture, Hold

LIFETIME: Final = timedelta(minutes=15)
"""The default lifetime of a hold."""
MAX_LIFETIME: Final = timedelta(days=30)
"""The longest lifetime of a hold."""


@dataclass(frozen=True, kw_only=True)
class HoldOrder:
    """Set `amount` credits aside from lots in burn order, once per (account, key).

    The hold ends at `expires_at`, or `lifetime` after the account's now. Errors: INVALID_AMOUNT.
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
    made_by: str | None = None
    """The caller's own name."""
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
    """Spend `amount` of a hold (None: all of it) and release the rest; final."""

    account_id: UUID
    hold_id: UUID
    amount: Decimal | None = None
    reason: str = "capture"
    detail: dict[str, Any] = field(default_factory=dict)
    key: str | None = None
    """The caller's; with another one it is no repeat."""

    def __post_init__(self) -> None:
        if self.amount is not None:
            object.__setattr__(self, "amount", rules.bookable(self.amount))
        if self.key is not None:
            object.__setattr__(self, "key", rules.caller_key(self.account_id, self.key))


async def hold_many(
    connection: AsyncConnection, orders: Sequence[HoldOrder], at: datetime | None = None
) -> list[Hold | BillingError]:
    """Return one answer per order, in their order: the hold or the refusal.

    Refusals: INSUFFICIENT_CREDITS, with `top_up` when credits are wanted now (unless the
    transaction is rolled back), NOT_FOUND, INVALID_EXPIRY, IDEMPOTENCY_KEY_REUSED.
    """
    items = records([
        (
            one.account_id, one.amount, one.key, one.hash, one.reason,
            one.expires_at and one.expires_at.isoformat(), _span(one), one.scope, one.paid_only,
            one.subject, one.made_by,
        )
        for one in orders
    ])  # fmt: skip
    rows = await _rows(connection, sql_calls.HOLD_MANY, items, at)
    return [_refused(row) if is_refused(row) else fact(Hold, row) for row in rows]


def _span(order: HoldOrder) -> str | None:
    """The lifetime of a hold without an end of its own."""
    if order.expires_at:
        return None
    return f"{(order.lifetime or LIFETIME) / MICROSECOND:.0f} microseconds"


def _refused(row: Row) -> BillingError:
    refused = refusal(row)
    if row["top_up"]:
        refused.fields["top_up"] = True
    return refused


async def capture_many(
    connection: AsyncConnection, orders: Sequence[CaptureOrder], at: datetime | None = None
) -> list[Capture | BillingError]:
    """Return one answer per order, in their order: the capture or the refusal.

    Refusals: HOLD_NOT_FOUND, HOLD_RESOLVED, HOLD_EXCEEDED, NOT_FOUND.
    """
    items = records([
        (
            one.account_id, one.hold_id, one.amount, one.reason,
            json.dumps(one.detail) if one.detail else None,
        )
        for one in orders
    ])  # fmt: skip
    keys = [one.key for one in orders]
    rows = await _rows(connection, sql_calls.CAPTURE_MANY, items, at, keys=keys)
    return [refusal(row) if is_refused(row) else fact(Capture, row) for row in rows]


async def _rows(
    connection: AsyncConnection, call: Prepared, items: str, at: datetime | None, **more: Any
) -> list[Row]:
    rows = await call.all(connection, items=items, at=at, **more)
    return sorted(rows, key=lambda row: row["place"])
