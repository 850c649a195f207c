"""Snapshots of the seller and the customer, kept with an invoice when it gets its number."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.prepared import Prepared, given
from billing.money.invoices.tables import invoice_snapshots
from billing.platform.accounts.issuers import DEFAULT

_CONTENT: Final = f"""
    SELECT v.id AS invoice_id, a.id AS account_id, jsonb_strip_nulls(jsonb_build_object(
        'issuer', jsonb_build_object(
            'name', i.name, 'address', i.address, 'tax_ids', i.tax_ids, 'email', i.email,
            'footer', i.footer, 'logo', i.logo),
        'customer', jsonb_build_object(
            'name', coalesce(d.legal_name, a.name, a.external_id),
            'email', coalesce(d.billing_email, a.email), 'country', a.country,
            'address', CASE WHEN b.id IS NOT NULL THEN jsonb_build_object(
                'line1', b.line1, 'line2', b.line2, 'city', b.city, 'state', b.state,
                'postal_code', b.postal_code, 'country', b.country) END,
            'tax_ids', CASE WHEN v.vat_id IS NOT NULL OR t.vat_status <> 'unknown'
                THEN jsonb_build_array('VAT ' || coalesce(v.vat_id, t.vat_id)) END,
            'custom_fields', coalesce(v.custom_fields, d.custom_fields)),
        'po_number', coalesce(v.po_number, d.po_number),
        'memo', coalesce(v.memo, d.memo),
        'balance_applied_minor', CAST(:applied AS bigint),
        'amount_due_minor', CAST(:due AS bigint),
        'amount_paid_minor', CAST(:paid AS bigint))) AS content
    FROM invoices v
    JOIN accounts a ON a.id = v.account_id
    LEFT JOIN issuers i ON i.id = coalesce(v.issuer_id, {DEFAULT})
    LEFT JOIN billing_details d ON d.account_id = a.id
    LEFT JOIN tax_profiles t ON t.account_id = a.id
    LEFT JOIN billing_addresses b ON b.id = coalesce(
        (SELECT x.id FROM billing_addresses x WHERE x.id = d.address_id),
        (SELECT x.id FROM billing_addresses x WHERE x.account_id = a.id AND x.is_default))
    WHERE v.id = :invoice_id
"""  # noqa: S608
_KEEP: Final = Prepared(
    text(
        f"INSERT INTO invoice_snapshots (invoice_id, account_id, content) {_CONTENT}"
        " ON CONFLICT DO NOTHING"
    )
)
_OF_TODAY: Final = Prepared(text(_CONTENT))
_GET: Final = Prepared(
    select(invoice_snapshots.c.content).where(invoice_snapshots.c.invoice_id == given("invoice_id"))
)


async def keep(
    connection: AsyncConnection,
    *,
    invoice_id: UUID,
    applied: int,
    due: int,
    paid: int,
    at: datetime,  # noqa: ARG001 - every verb is given it
) -> None:
    """Store the seller, the customer and the amounts as they are now, once per invoice."""
    await _KEEP.send(connection, invoice_id=invoice_id, applied=applied, due=due, paid=paid)


async def get(connection: AsyncConnection, invoice_id: UUID) -> dict[str, Any] | None:
    """Return the snapshot of a numbered invoice; None if the previous release numbered it."""
    found: dict[str, Any] | None = await _GET.scalar(connection, invoice_id=invoice_id)
    return found


async def printed(connection: AsyncConnection, invoice_id: UUID) -> dict[str, Any]:
    """Return the customer's texts on a numbered invoice; nothing for a draft."""
    content = await get(connection, invoice_id)
    if content is None:
        return {}
    return {
        "po_number": content.get("po_number"),
        "memo": content.get("memo"),
        "custom_fields": content["customer"].get("custom_fields"),
    }


async def of_today(
    connection: AsyncConnection, invoice_id: UUID, *, applied: int, due: int, paid: int
) -> dict[str, Any]:
    """Return the snapshot that a draft would have now."""
    row = await _OF_TODAY.one(
        connection, invoice_id=invoice_id, applied=applied, due=due, paid=paid
    )
    content: dict[str, Any] = row["content"]
    return content
