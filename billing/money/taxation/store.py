"""Queries on the tax status of accounts."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import delete, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.plans.rules import DEFAULT_CURRENCY
from billing.core.prepared import Prepared, given
from billing.money.taxation.reading import ADDRESS, DIGEST, STATE, VAT_COUNTRY
from billing.money.taxation.schemas import TaxProfile, TaxQuestion
from billing.money.taxation.tables import tax_profiles, tax_quotes

_CHARGED: Final = Prepared(
    text(
        f"""
    SELECT i.id, s.content #>> '{{issuer,address,country}}' AS seller
    FROM tax_profiles p JOIN invoices i ON i.account_id = p.account_id
    JOIN invoice_snapshots s ON s.invoice_id = i.id
    JOIN invoice_lines l ON l.invoice_id = i.id
    CROSS JOIN LATERAL jsonb_array_elements(l.taxes) t
    WHERE p.account_id = :account_id AND i.finalized_at >= p.vat_given_at
      AND i.status IN ('open', 'paid', 'uncollectible')
      AND l.kind <> 'proration' AND left(t ->> 'jurisdiction', 2) = {VAT_COUNTRY}
      AND NOT (t ->> 'inclusive')::boolean
      AND NOT EXISTS (SELECT FROM credit_notes n
                      WHERE n.invoice_id = i.id
                        AND n.fact_key = public_id('inv', i.id) || '/reverse-charge')
    GROUP BY i.id, i.created_at, s.content HAVING sum((t ->> 'amount_minor')::bigint) > 0
    ORDER BY i.created_at, i.id
    """  # noqa: S608
    )
)
_QUESTION: Final = Prepared(
    text(
        f"""
    SELECT {DIGEST} AS digest, w.country, {STATE} AS state, w.postal_code, w.city, w.line1,
           coalesce(c.currency, :otherwise) AS currency,
           coalesce((SELECT t.codes FROM tax_terms t), '{{}}') AS codes
    FROM accounts a CROSS JOIN LATERAL {ADDRESS} w
    JOIN credit_balances c ON c.account_id = a.id
    WHERE a.id = :account_id AND w.country IS NOT NULL
    """  # noqa: S608
    )
)
_WITHOUT_QUOTE: Final = Prepared(
    text("""
    SELECT a.id FROM accounts a
    WHERE a.id > :after AND a.id = coalesce(CAST(:only AS uuid), a.id)
      AND NOT EXISTS (SELECT FROM tax_quotes q WHERE q.account_id = a.id)
    ORDER BY a.id LIMIT 500
    """)
)
# An address that already has an answer is not queried again ahead of time.
_WANT: Final = Prepared(
    text("""
    INSERT INTO tax_quotes AS q (account_id, wanted, ask_at) VALUES (:account_id, :digest, :at)
    ON CONFLICT (account_id) DO UPDATE
        SET wanted = excluded.wanted, ask_at = excluded.ask_at, tries = 0
        WHERE q.wanted <> excluded.wanted OR q.address IS DISTINCT FROM excluded.wanted
    RETURNING account_id
    """)
)
_OWE: Final = Prepared(
    text("""
    UPDATE tax_profiles SET vat_credit_at = :at, vat_turn = vat_turn + 1, updated_at = :at
    WHERE account_id = :account_id
    """)
)
_OF_ACCOUNT: Final = Prepared(
    select(tax_profiles).where(tax_profiles.c.account_id == given("account_id"))
)


async def profile(connection: AsyncConnection, account_id: UUID) -> TaxProfile:
    """Return the account's tax profile; an empty one if it has no row."""
    row = await _OF_ACCOUNT.first(connection, account_id=account_id)
    return TaxProfile.model_validate(row or {"account_id": account_id})


async def charged_since_given(
    connection: AsyncConnection, account_id: UUID
) -> dict[UUID, str | None]:
    """Invoices with tax of the VAT id's country since the id was given, not credited yet, each with
    the country of its seller.
    """
    rows = await _CHARGED.all(connection, account_id=account_id)
    return {row["id"]: row["seller"] for row in rows}


async def question(connection: AsyncConnection, account_id: UUID) -> TaxQuestion | None:
    """Return the query to the tax provider about the account; None if its country is unknown."""
    row = await _QUESTION.first(connection, account_id=account_id, otherwise=DEFAULT_CURRENCY)
    return TaxQuestion.model_validate(row) if row else None


async def want_quote(
    connection: AsyncConnection, account_id: UUID, digest: str, at: datetime
) -> bool:
    """Have the provider queried for the address of this digest; False if it has answered."""
    row = await _WANT.first(connection, account_id=account_id, digest=digest, at=at)
    return row is not None


async def without_quote(
    connection: AsyncConnection, after: UUID, account_id: UUID | None
) -> list[UUID]:
    """Return a page of accounts without a quote, in the order of their ids, or only this one."""
    rows = await _WITHOUT_QUOTE.all(connection, after=after, only=account_id)
    return [row["id"] for row in rows]


async def quote_tries(connection: AsyncConnection, account_id: UUID) -> int:
    """Number of queries since the provider's last answer."""
    query = select(tax_quotes.c.tries).where(tax_quotes.c.account_id == account_id)
    return int(await connection.scalar(query) or 0)


async def put_quote(connection: AsyncConnection, account_id: UUID, **fields: Any) -> None:
    """Overwrite fields of the account's quote; callers hold the account's lock."""
    mine = tax_quotes.c.account_id == account_id
    await connection.execute(update(tax_quotes).where(mine).values(**fields))


async def forget_quote(connection: AsyncConnection, account_id: UUID) -> None:
    """Delete the account's quote, so that the catalog's rates apply again."""
    mine = tax_quotes.c.account_id == account_id
    await connection.execute(delete(tax_quotes).where(mine))


async def owe(connection: AsyncConnection, account_id: UUID, at: datetime) -> None:
    """Schedule the return of tax that an invoice drafted before the proof charged after it, without
    waiting for the statement's result. Callers hold the account's lock, and wake its matter.
    """
    await _OWE.send(connection, account_id=account_id, at=at)


async def put(connection: AsyncConnection, account_id: UUID, **fields: Any) -> TaxProfile:
    """Overwrite fields of the account's profile; callers hold the account's lock."""
    known = await profile(connection, account_id)
    written = (
        insert(tax_profiles)
        .values(known.model_dump() | fields)  # the whole row: it must pass the checks by itself
        .on_conflict_do_update(index_elements=["account_id"], set_=fields)
        .returning(tax_profiles)
    )
    return TaxProfile.model_validate(dict((await connection.execute(written)).mappings().one()))
