"""Queries on jurisdictions and their rates."""

from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.taxes.changes import (
    CodesChange,
    CurrentTaxes,
    InclusionChange,
    JurisdictionChange,
)
from billing.catalog.taxes.changes import TaxChange as Change
from billing.catalog.taxes.schemas import Jurisdiction
from billing.catalog.taxes.spec import JurisdictionSpec
from billing.catalog.taxes.tables import tax_jurisdictions, tax_terms


async def current(connection: AsyncConnection) -> CurrentTaxes:
    """Return every jurisdiction by key, and the terms of all of them."""
    rows = (await connection.execute(select(tax_jurisdictions))).mappings()
    kept = (await connection.execute(select(tax_terms))).mappings().one_or_none()
    terms: dict[str, Any] = dict(kept or {})
    found = (Jurisdiction.model_validate(dict(row)) for row in rows)
    return CurrentTaxes(
        {one.key: one for one in found},
        tuple(terms.get("included_in", ())),
        terms.get("codes", {}),
    )


async def regions(connection: AsyncConnection, country: str) -> list[str]:
    """The codes of the country's regions that tax is collected for, without the country."""
    key = tax_jurisdictions.c.key
    found = await connection.scalars(select(key).where(key.startswith(f"{country}-")).order_by(key))
    return [one.partition("-")[2] for one in found]


async def write(connection: AsyncConnection, change: Change) -> None:
    """Write one change of the taxes."""
    match change:
        case JurisdictionChange(key=key, new=new):
            await _put_jurisdiction(connection, key, new)
        case InclusionChange(included):
            await _put_terms(connection, included_in=list(included))
        case CodesChange(codes):
            await _put_terms(connection, codes=dict(codes))


async def _put_jurisdiction(
    connection: AsyncConnection, key: str, spec: JurisdictionSpec | None
) -> None:
    if spec is None:
        await connection.execute(delete(tax_jurisdictions).where(tax_jurisdictions.c.key == key))
        return
    terms = spec.model_dump(mode="json")
    await connection.execute(
        insert(tax_jurisdictions)
        .values(key=key, **terms)
        .on_conflict_do_update(index_elements=["key"], set_=terms)
    )


async def _put_terms(connection: AsyncConnection, **terms: Any) -> None:
    row = {"is_only": True, "included_in": [], **terms}
    await connection.execute(
        insert(tax_terms)
        .values(**row)
        .on_conflict_do_update(index_elements=["is_only"], set_=terms)
    )
