"""Queries on payments and attempts."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    RowMapping,
    Select,
    Uuid,
    and_,
    case,
    cast,
    exists,
    func,
    literal_column,
    or_,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import prepared, row_writes
from billing.core.errors import NotFound
from billing.core.prepared import Fields, Prepared, Row, given, last_of, written
from billing.money.invoices.tables import balance_entries, invoices
from billing.money.payment_methods.schemas import Method
from billing.money.payment_methods.tables import payment_methods
from billing.money.payments.schemas import (
    DECIDABLE,
    DECLINED,
    LIVE,
    Attempt,
    AttemptCard,
    Payment,
)
from billing.money.payments.tables import payment_attempts, payments

_BY_HAND = payments.c.flow == "manual"
# A manual payment that is `pending` waits for the card to be called back: it collects nothing yet.
_COLLECTS = payments.c.status.in_(LIVE) & ~(_BY_HAND & (payments.c.status == "pending"))

_OF_ID = select(payments).where(payments.c.id == given("payment_id"))
_GET = Prepared(_OF_ID)
_LOCK = Prepared(_OF_ID.with_for_update(key_share=True))
_LIVE_OF = select(payments).where(payments.c.invoice_id == given("invoice_id"), _COLLECTS)
_LIVE = Prepared(_LIVE_OF)
_LOCK_LIVE = Prepared(_LIVE_OF.with_for_update())
_UNDECIDED = Prepared(
    select(payments).where(
        payments.c.invoice_id == given("invoice_id"), payments.c.status.in_(LIVE)
    )
)
_NEWEST = (payments.c.created_at.desc(), payments.c.id.desc())
_OF_INVOICE = (
    select(payments).where(payments.c.invoice_id == given("invoice_id")).order_by(*_NEWEST)
)
_LATEST = Prepared(_OF_INVOICE.limit(1))
_ALL_OF_INVOICE = Prepared(_OF_INVOICE)
_COUNT = Prepared(
    select(func.count()).select_from(payments).where(payments.c.invoice_id == given("invoice_id"))
)
_FIND_ATTEMPT = Prepared(select(payment_attempts).where(payment_attempts.c.key == given("key")))
_CHARGEABLE = and_(payment_methods.c.status == "active", payment_methods.c.barred_at.is_(None))
CARD_OF: Final = Prepared(
    select(
        payment_attempts.c.status,
        payment_attempts.c.payment_method_id.label("method_id"),
        case((_CHARGEABLE, payment_methods.c.stripe_payment_method_id)).label("card"),
        payment_methods.c.provider_kind,
        payment_methods.c.barred_at.is_not(None).label("is_barred"),
    )
    .outerjoin(payment_methods, payment_methods.c.id == payment_attempts.c.payment_method_id)
    .where(payment_attempts.c.key == given("key"))
)
_ATTEMPTS_OF = Prepared(
    select(payment_attempts)
    .where(payment_attempts.c.invoice_id == given("invoice_id"))
    .order_by(payment_attempts.c.real_started_at, payment_attempts.c.id)
)

_SAME_CARD = select(payment_methods.c.id).where(
    payment_methods.c.account_id == given("account_id"),
    or_(
        payment_methods.c.id == given("method_id"),
        payment_methods.c.fingerprint == given("fingerprint"),
    ),
)
# Written out, so that a kept plan finds them by the partial index.
_DECLINED: Final[list[ColumnElement[str]]] = [literal_column(f"'{status}'") for status in DECLINED]
_DECLINES_OF = Prepared(
    select(func.count())
    .select_from(payment_attempts)
    .where(
        payment_attempts.c.account_id == given("account_id"),
        payment_attempts.c.payment_method_id.in_(_SAME_CARD),
        payment_attempts.c.started_at >= given("since"),
        payment_attempts.c.status.in_(_DECLINED),
    )
)
_LAST_TRY_OF = Prepared(
    select(payment_attempts)
    .join(invoices, invoices.c.id == payment_attempts.c.invoice_id)
    .where(invoices.c.workflow_id == given("workflow_id"))
    .order_by(payment_attempts.c.real_started_at.desc(), payment_attempts.c.id.desc())
    .limit(1)
)


async def add(connection: AsyncConnection, row: dict[str, Any]) -> Payment:
    """Write a payment; the partial unique index refuses a second collector of an invoice."""
    return show(await row_writes.add(connection, payments, row))


async def get(connection: AsyncConnection, payment_id: UUID) -> Payment:
    """One payment; PAYMENT_NOT_FOUND."""
    return _there(await _GET.first(connection, payment_id=payment_id))


async def find(connection: AsyncConnection, payment_id: UUID) -> Payment | None:
    """One payment, if it is there."""
    row = await _GET.first(connection, payment_id=payment_id)
    return show(row) if row else None


async def lock(connection: AsyncConnection, payment_id: UUID) -> Payment:
    """One payment, locked until the transaction ends; PAYMENT_NOT_FOUND."""
    return _there(await _LOCK.first(connection, payment_id=payment_id))


async def live(
    connection: AsyncConnection, invoice_id: UUID, *, lock: bool = False
) -> Payment | None:
    """The invoice's one collector that may still bring money."""
    row = await (_LOCK_LIVE if lock else _LIVE).first(connection, invoice_id=invoice_id)
    return show(row) if row else None


async def undecided(connection: AsyncConnection, invoice_id: UUID) -> list[Payment]:
    """The invoice's collector, and the manual payment that nobody has decided on."""
    return [show(row) for row in await _UNDECIDED.all(connection, invoice_id=invoice_id)]


async def submission(connection: AsyncConnection, invoice_id: UUID) -> Payment | None:
    """The invoice's manual payment that nobody has decided on."""
    query = select(payments).where(payments.c.invoice_id == invoice_id)
    row = await prepared.find(connection, query.where(_BY_HAND, payments.c.status.in_(LIVE)))
    return show(row) if row else None


async def reference_used(connection: AsyncConnection, account_id: UUID, reference: str) -> bool:
    """True if the account has a manual payment with this reference that was not refused."""
    found = await connection.scalar(
        select(payments.c.id).where(
            payments.c.account_id == account_id,
            payments.c.transaction_reference == reference,
            payments.c.status.not_in(["failed", "canceled"]),
        )
    )
    return found is not None


async def uses_method(connection: AsyncConnection, method_id: UUID) -> bool:
    """True if a live payment uses this method; an undecided try keeps its card."""
    attempt = payment_attempts.c
    tries = select(attempt.id).where(attempt.payment_id == payments.c.id)
    undecided = tries.where(attempt.payment_method_id == method_id, attempt.status == "pending")
    account_id = select(payment_methods.c.account_id).where(payment_methods.c.id == method_id)
    on_its_way = select(payments.c.id).where(
        payments.c.account_id == account_id.scalar_subquery(),
        payments.c.status.in_(LIVE),
        or_(
            exists(undecided),
            and_(payments.c.payment_method_id == method_id, ~exists(tries)),
        ),
    )
    return bool(await connection.scalar(select(exists(on_its_way))))


async def is_open_by_link(connection: AsyncConnection, account_id: UUID) -> bool:
    """True if whoever has a signed link may be paying an invoice of this account."""
    theirs = select(payments.c.id).where(
        payments.c.account_id == account_id, payments.c.status.in_(LIVE), payments.c.by_link
    )
    return bool(await connection.scalar(select(exists(theirs))))


async def latest(connection: AsyncConnection, invoice_id: UUID) -> Payment | None:
    """The newest payment of the invoice, whatever its status."""
    row = await _LATEST.first(connection, invoice_id=invoice_id)
    return show(row) if row else None


async def latest_of(
    connection: AsyncConnection, invoice_ids: Sequence[UUID]
) -> dict[UUID, Payment]:
    """The newest payment of each of these invoices, by the invoice's id."""
    found = await connection.execute(
        select(payments)
        .where(payments.c.invoice_id.in_(invoice_ids))
        .ext(distinct_on(payments.c.invoice_id))
        .order_by(payments.c.invoice_id, *_NEWEST)
    )
    return {row["invoice_id"]: show(row) for row in found.mappings()}


async def of_invoice(connection: AsyncConnection, invoice_id: UUID) -> list[Payment]:
    """All payments of the invoice, newest first."""
    return [show(row) for row in await _ALL_OF_INVOICE.all(connection, invoice_id=invoice_id)]


def booked_on() -> ColumnElement[UUID]:
    """Return the invoice of a payment: the one that asked for it, or the one that it paid instead.

    Money that came for a purchase which had ended was asked for on its draft, which is void, and is
    booked on the second invoice, which was drafted for that. What the money balance had kept before
    is of the draft alone (as in refunds/remaining.booked_on).
    """
    asked, late, kept = invoices.alias("asked"), invoices.alias("late"), balance_entries.c
    of_payment = and_(kept.account_id == payments.c.account_id, kept.payment_id == payments.c.id)
    is_kept = exists().where(of_payment, kept.kind == "unasked").correlate(payments)
    second = (
        select(late.c.id)
        .join(asked, asked.c.workflow_id == late.c.workflow_id)
        .where(asked.c.id == payments.c.invoice_id, asked.c.status == "void")
        .where(asked.c.purchase_id.is_not(None), late.c.id != asked.c.id)
        .where(payments.c.settled_at >= late.c.created_at, ~is_kept)
    )
    return func.coalesce(second.scalar_subquery(), payments.c.invoice_id)


SHOWN: Final = tuple(
    booked_on().label("invoice_id") if one.name == "invoice_id" else one for one in payments.c
)
"""The columns of a payment, with the invoice that it is booked on."""


def is_of(invoice_id: Any) -> ColumnElement[bool]:
    """Return the condition that the invoice asked for a payment, or was paid by it."""
    own, draft = invoices.alias("own"), invoices.alias("draft")
    drafts = (
        select(draft.c.id)
        .join(own, own.c.workflow_id == draft.c.workflow_id)
        .where(own.c.id == invoice_id, own.c.purchase_id.is_not(None), draft.c.status == "void")
    )
    return and_(
        payments.c.invoice_id.in_(union_all(select(cast(invoice_id, Uuid)), drafts)),
        or_(payments.c.invoice_id == invoice_id, booked_on() == invoice_id),
    )


async def listed_of_invoice(connection: AsyncConnection, invoice_id: UUID) -> list[RowMapping]:
    """All payments of the invoice as rows of `listing`, newest first."""
    query = listing(None).where(is_of(invoice_id)).order_by(*_NEWEST)
    return list((await connection.execute(query)).mappings())


async def listed(connection: AsyncConnection, payment_id: UUID) -> RowMapping:
    """One payment as a row of `listing`; PAYMENT_NOT_FOUND."""
    found = await connection.execute(listing(None, only=payment_id))
    row: RowMapping | None = found.mappings().one_or_none()
    if row is None:
        raise NotFound("PAYMENT_NOT_FOUND")
    return row


async def count(connection: AsyncConnection, invoice_id: UUID) -> int:
    """Count the flows of this invoice; the count numbers the next intent."""
    return int(await _COUNT.scalar(connection, invoice_id=invoice_id))


async def find_intent(connection: AsyncConnection, *names: str | None) -> Payment | None:
    """Find the payment of a provider's intent, page or order by any of these ids."""
    known = [name for name in names if name]
    query = select(payments).where(
        payments.c.stripe_payment_intent_id.in_(known)
        | payments.c.stripe_checkout_session_id.in_(known)
    )
    row = await prepared.find(connection, query)
    return show(row) if row else None


async def change(connection: AsyncConnection, payment_id: UUID, **fields: Any) -> Payment:
    """Overwrite fields of one payment."""
    return show(await row_writes.change(connection, payments, payment_id, **fields))


def listing(
    account_id: UUID | None,
    *,
    statuses: Sequence[str] = (),
    only: UUID | None = None,
    undecided: bool = False,
) -> Select[Any]:
    """Select payments, each with the invoice that it is booked on, its subscription, the kind of
    the method (`method_kind`, null if no saved one is known), and `invoice_voided_at` of the
    invoice that asked for it; the caller orders and limits.

    Without an account: all accounts, for operators. `undecided`: manual payments that may still be
    approved.
    """
    kind = payment_methods.c.kind.label("method_kind")
    query = (
        select(
            *SHOWN,
            invoices.c.subscription_id,
            invoices.c.voided_at.label("invoice_voided_at"),
            kind,
        )
        .join(invoices, invoices.c.id == payments.c.invoice_id)
        .outerjoin(payment_methods, payment_methods.c.id == payments.c.payment_method_id)
    )
    if account_id is not None:
        query = query.where(payments.c.account_id == account_id)
    if statuses:
        query = query.where(payments.c.status.in_(map(written, statuses)))
    if undecided:
        query = query.where(payments.c.flow == "manual", payments.c.status.in_(DECIDABLE))
    return query if only is None else query.where(payments.c.id == only)


async def find_attempt(connection: AsyncConnection, key: str) -> Attempt | None:
    """One attempt by its business key."""
    row = await _FIND_ATTEMPT.first(connection, key=key)
    return show_attempt(row) if row else None


async def find_attempts(connection: AsyncConnection, keys: Collection[str]) -> dict[str, Attempt]:
    """The attempts with these business keys, by key."""
    query = select(payment_attempts).where(payment_attempts.c.key.in_(keys))
    return {row["key"]: show_attempt(row) for row in (await connection.execute(query)).mappings()}


async def card_of(connection: AsyncConnection, key: str) -> AttemptCard | None:
    """The card of one attempt by its business key, if there is such an attempt."""
    return show_card(await last_of(connection, (CARD_OF, {"key": key})))


def show_card(rows: Sequence[Row]) -> AttemptCard | None:
    """Return the rows of CARD_OF as the attempt's card."""
    return AttemptCard(**rows[0]) if rows else None


async def attempts_of(connection: AsyncConnection, invoice_id: UUID) -> list[Attempt]:
    """All attempts on one invoice, oldest first."""
    return [show_attempt(row) for row in await _ATTEMPTS_OF.all(connection, invoice_id=invoice_id)]


async def declines_of(connection: AsyncConnection, card: Method, since: datetime) -> int:
    """Count a card's declines since then over all invoices; copies of a card count as one."""
    return int(
        await _DECLINES_OF.scalar(
            connection,
            account_id=card.account_id,
            method_id=card.id,
            fingerprint=card.fingerprint,
            since=since,
        )
    )


async def last_try_of(connection: AsyncConnection, workflow_id: str) -> Attempt | None:
    """The newest attempt on an invoice that this matter collects."""
    row = await _LAST_TRY_OF.first(connection, workflow_id=workflow_id)
    return show_attempt(row) if row else None


async def charges_on_record(connection: AsyncConnection, invoice_id: UUID) -> set[str]:
    """The provider's charges that tries of this invoice have already recorded."""
    charge = payment_attempts.c.detail["charge_id"].astext
    rows = await connection.execute(
        select(charge).where(payment_attempts.c.invoice_id == invoice_id, charge.is_not(None))
    )
    return set(rows.scalars())


def _there(row: Mapping[str, Any] | None) -> Payment:
    if row is None:
        raise NotFound("PAYMENT_NOT_FOUND")
    return show(row)


def show(row: Fields) -> Payment:
    """A row as a payment."""
    return Payment.model_validate(dict(row))


def show_attempt(row: Fields) -> Attempt:
    """A row as an attempt."""
    return Attempt.model_validate(dict(row))
