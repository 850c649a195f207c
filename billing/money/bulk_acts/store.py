"""The subscriptions that an operator chooses, and the overdue invoices of each."""

from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, exists, func, or_, select, union
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.plans.rules import OPEN_STATUSES
from billing.core import ids
from billing.money.bulk_acts.schemas import (
    OF_SUBSCRIPTIONS,
    STEERED_CASES,
    Act,
    BulkAct,
    Choice,
)
from billing.money.dunning.tables import dunning_cases
from billing.money.invoices.tables import invoices
from billing.money.subscriptions import store as subscription_store
from billing.money.subscriptions.tables import subscriptions
from billing.platform.audit.tables import billing_audit

STEERED: Final = "subscription.steered"
"""The action in the audit of each subscription to which an act was done."""
_CLOCKS_DIFFER: Final = timedelta(minutes=1)
"""The most by which the clock of one process may be behind that of another."""


async def chosen(connection: AsyncConnection, choice: Choice, act: Act) -> Select[Any]:
    """Select the subscriptions of a choice; the caller sorts and limits.

    Subscriptions not named by id count only if the act applies to them. Errors:
    SUBSCRIPTION_NOT_FOUND.
    """
    if choice.subscription_ids is not None:
        for one in choice.subscription_ids:
            await subscription_store.get(connection, one)
    query = subscription_store.listing(
        None, plan=choice.plan, price_minor=choice.price_minor, currency=choice.currency,
        status=choice.status,
    )  # fmt: skip
    sub, case = subscriptions.c, dunning_cases.c
    if choice.subscription_ids is not None:
        query = query.where(sub.id.in_(choice.subscription_ids))
    if choice.account_ids is not None:
        query = query.where(sub.account_id.in_(choice.account_ids))
    bounds = []
    if choice.past_due_from is not None:
        bounds.append(case.opened_at >= choice.past_due_from)
    if choice.past_due_until is not None:
        bounds.append(case.opened_at < choice.past_due_until)
    overdue = _overdue(act).where(invoices.c.subscription_id == sub.id, *bounds)
    if bounds or (choice.subscription_ids is None and act not in OF_SUBSCRIPTIONS):
        query = query.where(exists(overdue))
    if choice.subscription_ids is None and act in OF_SUBSCRIPTIONS:
        query = query.where(sub.status.in_(OPEN_STATUSES))
    return query


def or_done(query: Select[Any], suffix: str) -> Select[Any]:
    """Select also those to which the request with this suffix has done its act, which as a rule
    does not apply to them any more: its page stays the same.

    They are found by such acts in the audit since the request began: subscriptions are many, and so
    are steps, for a request may be sent again hours later.
    """
    sub, entry = subscriptions.c, billing_audit.c
    done = (
        select(sub.id)
        .join_from(billing_audit, subscriptions, sub.account_id == entry.account_id)
        .where(
            entry.action == STEERED,
            entry.real_at > ids.born_at(ids.decode(ids.REQUEST, suffix)) - _CLOCKS_DIFFER,
            entry.detail["request"].astext == suffix,
            entry.subject == func.public_id(ids.SUBSCRIPTION, sub.id),
        )
    )
    all_of_them = subscription_store.listing(
        None, plan=None, price_minor=None, currency=None, status=None
    )
    return all_of_them.where(sub.id.in_(union(query.with_only_columns(sub.id), done)))


async def overdue_of(
    connection: AsyncConnection, subscription_id: UUID, order: BulkAct
) -> list[UUID]:
    """Return the invoices of a subscription that an act applies to, oldest first."""
    query = _overdue(order.act).where(invoices.c.subscription_id == subscription_id)
    if order.in_recovery:
        query = query.where(dunning_cases.c.id.is_not(None))
    return list(await connection.scalars(query.order_by(invoices.c.created_at, invoices.c.id)))


def _overdue(act: Act) -> Select[Any]:
    invoice, case = invoices.c, dunning_cases.c
    query = (
        select(invoice.id)
        .join_from(invoices, dunning_cases, case.invoice_id == invoice.id, isouter=True)
        .where(invoice.status == "open")
    )
    wanted = STEERED_CASES.get(act)
    if wanted is not None:
        return query.where(case.status.in_(wanted))
    return query.where(or_(case.id.is_not(None), invoice.collection == "held"))
