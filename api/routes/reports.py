"""Usage as a file: CSV for spreadsheets, JSON for programs, of any length in little memory [Q8]."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any, Final, Literal, NamedTuple, cast

import msgspec
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from api.answers.problems import responses
from api.calls import ReadCall
from api.date_range import Days, MaybeDay, span
from api.dependencies import Fresh, MemberRead
from api.routes.base import new_router
from api.user_scope import only_user
from billing.core import ids
from billing.insight.reports import rules, store
from billing.insight.reports.store import GroupBy
from billing.metering.usage import rules as usage_rules

router = new_router("usage")
AT_A_STRETCH: Final = 50
"""Rows that are written without a pause, some milliseconds."""

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
    form = _csv(report, days) if format == "csv" else _json(report, days, group_by)
    parts = _parts(call, report, form, fresh=fresh)
    await anext(parts)
    name = f"usage-by-{group_by}-{days.first}-{days.last}.{format}"
    return _Streamed(
        parts,
        media_type="text/csv; charset=utf-8" if format == "csv" else "application/json",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


class _Streamed(StreamingResponse):
    """A report. One whose reader has left is no longer under way."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(cast(AsyncGenerator[bytes], self.body_iterator)):
            await super().__call__(scope, receive, send)


class _Form(NamedTuple):
    """The text of a report: what begins it, each row, what stands between rows, and its end."""

    head: bytes
    row: Callable[[Any], bytes]
    between: bytes = b""
    end: bytes = b""


async def _parts(
    call: ReadCall, report: store.Report, form: _Form, *, fresh: bool
) -> AsyncGenerator[bytes]:
    """Yield nothing once the first page is read, so that its errors are answered as such; then the
    text, each page read after the one before it was sent.
    """
    turns, account_id, after = call.services.report_turns, call.account_id, None
    before, more = form.head, True
    with turns.report(account_id):
        while more:
            async with turns.page(account_id):
                async with call.database.reading(account_id, fresh=fresh) as connection:
                    rows = await store.page(connection, report, after)
                text = await _text(rows, form)
            if after is None:
                yield b""
            if after is None or rows:
                yield before + text
            if more := len(rows) >= store.PAGE:
                before, after = form.between, rows[-1][: len(report.keys)]
        yield form.end


async def _text(rows: Sequence[Any], form: _Form) -> bytes:
    """Return the text of a page. Other requests are served between some rows and the next."""
    written: list[bytes] = []
    for number, row in enumerate(rows, 1):
        written.append(form.row(row))
        if number % AT_A_STRETCH == 0:
            await asyncio.sleep(0)
    return form.between.join(written)


def _csv(report: store.Report, days: Days) -> _Form:
    def row(values: Any) -> bytes:
        return rules.line(_values(report, values, days)).encode()

    return _Form(rules.line(report.columns).encode(), row)


def _json(report: store.Report, days: Days, group_by: str) -> _Form:
    about = {"group_by": group_by, "start": days.first, "end": days.last, "as_of": days.as_of}

    def row(values: Any) -> bytes:
        shown = map(rules.shown, _values(report, values, days))
        return msgspec.json.encode(dict(zip(report.columns, shown, strict=True)))

    return _Form(msgspec.json.encode(about)[:-1] + b',"data":[', row, b",", b"]}")


def _values(report: store.Report, row: Any, days: Days) -> list[Any]:
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
