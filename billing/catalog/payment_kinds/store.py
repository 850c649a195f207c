"""Queries on the kinds of payment methods that are offered."""

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.payment_kinds.changes import PaymentKindChange
from billing.catalog.payment_kinds.schemas import PaymentKind
from billing.catalog.payment_kinds.tables import payment_method_configs


async def current(connection: AsyncConnection) -> dict[str, PaymentKind]:
    """Return every kind by its key, in their order."""
    query = select(payment_method_configs).order_by(
        payment_method_configs.c.position, payment_method_configs.c.key
    )
    rows = (await connection.execute(query)).mappings()
    return {row["key"]: PaymentKind.model_validate(dict(row)) for row in rows}


async def write(connection: AsyncConnection, change: PaymentKindChange) -> None:
    """Write one kind, or delete it."""
    if change.new is None:
        await connection.execute(
            delete(payment_method_configs).where(payment_method_configs.c.key == change.key)
        )
        return
    terms = change.new.model_dump(mode="json")
    await connection.execute(
        insert(payment_method_configs)
        .values(**terms)
        .on_conflict_do_update(index_elements=["key"], set_=terms)
    )
