"""The facts that decide the taxes of an account's invoices, in one query."""

from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.taxes.schemas import Taxation
from billing.core.prepared import Prepared
from billing.platform.accounts.issuers import SELLER

# Greece's VAT ids begin with EL; `p` is the profile.
VAT_COUNTRY: Final = "replace(left(p.vat_id, 2), 'EL', 'GR')"
# The address of account `a`: its default one, else the country it was created with.
ADDRESS: Final = """
    (SELECT coalesce(b.country, a.country) AS country, b.state, b.postal_code, b.city, b.line1
     FROM (VALUES (1)) AS one LEFT JOIN billing_addresses b
          ON b.account_id = a.id AND b.is_default)
"""
# The digest of the address `w`.
DIGEST: Final = """
    encode(sha256(convert_to(jsonb_build_array(
        w.country, w.state, w.postal_code, w.city, w.line1)::text, 'UTF8')), 'hex')
"""
# Of the address `w`, whose state is `ON` or `CA-ON`; the region is its code by ISO 3166-2
# (`addresses.rules.code_of` in SQL).
STATE: Final = "replace(upper(w.state), w.country || '-', '')"
REGION: Final = f"w.country || '-' || {STATE}"
# The tax provider's answer for exactly this address comes before the catalog's rates.
TAXATION: Final = f"""
    (SELECT jsonb_build_object(
         'seller', i.address ->> 'country', 'country', w.country,
         'exempt', p.exempt_because IS NOT NULL,
         'vat_proven', coalesce(p.vat_status = 'valid'
                                AND {VAT_COUNTRY} = w.country, false),
         'vat_id', p.vat_id,
         'included_in', coalesce((SELECT t.included_in FROM tax_terms t), '[]'),
         'jurisdictions', coalesce(q.jurisdictions, (
             SELECT jsonb_agg(to_jsonb(j)) FROM tax_jurisdictions j
             WHERE j.key IN (w.country, {REGION})), '[]'))
     FROM {ADDRESS} w
     LEFT JOIN tax_profiles p ON p.account_id = a.id
     LEFT JOIN tax_quotes q ON q.account_id = a.id AND q.address = {DIGEST}
     LEFT JOIN issuers i ON i.id = {SELLER})
"""  # noqa: S608
TAXATION_OF: Final = Prepared(
    text(
        f"SELECT {TAXATION} AS taxation, {SELLER} AS seller_id"  # noqa: S608
        " FROM accounts a WHERE a.id = :account_id"
    )
)


async def taxation(connection: AsyncConnection, account_id: UUID) -> Taxation:
    """Return the tax facts of one account."""
    return shown((await TAXATION_OF.one(connection, account_id=account_id))["taxation"])


def shown(found: dict[str, Any]) -> Taxation:
    """Return the result of TAXATION as a model."""
    return Taxation.model_validate(found)
