"""The rows of changes: the one that waits for its payment, and the scheduled ones. Pure."""

from datetime import datetime
from typing import Any
from uuid import UUID

from billing.core.errors import Conflict
from billing.matters.effects import Rows, Work
from billing.money.subscriptions.facts import SubscriptionFacts, subscription_of
from billing.money.subscriptions.schemas import (
    ChangeKind,
    ChangeStatus,
    SubscriptionChange,
    Terms,
)


def pending(rows: Rows) -> SubscriptionChange | None:
    """Return the change that waits for its payment."""
    found = (one for one in rows.of(SubscriptionChange) if one.status == "pending")
    return next(found, None)


def scheduled(rows: Rows, kind: ChangeKind) -> SubscriptionChange | None:
    """Return the change of this kind that comes with the end of the period."""
    return next((one for one in rows.of(SubscriptionChange) if one.is_scheduled(kind)), None)


def demand_none(rows: Rows) -> None:
    """Raise CHANGE_PENDING if a change waits for its payment."""
    if pending(rows) is not None:
        raise Conflict("CHANGE_PENDING")


def demand_no_resumption(rows: Rows) -> None:
    """Raise CHANGE_PENDING if a resumption waits for its payment: what was scheduled is charged
    with it.
    """
    change = pending(rows)
    if change is not None and change.kind == "resume":
        raise Conflict("CHANGE_PENDING")


def write(
    w: Work[SubscriptionFacts], change_id: UUID, kind: ChangeKind, wanted: dict[str, Any],
    terms: Terms | None, *, status: ChangeStatus, invoice_id: UUID | None = None,
    expires_at: datetime | None = None, effective_at: datetime | None = None,
) -> None:  # fmt: skip
    """Write a change: one that is charged has an invoice, one that is scheduled its instant."""
    subscription = subscription_of(w)
    change = SubscriptionChange(
        id=change_id,
        account_id=subscription.account_id,
        subscription_id=subscription.id,
        kind=kind,
        wanted=wanted,
        terms=terms.model_dump(mode="json") if terms is not None else {},
        created_at=w.facts.at,
        status=status,
        invoice_id=invoice_id,
        expires_at=expires_at,
        effective_at=effective_at,
    )
    w.add(change)
