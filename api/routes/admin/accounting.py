"""Postings for the operators' accounts, as a file of any length in little memory [Q9]."""

from datetime import date, timedelta
from functools import partial
from typing import Annotated, Any, Final

from fastapi import Query
from fastapi.responses import StreamingResponse

from api.answers.problems import responses
from api.answers.schemas import OneWord
from api.calls import NOBODY, Call, account_filter
from api.date_range import MAX_DAYS, MaybeUtcDay
from api.dependencies import AdminCall
from api.report_files import FileFormat, Page, answer_of, form_of, send
from api.routes.base import new_router
from billing.core.clock import real_now
from billing.core.errors import wrong_field
from billing.insight.accounting import rules, store
from billing.platform.outbox.fields import TAIL

router = new_router("accounting")

_ROW: Final = {
    "posting_id": f"inv{TAIL}/receivable", "date": "2026-12-01", "account_id": f"acc{TAIL}",
    "document": "invoice", "document_id": f"inv{TAIL}", "document_number": "INV-000001",
    "ledger_account": "receivable", "side": "debit", "amount_minor": 5831, "currency": "EUR",
    "amount": "58.31", "issuer": "main",
}  # fmt: skip
_ABOUT: Final = {"start": "2026-12-01", "end": "2026-12-31"}
Month = Annotated[
    str | None,
    Query(pattern=r"^20[0-9]{2}-(0[1-9]|1[0-2])$", description="Instead of days: 2026-12"),
]


@router.get(
    "/admin/exports/accounting",
    response_class=StreamingResponse,
    responses=answer_of(_ROW, _ABOUT) | responses("MERCHANT_NOT_FOUND"),
)
async def export_accounting(
    call: AdminCall,
    format: FileFormat = "csv",
    month: Month = None,
    start_date: MaybeUtcDay = None,
    end_date: MaybeUtcDay = None,
    account_id: OneWord = None,
) -> StreamingResponse:
    """Double-entry postings of a range of UTC days, by default the last whole month, as CSV or
    JSON.

    `amount_minor` and `amount` are positive for a debit and negative for a credit; those of one
    `document_id` sum to zero. Test accounts are left out, unless `account_id` names one.
    """
    first, last = _days(month, start_date, end_date)
    async with call.database.operator() as connection:
        account = await account_filter(connection, account_id)
    read = partial(_page, call, store.AskedDays(first, last, account))
    form = form_of(format, rules.COLUMNS, tuple, {"start": first, "end": last})
    name = f"accounting-{first}-{last}.{format}"
    return await send(call.services.report_turns, account or NOBODY, read, form, name)


async def _page(call: Call, asked: store.AskedDays, after: Any) -> Page:
    async with call.database.operator() as connection:
        return await store.page(connection, asked, after)


def _days(month: str | None, first: date | None, last: date | None) -> tuple[date, date]:
    """Return the wanted days, both inclusive."""
    if month is not None and (first or last):
        raise wrong_field("month", "cannot be combined with start_date and end_date")
    if first is None and last is None:
        before = real_now().date().replace(day=1) - timedelta(days=1)
        begun = date.fromisoformat(f"{month}-01") if month else before.replace(day=1)
        return begun, (begun + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    if first is None or last is None:
        raise wrong_field("end_date", "is required with start_date, and the other way round")
    if not 0 <= (last - first).days < MAX_DAYS:
        why = f"must be less than {MAX_DAYS} days after start_date, and not before it"
        raise wrong_field("end_date", why)
    return first, last
