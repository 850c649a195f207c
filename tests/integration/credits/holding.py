"""Hold and capture one at a time: batches of one, with the refusal raised."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.errors import BillingError
from billing.ledger.credits.holds import CaptureOrder, HoldOrder, capture_many, hold_many
from billing.ledger.credits.schemas import Capture, Hold


async def hold(
    connection: AsyncConnection,
    *,
    account_id: UUID,
    amount: Decimal,
    key: str,
    reason: str,
    expires_at: datetime,
    at: datetime | None = None,
    scope: str | None = None,
    paid_only: bool = False,
    subject: str | None = None,
    made_by: str | None = None,
) -> Hold:
    """Set credits aside from lots in burn order, once per (account, key), until `expires_at`.

    Errors as for `debit`; INVALID_EXPIRY when `expires_at` is not ahead of the account's now.
    """
    order = HoldOrder(
        account_id=account_id, amount=amount, key=key, reason=reason, expires_at=expires_at,
        scope=scope, paid_only=paid_only, subject=subject, made_by=made_by,
    )  # fmt: skip
    (answer,) = await hold_many(connection, [order], at)
    if isinstance(answer, BillingError):
        answer.fields.pop("top_up", None)  # the wish is undone with the caller's transaction
        raise answer
    return answer


async def capture(
    connection: AsyncConnection,
    *,
    account_id: UUID,
    hold_id: UUID,
    amount: Decimal | None = None,
    reason: str = "capture",
    at: datetime | None = None,
    detail: dict[str, Any] | None = None,
) -> Capture:
    """Spend `amount` of a hold (all of it when left out) and release the rest; final.

    A second call for the same amount answers the first. Errors: HOLD_NOT_FOUND; HOLD_RESOLVED
    (409) when it was released, expired or captured otherwise; HOLD_EXCEEDED.
    """
    order = CaptureOrder(
        account_id=account_id, hold_id=hold_id, amount=amount, reason=reason, detail=detail or {}
    )
    (answer,) = await capture_many(connection, [order], at)
    if isinstance(answer, BillingError):
        raise answer
    return answer
