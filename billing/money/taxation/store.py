"""Every query on the accounts' standing with the tax office."""

from typing import Any, Final
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.prepared import Prepared, given
from billing.money.taxation.reading import VAT_COUNTRY
from billing.money.taxation.schemas import ChargedTax, TaxProfile
from billing.money.taxation.tables import tax_profiles

_CHARGED: Final = Prepared(
    text(
        f"""
    SELECT i.id AS invoice_id, sum((t ->> 'amount_minor')::bigint)::bigint AS tax_minor
    FROM tax_profiles p JOIN invoices i ON i.account_id = p.account_id
    JOIN invoice_lines l ON l.invoice_id = i.id
    CROSS JOIN LATERAL jsonb_array_elements(l.taxes) t
    WHERE p.account_id = :account_id AND i.finalized_at >= p.vat_given_at
      AND i.status IN ('open', 'paid', 'uncollectible')
      AND left(t ->> 'jurisdiction', 2) = {VAT_COUNTRY}
      AND NOT (t ->> 'inclusive')::boolean
      AND NOT EXISTS (SELECT FROM credit_notes n
                      WHERE n.invoice_id = i.id
                        AND n.fact_key = public_id('inv', i.id) || '/reverse-charge')
    GROUP BY i.id, i.created_at HAVING sum((t ->> 'amount_minor')::bigint) > 0
    ORDER BY i.created_at, i.id
    """  # noqa: S608
    )
)
_OF_ACCOUNT: Final = Prepared(
    select(tax_profiles).where(tax_profiles.c.account_id == given("account_id"))
)


async def profile(connection: AsyncConnection, account_id: UUID) -> TaxProfile:
    """The account's standing; of an account without a row the empty one."""
    row = await _OF_ACCOUNT.first(connection, account_id=account_id)
    return TaxProfile.model_validate(row or {"account_id": account_id})


async def charged_before_proof(connection: AsyncConnection, account_id: UUID) -> list[ChargedTax]:
    """Invoices with tax of the VAT id's country since the id was given, not credited yet."""
    rows = await _CHARGED.all(connection, account_id=account_id)
    return [ChargedTax.model_validate(row) for row in rows]


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
