"""Requests of operators about the money of one payment."""

from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import prepared
from billing.core.errors import Conflict
from billing.core.frozen import Frozen
from billing.matters.effects import Work
from billing.matters.schemas import Matter
from billing.money.disputes.tables import disputes
from billing.money.payments.schemas import Payment
from billing.money.refunds import transitions as refunds
from billing.money.refunds.schemas import Refund, Way
from billing.money.refunds.tables import refunds as refund_rows
from billing.money.reversals.facts import ReversalFacts
from billing.money.reversals.reading import ENGINE
from billing.platform.decisions import service as decisions


class Wanted(Frozen):
    """A refund as an operator requests it."""

    refund_id: UUID
    amount_minor: int | None
    reason: str
    to_balance: bool
    reference: str | None
    line: int | None = None
    keep_subscription: bool = False
    keep_credits: bool = False


async def refund(connection: AsyncConnection, payment_id: UUID, wanted: Wanted) -> Matter:
    """Write a refund, once per id; return the matter that makes it.

    Errors: PAYMENT_NOT_FOUND, PAYMENT_STATE, REFUND_TOO_LARGE, REFUND_STEP.
    """
    verb = partial(_refund, wanted=wanted)
    _, work = await decisions.command(connection, ENGINE, payment_id, verb)
    return (await decisions.born_by(connection, work))[0]


async def find_refund(connection: AsyncConnection, refund_id: UUID) -> Refund:
    """Return a refund that must exist."""
    query = select(refund_rows).where(refund_rows.c.id == refund_id)
    row = await prepared.find(connection, query)
    if row is None:
        raise LookupError(f"no refund {refund_id}")
    return Refund.model_validate(dict(row))


def refund_listing(payment_id: UUID) -> Select[Any]:
    """Select the refunds of one payment; the caller orders and limits."""
    return select(refund_rows).where(refund_rows.c.payment_id == payment_id)


def dispute_listing(account_id: UUID | None, states: Sequence[str]) -> Select[Any]:
    """Select the disputes of one account, or of all; the caller orders and limits."""
    query = select(disputes)
    if account_id is not None:
        query = query.where(disputes.c.account_id == account_id)
    return query.where(disputes.c.state.in_(states)) if states else query


def _refund(w: Work[ReversalFacts], *, wanted: Wanted) -> None:
    payment = w.rows.get(Payment, w.facts.payment_id)
    refunds.ask(
        w, payment, refund_id=wanted.refund_id, amount_minor=wanted.amount_minor,
        reason=wanted.reason, way=_way(payment, wanted), reference=wanted.reference,
        line=wanted.line, keep_subscription=wanted.keep_subscription,
        keep_credits=wanted.keep_credits,
    )  # fmt: skip
    refunds.wake_reversal(w, payment.account_id, payment.id)


def _way(payment: Payment, wanted: Wanted) -> Way:
    """Money that came by hand goes back by hand."""
    if wanted.to_balance:
        return "balance"
    if payment.flow == "manual":
        return "outside"
    if wanted.reference is not None:
        raise Conflict("PAYMENT_STATE", "reference is only allowed for manual refunds")
    return "provider"
