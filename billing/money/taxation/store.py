"""Every query on the accounts' standing with the tax office."""

from typing import Any, Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.prepared import Prepared, given
from billing.money.taxation.schemas import TaxProfile
from billing.money.taxation.tables import tax_profiles

_OF_ACCOUNT: Final = Prepared(
    select(tax_profiles).where(tax_profiles.c.account_id == given("account_id"))
)


async def profile(connection: AsyncConnection, account_id: UUID) -> TaxProfile:
    """The account's standing; of an account without a row the empty one."""
    row = await _OF_ACCOUNT.first(connection, account_id=account_id)
    return TaxProfile.model_validate(row or {"account_id": account_id})


async def put(connection: AsyncConnection, account_id: UUID, **fields: Any) -> TaxProfile:
    """Overwrite fields of it; callers hold the account's lock."""
    known = await profile(connection, account_id)
    written = (
        insert(tax_profiles)
        .values(known.model_dump() | fields)  # the whole row, for it must be one by itself
        .on_conflict_do_update(index_elements=["account_id"], set_=fields)
        .returning(tax_profiles)
    )
    return TaxProfile.model_validate(dict((await connection.execute(written)).mappings().one()))
