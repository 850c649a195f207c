"""Usage as a file: CSV for spreadsheets, JSON for programs, of any length in little memory [Q8]."""

from functools import partial
from typing import Any, Final

from fastapi.responses import StreamingResponse

from api.answers.problems import responses
from api.calls import ReadCall
from api.date_range import Days, MaybeDay, span
from api.dependencies import Fresh, MemberRead
from api.report_files import FileFormat, Page, answer_of, form_of, send
from api.routes.base import new_router
from api.user_scope import only_user
from billing.core import ids
from billing.insight.reports import store
from billing.insight.reports.store import GroupBy
from billing.metering.usage import rules as usage_rules

router = new_router("usage")

_ROW: Final = {
    "day": "2026-12-01", "meter": "model_inference", "quantity": "1500.00", "events": 2,
    "credits": "3.00", "overage": "0", "overage_cost": "0",
}  # fmt: skip
_ABOUT: Final = {
    "group_by": "day", "start": "2026-12-01", "end": "2026-12-31", "as_of": "2026-12-31T12:00:00Z",
}  # fmt: skip


@router.get(
    "/usage/reports",
    response_class=StreamingResponse,
    responses=answer_of(_ROW, _ABOUT, ["as_of"]) | responses(),
)
async def read_usage_report(
    call: MemberRead,
    format: FileFormat = "csv",
    group_by: GroupBy = "day",
    start_date: MaybeDay = None,
    end_date: MaybeDay = None,
    fresh: Fresh = False,
) -> StreamingResponse:
    """Usage of a range of days, by default the last thirty, as CSV or JSON; `record` lists single
    uses.

    Of a level, `quantity` is the highest reading; in a row with an empty name, that of all uses.
    `overage` and `overage_cost` are usage beyond what is included that costs money, including what
    a card paid at once; `GET /usage/current` shows what the next invoice will charge.

    Uses without a user (or organization, operation, model) are in a row with an empty name. A
    member sees only itself by `user` and `record`. In CSV a text that begins like a formula (`=`,
    `+`, `-`, `@`, tab, return) gets a leading quote. An unknown account has no rows [A13].
    """
    async with call.reading(fresh=fresh) as connection:
        days = await span(call, connection, start_date, end_date)
    report = store.report(
        call.account_id, group_by, days.start, days.end, days.as_of, only_user(call)
    )
    about = {"group_by": group_by, "start": days.first, "end": days.last, "as_of": days.as_of}
    form = form_of(format, report.columns, partial(_values, report, days), about)
    name = f"usage-by-{group_by}-{days.first}-{days.last}.{format}"
    read = partial(_page, call, report, fresh)
    sent = await send(call.services.report_turns, call.account_id, read, form, name)
    sent.headers["X-As-Of"] = days.as_of.isoformat()
    return sent


async def _page(call: ReadCall, report: store.ReportQuery, fresh: bool, after: Any) -> Page:
    async with call.database.reading(call.account_id, fresh=fresh) as connection:
        rows = await store.page(connection, report, after)
    return rows, rows[-1][: len(report.keys)] if len(rows) >= store.PAGE else None


def _values(report: store.ReportQuery, days: Days, row: Any) -> list[Any]:
    return [
        _value(name, value, days, report.prefixed)
        for name, value in zip(report.columns, row, strict=True)
    ]


def _value(name: str, value: Any, days: Days, prefixed: str | None) -> Any:
    if name == "billing_id":
        return ids.encode(ids.BILLING_RECORD, value)
    if name == "day":
        return usage_rules.day_of(value, days.zone)
    return value[2:] if name == prefixed else value
