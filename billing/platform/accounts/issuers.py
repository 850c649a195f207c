"""The seller's legal entities: named on documents, each with its own number series."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids, row_writes
from billing.core.errors import Conflict
from billing.core.prepared import Prepared
from billing.platform.accounts.schemas import Issuer
from billing.platform.accounts.tables import issuer_logos, issuers
from billing.platform.audit import service as audit

DEFAULT: Final = "(SELECT x.id FROM issuers x WHERE x.is_default)"
# The issuer of account `a`, read on each use, so that a new default applies at once.
SELLER: Final = f"coalesce(a.issuer_id, {DEFAULT})"
_SELLER_OF: Final = Prepared(
    text(f"SELECT {SELLER} AS seller_id FROM accounts a WHERE a.id = :account_id")  # noqa: S608
)
_NAME: Final = Prepared(
    text(f"SELECT i.name FROM issuers i WHERE i.id = coalesce(:issuer_id, {DEFAULT})")  # noqa: S608
)
_LOCK: Final = 4_711_001
"""Serializes the rare writes of issuers."""


async def listed(connection: AsyncConnection) -> list[Issuer]:
    """Return every issuer, by its key."""
    rows = await connection.execute(select(issuers).order_by(issuers.c.key))
    return [Issuer.model_validate(row) for row in rows.mappings()]


async def put(
    connection: AsyncConnection, key: str, fields: Mapping[str, Any], at: datetime
) -> Issuer:
    """Write the issuer with this key; the default one bills accounts that name none.

    Fields that are left out keep their values. Errors: ISSUER_IS_DEFAULT.
    """
    await connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    row = {**fields, "key": key}
    if row.get("is_default") is False and await _is_default(connection, key):
        raise Conflict("ISSUER_IS_DEFAULT")
    if row.get("is_default"):
        others = issuers.c.is_default & (issuers.c.key != key)
        await connection.execute(update(issuers).where(others).values(is_default=False))
    new = insert(issuers).values(id=ids.new(), **row)
    written = await connection.execute(
        new.on_conflict_do_update(index_elements=[issuers.c.key], set_=row).returning(issuers)
    )
    issuer = Issuer.model_validate(written.mappings().one())
    subject = ids.encode(ids.ISSUER, issuer.id)
    await audit.record(
        connection, account_id=None, action="issuer.changed", subject=subject, at=at, key=key
    )
    return issuer


async def _is_default(connection: AsyncConnection, key: str) -> bool:
    asked = select(issuers.c.is_default).where(issuers.c.key == key)
    return bool(await connection.scalar(asked))


async def find(connection: AsyncConnection, key: str) -> UUID | None:
    """Return the id of the issuer with this key."""
    found: UUID | None = await connection.scalar(select(issuers.c.id).where(issuers.c.key == key))
    return found


async def seller(connection: AsyncConnection, account_id: UUID) -> UUID | None:
    """Return the issuer that bills this account: the one it names, else the current default."""
    found: UUID | None = await _SELLER_OF.scalar(connection, account_id=account_id)
    return found


async def name(connection: AsyncConnection, issuer_id: UUID | None) -> str | None:
    """Return the seller's name as shown to payers."""
    found: str | None = await _NAME.scalar(connection, issuer_id=issuer_id)
    return found


async def keep_logo(connection: AsyncConnection, content: bytes) -> str:
    """Store a logo for documents; return its name, a hash."""
    name = hashlib.sha256(content).hexdigest()
    row = {"sha256": name, "content": content}
    await row_writes.add_unless_there(connection, issuer_logos, row)
    return name
