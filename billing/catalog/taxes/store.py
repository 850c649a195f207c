"""Every query on jurisdictions and their rates."""

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.taxes.changes import CurrentTaxes, InclusionChange, JurisdictionChange
from billing.catalog.taxes.changes import TaxChange as Change
from billing.catalog.taxes.schemas import Jurisdiction
from billing.catalog.taxes.spec import JurisdictionSpec
from billing.catalog.taxes.tables import tax_jurisdictions, tax_terms


async def current(connection: AsyncConnection) -> CurrentTaxes:
    """Every jurisdiction by key, and the currencies whose prices hold their tax."""
    rows = (await connection.execute(select(tax_jurisdictions))).mappings()
    included = await connection.scalar(select(tax_terms.c.included_in))
    found = (Jurisdiction.model_validate(dict(row)) for row in rows)
    return CurrentTaxes({one.key: one for one in found}, tuple(included or ()))


async def write(connection: AsyncConnection, change: Change) -> None:
    """Write one change of the taxes."""
    match change:
        case JurisdictionChange(key=key, new=None):
            await connection.execute(
                delete(tax_jurisdictions).where(tax_jurisdictions.c.key == key)
            )
        case JurisdictionChange(key=key, new=JurisdictionSpec() as new):
            terms = new.model_dump(mode="json")
            await connection.execute(
                insert(tax_jurisdictions)
                .values(key=key, **terms)
                .on_conflict_do_update(index_elements=["key"], set_=terms)
            )
        case InclusionChange(included):
            await connection.execute(
                insert(tax_terms)
                .values(is_only=True, included_in=list(included))
                .on_conflict_do_update(
                    index_elements=["is_only"], set_={"included_in": list(included)}
                )
            )
