"""Payment history as the customer sees it: each failed card attempt is an entry of its own.

A payment is one flow, and its row shows the flow's current status. A declined try has failed,
whatever happens later, so its entry is made from its attempt. The flow itself is omitted while its
last try already says everything.
"""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, FromClause, Select, case, func, literal, null, select
from sqlalchemy import Text as TextType
from sqlalchemy import Uuid as UuidType

from billing.money.invoices import store as invoice_store
from billing.money.invoices.tables import invoices
from billing.money.payment_methods.tables import payment_methods
from billing.money.payments.schemas import UNTRIED
from billing.money.payments.store import SHOWN
from billing.money.payments.tables import payment_attempts, payments

# In these a saved card's flow, which nobody can pay otherwise, says no more than its last try.
_UNPAID: Final = ("pending", "canceled")
_OWN: Final = frozenset(
    {
        "flow", "status", "received_minor", "refunded_minor", "payment_method_id", "failure_code",
        "failure_message", "failure_class", "paid_at", "settled_at", "closed_at", "created_at",
    }
)  # fmt: skip
"""Columns in which an entry made from an attempt differs from its payment."""


Part = tuple[Select[Any], Sequence[ColumnElement[Any]]]
"""Some of the entries, and the columns that their index orders them by."""
_FLOW: Final = payments.c.id.label("entry_id")
_TRY: Final = payment_attempts.c.id.label("entry_id")


def listing(
    account_id: UUID, *, statuses: Sequence[str] = (), for_member: bool = False
) -> list[Part]:
    """Return the queries of one account's entries; each part is read by its own index. A member
    gets none of a single use.
    """
    flows, tries = _flows(account_id), _failed_tries(account_id)
    if for_member:
        flows, tries = (one.where(~invoice_store.is_of_use()) for one in (flows, tries))
    if statuses:
        flows = flows.where(payments.c.status.in_(statuses))
    parts: list[Part] = [(flows, (payments.c.created_at, _FLOW))]
    if not statuses or "failed" in statuses:
        parts.append((tries, (payment_attempts.c.started_at, _TRY)))
    return parts


def _flows(account_id: UUID) -> Select[Any]:
    tried = payment_attempts.alias("tried")
    last = (
        select(tried.c.status)
        .where(tried.c.invoice_id == payments.c.invoice_id, tried.c.payment_id == payments.c.id)
        .where(tried.c.status.not_in(UNTRIED))
        .order_by(tried.c.real_started_at.desc(), tried.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    told_by_its_tries = (
        (payments.c.status == "failed")
        | ((payments.c.flow == "saved_card") & payments.c.status.in_(_UNPAID))
    ) & (func.coalesce(last, "") == "declined")
    no_try = null().cast(UuidType).label("attempt_id")
    return _entry(payments.c.payment_method_id, *SHOWN, _FLOW, no_try).where(
        payments.c.account_id == account_id, ~told_by_its_tries
    )


def _failed_tries(account_id: UUID) -> Select[Any]:
    has_card = payment_attempts.c.payment_method_id.is_not(None)
    own: dict[str, ColumnElement[Any]] = {
        # Its payer may have asked for another way since.
        "flow": case((has_card, literal("saved_card", TextType)), else_=payments.c.flow),
        "status": literal("failed", TextType),
        "received_minor": literal(0),
        "refunded_minor": literal(0),
        "payment_method_id": payment_attempts.c.payment_method_id,
        "failure_code": payment_attempts.c.decline_code,
        "failure_message": payment_attempts.c.message,
        "failure_class": payment_attempts.c.decline_class,
        "closed_at": payment_attempts.c.finished_at,
        "created_at": payment_attempts.c.started_at,
    }
    columns = [
        own.get(column.name, null().cast(column.type)).label(column.name)
        if column.name in _OWN
        else column
        for column in SHOWN
    ]
    return _entry(
        payment_attempts.c.payment_method_id,
        *columns,
        _TRY,
        payment_attempts.c.id.label("attempt_id"),
        start=payments.join(payment_attempts, payment_attempts.c.payment_id == payments.c.id),
    ).where(payment_attempts.c.account_id == account_id, payment_attempts.c.status == "declined")


def _entry(method_id: Any, *columns: Any, start: FromClause = payments) -> Select[Any]:
    """Select columns with the invoice's subscription and the kind of method used.

    Each payment has an invoice; an outer join is left out where its columns are not wanted, as in
    the count of the entries.
    """
    kind = payment_methods.c.kind.label("method_kind")
    return select(*columns, invoices.c.subscription_id, kind).select_from(
        start.outerjoin(invoices, invoices.c.id == payments.c.invoice_id).outerjoin(
            payment_methods, payment_methods.c.id == method_id
        )
    )
