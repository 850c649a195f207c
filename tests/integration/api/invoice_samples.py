"""Samples for the tenant matrix that are about invoices: what hangs on one, and example bodies."""

from collections.abc import Callable, Mapping
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import select

from billing.catalog.plans.schemas import DunningPolicy
from billing.core import ids
from billing.core.clock import real_now
from billing.matters.effects import Add
from billing.money.dunning.tables import dunning_cases
from billing.money.invoices import store
from billing.money.invoices.schemas import CreditNote
from billing.money.invoices.tables import invoice_series, invoices
from billing.money.payments.tables import payments
from tests.integration.api_app import Api

Account = dict[str, Any]


async def numbered(api: Api, invoice: str) -> str:
    """A number for an invoice without one: the first of a series of its own."""
    series = f"T{uuid4().hex.upper()}"
    number = f"{series}-000001"
    async with api.database.operator() as connection:
        await connection.execute(
            invoice_series.insert().values(
                series=series, last_number=1, last_issued_on=real_now().date()
            )
        )
        await connection.execute(
            invoices.update()
            .where(invoices.c.id == ids.decode(ids.INVOICE, invoice))
            .values(series=series, number=number)
        )
    return number


async def owed(api: Api, account: Account) -> str:
    """The invoice of the subscription that waits for its first payment."""
    async with api.database.operator() as connection:
        found = await connection.scalar(
            select(invoices.c.id).where(
                invoices.c.account_id == ids.decode(ids.ACCOUNT, account["id"]),
                invoices.c.subscription_id.is_not(None),
            )
        )
    assert found is not None
    return ids.encode(ids.INVOICE, found)


async def paying(api: Api, account: Account) -> str:
    """The payment of that invoice."""
    invoice_id = ids.decode(ids.INVOICE, await owed(api, account))
    async with api.database.operator() as connection:
        found = await connection.scalar(
            select(payments.c.id).where(payments.c.invoice_id == invoice_id)
        )
    assert found is not None
    return ids.encode(ids.PAYMENT, found)


async def recovering(api: Api, account: Account) -> str:
    """A case of dunning about that invoice, as a row."""
    case_id, at = ids.new(), real_now()
    async with api.database.operator() as connection:
        await connection.execute(
            dunning_cases.insert().values(
                id=case_id,
                account_id=ids.decode(ids.ACCOUNT, account["id"]),
                invoice_id=ids.decode(ids.INVOICE, await owed(api, account)),
                status="open",
                policy=DunningPolicy().model_dump(mode="json"),
                zone="UTC",
                day_zero_at=at,
                last_slot=0,
                last_slot_ran_at=at,
                last_true_attempt_at=at,
                opened_at=at,
            )
        )
    return ids.encode(ids.DUNNING_CASE, case_id)


async def credited(api: Api, account: Account) -> str:
    """A credit note, as a row."""
    note_id, at = ids.new(), real_now()
    name = ids.encode(ids.CREDIT_NOTE, note_id)
    async with api.database.operator() as connection:
        note = CreditNote(
            id=note_id,
            account_id=ids.decode(ids.ACCOUNT, account["id"]),
            invoice_id=ids.decode(ids.INVOICE, await owed(api, account)),
            kind="operator",
            fact_key=name,
            series=f"TEST-{name}-CN",
            reason="a sample",
            amount_minor=1,
            currency="USD",
            created_at=at,
        )
        await store.issue(connection, row=Add(note), series=note.series, on=at.date())
    return name


INVOICE_BODIES: Final[dict[str, Callable[[Mapping[str, str]], Any]]] = {
    "void_invoice": lambda _: {"reason": "never ordered"},
    "mark_invoice_uncollectible": lambda _: {"reason": "out of business"},
    "record_payment": lambda _: {"amount_cents": 1, "reference": "TRX-9"},
    "write_credit_note": lambda _: {"amount_cents": 1, "reason": "goodwill"},
    "refund_payment": lambda _: {"amount_cents": 1, "reason": "goodwill"},
    "change_invoice_words": lambda _: {"po_number": "PO-1"},
    "put_billing_details": lambda named: {"address_id": named["address_id"]},
    "put_issuer": lambda _: {
        "name": "ACME", "address": {"line1": "Street 1", "city": "Berlin", "country": "DE"},
    },
}  # fmt: skip
