"""Usage as a file: CSV for spreadsheets, JSON for programs, of any length in little memory [Q8]."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, Literal

import msgspec
from fastapi.responses import StreamingResponse

from api.answers.problems import responses
from api.date_range import Days, MaybeDay, span
from api.dependencies import Fresh, MemberRead, ReadCall
from api.routes.base import new_router
from api.user_scope import only_user
from billing.core import ids, periods
from billing.insight.reports import rules, store
from billing.insight.reports.store import GroupBy
from billing.metering.usage.rules import BILLING_ID

router = new_router("usage")

_ROW: Final = {
    "day": "2026-12-01", "meter": "model_inference", "quantity": "1500.00", "events": 2,
    "credits": "3.00", "overage": "0", "overage_cost": "0",
}  # fmt: skip
_SPAN: Final = {"start": "2026-12-01", "end": "2026-12-31"}
_EXAMPLES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The report, row by row",
        "content": {
            "text/csv": {
                "schema": {"type": "string"},
                "example": rules.line(list(_ROW)) + rules.line(list(_ROW.values())),
            },
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["group_by", "start", "end", "as_of", "data"],
                    "properties": {
                        **{name: {"type": "string"} for name in ("group_by", "start", "end")},
                        "as_of": {"type": "string", "format": "date-time"},
                        "data": {"type": "array", "items": {"type": "object"}},
                    },
                },
                "example": {"group_by": "day"}
                | _SPAN
                | {"as_of": "2026-12-31T12:00:00Z", "data": [_ROW]},
            },
        },
    }
}


@router.get(
    "/usage/reports",
    response_class=StreamingResponse,
    responses=_EXAMPLES | responses("MERCHANT_NOT_FOUND"),
)
async def read_usage_report(
    call: MemberRead,
    format: Literal["csv", "json"] = "csv",
    group_by: GroupBy = "day",
    start_date: MaybeDay = None,
    end_date: MaybeDay = None,
    fresh: Fresh = False,
) -> StreamingResponse:
    """Usage of a range of days, by default the last thirty, as CSV or JSON; `record` lists single
    uses.

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
        first = await store.page(connection, report, None)
    pages = _pages(call, report, first, fresh=fresh)
    lines = _csv(pages, report, days) if format == "csv" else _json(pages, report, days, group_by)
    name = f"usage-by-{group_by}-{days.first}-{days.last}.{format}"
    return StreamingResponse(
        lines,
        media_type="text/csv; charset=utf-8" if format == "csv" else "application/json",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


async def _pages(
    call: ReadCall, report: store.Report, first: Sequence[Any], *, fresh: bool
) -> AsyncIterator[Sequence[Any]]:
    """Yield the pages, each read after the one before it was sent."""
    rows = first
    while rows:
        yield rows
        if len(rows) < store.PAGE:
            return
        after = rows[-1][: len(report.keys)]
        async with call.database.reading(call.account_id, fresh=fresh) as connection:
            rows = await store.page(connection, report, after)


async def _csv(
    pages: AsyncIterator[Sequence[Any]], report: store.Report, days: Days
) -> AsyncIterator[str]:
    yield rules.line(report.columns)
    async for rows in pages:
        yield "".join(rules.line(_values(report, row, days)) for row in rows)


async def _json(
    pages: AsyncIterator[Sequence[Any]], report: store.Report, days: Days, group_by: str
) -> AsyncIterator[bytes]:
    about = {"group_by": group_by, "start": days.first, "end": days.last, "as_of": days.as_of}
    yield msgspec.json.encode(about)[:-1] + b',"data":['
    before = b""
    async for rows in pages:
        for row in rows:
            shown = [rules.shown(value) for value in _values(report, row, days)]
            yield before + msgspec.json.encode(dict(zip(report.columns, shown, strict=True)))
            before = b","
    yield b"]}"


def _values(report: store.Report, row: Any, days: Days) -> list[Any]:
    return [
        _value(name, value, days, report.prefixed)
        for name, value in zip(report.columns, row, strict=True)
    ]


def _value(name: str, value: Any, days: Days, prefixed: str | None) -> Any:
    if name == "billing_id":
        return ids.encode(BILLING_ID, value)
    if name == "day":
        return periods.to_wall(value, days.zone).date()
    return value[2:] if name == prefixed else value
