"""Reports as files of any length in little memory: pages are read as the reader takes them."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final, Literal, NamedTuple, cast
from uuid import UUID

import msgspec
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from api.account_turns import AccountTurns
from billing.insight.reports import rules

FileFormat = Literal["csv", "json"]
_SAID: Final = {
    "group_by": {"description": "What each row sums up; `record`: a row for each use"},
    "start": {"description": "The first day of the report"},
    "end": {"description": "The last day of the report, which is part of it"},
}
AT_A_STRETCH: Final = 50
"""Rows that are written without a pause, some milliseconds."""
Values = Callable[[Any], Sequence[Any]]
"""Returns the values of a row, in the order of the columns."""
Page = tuple[Sequence[Any], Any]
"""Rows, and the mark after which the next page begins; None: there is no other page."""


class Streamed(StreamingResponse):
    """A report. One whose reader has left is no longer under way."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(cast(AsyncGenerator[bytes], self.body_iterator)):
            await super().__call__(scope, receive, send)


class Form(NamedTuple):
    """The text of a report: what begins it, each row, what stands between rows, and its end."""

    head: bytes
    row: Callable[[Any], bytes]
    between: bytes = b""
    end: bytes = b""


def form_of(
    format: FileFormat, columns: Sequence[str], values: Values, about: Mapping[str, Any]
) -> Form:
    """Return the form of a report; in JSON, `about` stands before its rows."""
    if format == "csv":
        return Form(rules.line(columns).encode(), lambda row: rules.line(values(row)).encode())

    def row(found: Any) -> bytes:
        shown = map(rules.shown, values(found))
        return msgspec.json.encode(dict(zip(columns, shown, strict=True)))

    return Form(msgspec.json.encode(about)[:-1] + b',"data":[', row, b",", b"]}")


def answer_of(
    row: Mapping[str, Any], about: Mapping[str, str], instants: Collection[str] = ()
) -> dict[int | str, dict[str, Any]]:
    """Return the description of a report in the API's own documentation, by an example of a row and
    of what stands before the rows in JSON.
    """
    text = {"type": "string"}
    fields = {name: text | {"format": "date-time"} if name in instants else text for name in about}
    fields = {name: one | _SAID.get(name, {}) for name, one in fields.items()}
    rows = {"type": "array", "description": "The rows, as in CSV", "items": {"type": "object"}}
    shape = {
        "type": "object",
        "required": [*about, "data"],
        "properties": {**fields, "data": rows},
    }
    lines = rules.line(list(row)) + rules.line(list(row.values()))
    content = {
        "text/csv": {"schema": text, "example": lines},
        "application/json": {"schema": shape, "example": {**about, "data": [row]}},
    }
    return {200: {"description": "The report, row by row", "content": content}}


async def send(
    turns: AccountTurns,
    account_id: UUID,
    read: Callable[[Any], Awaitable[Page]],
    form: Form,
    name: str,
) -> StreamingResponse:
    """Answer with a file of this name; errors of the first page are answered as such."""
    parts = _parts(turns, account_id, read, form)
    await anext(parts)
    return Streamed(
        parts,
        media_type="text/csv; charset=utf-8" if name.endswith(".csv") else "application/json",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


async def _parts(
    turns: AccountTurns,
    account_id: UUID,
    read: Callable[[Any], Awaitable[Page]],
    form: Form,
) -> AsyncGenerator[bytes]:
    """Yield nothing once the first page is read; then the text, page by page."""
    with turns.read(account_id):
        async with turns.page(account_id):
            rows, mark = await read(None)
            text = await text_of(rows, form)
        yield b""
        yield form.head + text
        has_rows = bool(rows)
        while mark is not None:
            async with turns.page(account_id):
                rows, mark = await read(mark)
                text = await text_of(rows, form)
            if rows:
                yield (form.between if has_rows else b"") + text
                has_rows = True
        yield form.end


async def text_of(rows: Sequence[Any], form: Form) -> bytes:
    """Return the text of a page. Other requests are served between some rows and the next."""
    written: list[bytes] = []
    for number, row in enumerate(rows, 1):
        written.append(form.row(row))
        if number % AT_A_STRETCH == 0:
            await asyncio.sleep(0)
    return form.between.join(written)
