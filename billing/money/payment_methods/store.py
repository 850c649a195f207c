"""Queries on stored payment methods."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids, row_writes
from billing.core.errors import NotFound
from billing.core.prepared import Fields, Prepared, given
from billing.money.payment_methods import rules
from billing.money.payment_methods.schemas import Method
from billing.money.payment_methods.tables import payment_methods
from billing.platform.audit.tables import billing_audit

_WHOLE: Final = timedelta(seconds=1)
"""The provider tells whole seconds, so what was done within one has no order."""
_DETACH: Final = Prepared(
    update(payment_methods)
    .where(payment_methods.c.id == given("method_id"))
    .values(
        status="detached",
        is_default=False,
        is_backup=False,
        removed_at=func.coalesce(payment_methods.c.removed_at, given("at")),
    )
    .returning(payment_methods)
)
AT_STRIPE: Final = "at_stripe"
"""The key of the audit's detail where that followed from what its owner did at the provider."""
_ACTIVE: Final = select(payment_methods).where(payment_methods.c.status == "active")
_OF_ID: Final = Prepared(_ACTIVE.where(payment_methods.c.id == given("method_id")))
_DEFAULT: Final = Prepared(
    _ACTIVE.where(payment_methods.c.account_id == given("account_id"), payment_methods.c.is_default)
)
_OF_REFERENCE: Final = Prepared(
    select(payment_methods).where(payment_methods.c.stripe_payment_method_id == given("reference"))
)


async def get(connection: AsyncConnection, method_id: UUID) -> Method:
    """One active method; PAYMENT_METHOD_NOT_FOUND."""
    method = await find(connection, method_id)
    if method is None:
        raise NotFound("PAYMENT_METHOD_NOT_FOUND")
    return method


async def find(connection: AsyncConnection, method_id: UUID) -> Method | None:
    """One active method."""
    row = await _OF_ID.first(connection, method_id=method_id)
    return show(row) if row else None


async def names_of(
    connection: AsyncConnection, account_id: UUID, method_id: UUID | None
) -> set[str]:
    """The provider's ids of a method's card, by the rule of `rules.names_of`."""
    methods = await ever_of(connection, account_id)
    mine = (one for one in methods if one.id == method_id)
    return {name for one in mine for name in rules.names_of(methods, one)}


async def default(connection: AsyncConnection, account_id: UUID) -> Method | None:
    """The account's default method."""
    row = await _DEFAULT.first(connection, account_id=account_id)
    return show(row) if row else None


async def is_chosen_here_since(
    connection: AsyncConnection, account_id: UUID, since: datetime
) -> bool:
    """True if the default became it here after this second, of real time."""
    method, entry = await default(connection, account_id), billing_audit.c
    if method is None:
        return False
    chosen = exists().where(
        entry.subject == ids.encode(ids.PAYMENT_METHOD, method.id),
        entry.action == "payment_method.chosen",
        entry.real_at >= since + _WHOLE,
        ~entry.detail.has_key(AT_STRIPE),
    )
    return bool(await connection.scalar(select(chosen)))


async def find_by_reference(connection: AsyncConnection, reference: str) -> Method | None:
    """The active method with this id at the provider."""
    method = await ever_known(connection, reference)
    return method if method is not None and method.status == "active" else None


async def ever_known(connection: AsyncConnection, reference: str) -> Method | None:
    """The method with this id at the provider, removed or not."""
    row = await _OF_REFERENCE.first(connection, reference=reference)
    return show(row) if row else None


async def removing(connection: AsyncConnection, method_id: UUID) -> str | None:
    """The provider's id of a method that is still to be detached there."""
    reference: str | None = await connection.scalar(
        select(payment_methods.c.stripe_payment_method_id).where(
            payment_methods.c.id == method_id, payment_methods.c.status == "removing"
        )
    )
    return reference


def listing(account_id: UUID) -> Select[Any]:
    """Select the account's active methods; the caller orders and limits."""
    return select(payment_methods).where(
        payment_methods.c.account_id == account_id, payment_methods.c.status == "active"
    )


async def active(connection: AsyncConnection, account_id: UUID) -> list[Method]:
    """The account's active methods."""
    rows = await connection.execute(listing(account_id))
    return [show(dict(row)) for row in rows.mappings()]


async def ever_of(connection: AsyncConnection, account_id: UUID) -> list[Method]:
    """The account's methods, removed or not."""
    query = select(payment_methods).where(payment_methods.c.account_id == account_id)
    return [show(dict(row)) for row in (await connection.execute(query)).mappings()]


async def others(connection: AsyncConnection, method: Method) -> list[Method]:
    """The account's other active methods, newest first."""
    newest = (payment_methods.c.created_at.desc(), payment_methods.c.id.desc())
    query = listing(method.account_id).where(payment_methods.c.id != method.id)
    rows = await connection.execute(query.order_by(*newest))
    return [show(dict(row)) for row in rows.mappings()]


async def add(connection: AsyncConnection, row: Mapping[str, Any]) -> Method:
    """Insert a method."""
    return show(await row_writes.add(connection, payment_methods, row))


async def change(connection: AsyncConnection, method_id: UUID, **fields: Any) -> Method:
    """Overwrite fields of one method."""
    return show(await row_writes.change(connection, payment_methods, method_id, **fields))


async def detach(connection: AsyncConnection, method_id: UUID, at: datetime) -> Method:
    """Make a method a detached one."""
    return show(await _DETACH.one(connection, method_id=method_id, at=at))


def show(row: Fields) -> Method:
    """A row as a method."""
    return Method.model_validate(dict(row))
