"""Lists, newest first: `{data, pagination}` by keyset cursor, by page or by offset.

`paginate` orders, counts and cuts a query; a route only names the columns to order by.
"""

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Final, Generic, Self, TypeVar

from fastapi import Depends, Query
from pydantic import Field, TypeAdapter
from sqlalchemy import (
    ColumnElement,
    RowMapping,
    Select,
    and_,
    func,
    literal,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.errors import Invalid, wrong_field
from billing.core.frozen import Frozen

DEFAULT_LIMIT: Final = 20
MAX_LIMIT: Final = 100
MAX_OFFSET: Final = 10_000
TOTAL_CAP: Final = 10_000
MAX_CURSOR_CHARS: Final = 512

T = TypeVar("T")
_TEXTS: Final = TypeAdapter(list[str])


class Pagination(Frozen):
    """The position of this page. `total` stops counting at 10,000."""

    limit: int = Field(description="How many rows a page has at most")
    offset: int | None = Field(
        description="How many rows were passed over; null: a cursor was sent"
    )
    page: int | None = Field(description="The number of the page, from 1; null: a cursor was sent")
    has_more: bool
    next_cursor: str | None
    total: int = Field(
        description="How many rows there are in all; 10,000 stands for that many or more"
    )


class Page(Frozen, Generic[T]):
    """One page of a list, newest first."""

    data: list[T]
    pagination: Pagination


class PageAsOf(Page[T], Generic[T]):
    """A page that a replica may have served: it is complete up to `as_of`."""

    as_of: datetime

    @classmethod
    def of(cls, page: Page[T], as_of: datetime) -> Self:
        """Return the page with the instant that was read before its rows."""
        return cls(data=page.data, pagination=page.pagination, as_of=as_of)


@dataclass(frozen=True, slots=True)
class PageRequest:
    """The requested page; a cursor overrides an offset, an offset overrides a page."""

    limit: int
    page: int | None
    offset: int | None
    cursor: str | None

    @property
    def is_numbered(self) -> bool:
        """Return True if a page or an offset was named, and counts."""
        return self.cursor is None and (self.page is not None or self.offset is not None)

    @property
    def skip(self) -> int:
        """The number of rows before this page; 0 with a cursor."""
        if self.cursor is not None:
            return 0
        if self.offset is not None:
            return self.offset
        return ((self.page or 1) - 1) * self.limit


async def page_request(
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
    page: Annotated[int | None, Query(ge=1, le=MAX_OFFSET)] = None,
    offset: Annotated[int | None, Query(ge=0, le=MAX_OFFSET)] = None,
    cursor: Annotated[str | None, Query(max_length=MAX_CURSOR_CHARS)] = None,
) -> PageRequest:
    """Return the requested page: `cursor`, else `offset`, else `page`; 1 to 100 rows, 20 by
    default.
    """
    asked = PageRequest(limit=limit, page=page, offset=offset, cursor=cursor)
    if asked.skip > MAX_OFFSET:
        raise wrong_field("page", "too deep in the list; use the cursor")
    return asked


Paging = Annotated[PageRequest, Depends(page_request)]


async def paginate(
    connection: AsyncConnection,
    query: Select[Any],
    keys: Sequence[ColumnElement[Any]],
    asked: PageRequest,
    show: Callable[[RowMapping], T],
) -> Page[T]:
    """Return the requested page of `query`, ordered by `keys` descending.

    `keys` must be selected columns that together are unique and never null, such as
    `(invoices.c.created_at, invoices.c.id)`. Raises `Invalid` INVALID_CURSOR.
    """
    total = await _total(connection, query)
    rows = (await connection.execute(_cut(query, keys, asked))).mappings().all()
    return _page(rows, keys, asked, total, show)


def _cut(query: Select[Any], keys: Sequence[ColumnElement[Any]], asked: PageRequest) -> Select[Any]:
    """Return the query of a page's rows, and of one more if there are more."""
    cut = query.order_by(*(key.desc() for key in keys)).limit(asked.limit + 1)
    if asked.cursor is not None:
        return cut.where(_after(asked.cursor, keys))
    return cut.offset(asked.skip) if asked.skip else cut


async def paginate_bounded(
    connection: AsyncConnection,
    query: Select[Any],
    keys: Sequence[ColumnElement[Any]],
    asked: PageRequest,
    show: Callable[[RowMapping], T],
    most: int,
) -> Page[T]:
    """Return what matches among the `most` rows behind the cursor, up to the limit.

    So no query of few matches reads everything. A page may have fewer rows than the limit, or none,
    and more behind it: its cursor goes on there. `total` counts the newest `most` rows' matches.
    """
    newest = await _end(connection, keys, most, None)
    total = await _total(connection, _until(query, keys, newest))
    end = await _end(connection, keys, most, asked.cursor) if asked.cursor else newest
    cut = _cut(_until(query, keys, end), keys, asked)
    page = _page((await connection.execute(cut)).mappings().all(), keys, asked, total, show)
    if end is None or page.pagination.has_more:
        return page
    further = {"has_more": True, "next_cursor": encode_cursor(end, keys)}
    return page.model_copy(update={"pagination": page.pagination.model_copy(update=further)})


async def _end(
    connection: AsyncConnection, keys: Sequence[ColumnElement[Any]], most: int, cursor: str | None
) -> RowMapping | None:
    """Return the last of the `most` rows behind the cursor; None if there are no further ones."""
    rows = select(*keys).order_by(*(key.desc() for key in keys)).offset(most - 1).limit(2)
    if cursor is not None:
        rows = rows.where(_after(cursor, keys))
    found = (await connection.execute(rows)).mappings().all()
    return found[0] if len(found) > 1 else None


def _until(
    query: Select[Any], keys: Sequence[ColumnElement[Any]], end: RowMapping | None
) -> Select[Any]:
    if end is None:
        return query
    values = [_literal(end[key], key) for key in keys]
    return query.where(keys[0] >= values[0], tuple_(*keys) >= tuple_(*values))


async def paginate_merged(
    connection: AsyncConnection,
    queries: Sequence[tuple[Select[Any], Sequence[ColumnElement[Any]]]],
    asked: PageRequest,
    show: Callable[[RowMapping], T],
) -> Page[T]:
    """Return the requested page of several queries with the same columns, each with its own keys.

    The keys of the first one name the order. Each query is cut separately, so that it uses its
    index.
    """
    keys = queries[0][1]
    total = await _total(connection, *(query for query, _ in queries))
    cut = []
    for query, own in queries:
        part = query.order_by(*(key.desc() for key in own)).limit(asked.skip + asked.limit + 1)
        if asked.cursor is not None:
            part = part.where(_after(asked.cursor, own))
        cut.append(select(part.subquery()))
    merged = union_all(*cut).subquery()
    names = [merged.c[str(key.key)] for key in keys]
    wanted = select(merged).order_by(*(name.desc() for name in names))
    rows = await connection.execute(wanted.limit(asked.limit + 1).offset(asked.skip))
    return _page(rows.mappings().all(), names, asked, total, show)


async def _total(connection: AsyncConnection, *queries: Select[Any]) -> int:
    """Count the rows, up to the cap."""
    counted = [
        query.order_by(None)
        .with_only_columns(literal(1), maintain_column_froms=True)
        .limit(TOTAL_CAP)
        .subquery()
        for query in queries
    ]
    every = union_all(*map(select, counted)).limit(TOTAL_CAP).subquery()
    found = await connection.scalar(select(func.count()).select_from(every))
    return found or 0


def _after(cursor: str, keys: Sequence[ColumnElement[Any]]) -> ColumnElement[bool]:
    values = [*map(_literal, decode_cursor(cursor, keys), keys)]
    # The first key alone as well: behind row-level security an index serves no row of keys of
    # which one is computed.
    return and_(keys[0] <= values[0], tuple_(*keys) < tuple_(*values))


def _page(
    rows: Sequence[RowMapping],
    keys: Sequence[ColumnElement[Any]],
    asked: PageRequest,
    total: int,
    show: Callable[[RowMapping], T],
) -> Page[T]:
    shown, has_more = rows[: asked.limit], len(rows) > asked.limit
    by_number = asked.cursor is None
    return Page(
        data=[show(row) for row in shown],
        pagination=Pagination(
            limit=asked.limit,
            offset=asked.skip if by_number else None,
            page=asked.skip // asked.limit + 1 if by_number else None,
            has_more=has_more,
            next_cursor=encode_cursor(shown[-1], keys) if has_more else None,
            total=total,
        ),
    )


def encode_cursor(row: Mapping[Any, Any], keys: Sequence[ColumnElement[Any]]) -> str:
    """Return the position after `row` as opaque text."""
    values = [row[key] for key in keys]
    text = json.dumps(
        [value.isoformat() if isinstance(value, datetime) else str(value) for value in values]
    )
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(cursor: str, keys: Sequence[ColumnElement[Any]]) -> list[Any]:
    """Return the key values of a cursor, each of its column's type. Raises INVALID_CURSOR."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        texts = _TEXTS.validate_json(base64.b64decode(padded, altchars=b"-_", validate=True))
        return [_value(text, key) for text, key in zip(texts, keys, strict=True)]
    except (ValueError, InvalidOperation) as error:
        raise Invalid("INVALID_CURSOR") from error


def _value(text: str, key: ColumnElement[Any]) -> Any:
    kind = key.type.python_type
    value: Any = datetime.fromisoformat(text) if kind is datetime else kind(text)
    if (
        (kind is datetime and value.tzinfo is None)
        or (kind is int and abs(value) >= 1 << 63)
        or (kind is Decimal and not value.is_finite())
        or (kind is str and "\0" in value)
    ):
        raise ValueError("no value of this column")
    return value


def _literal(value: Any, key: ColumnElement[Any]) -> ColumnElement[Any]:
    return literal(value, key.type)


def as_page(items: Iterable[T]) -> Page[T]:
    """Return a short list as one page."""
    data = list(items)
    return Page(data=data, pagination=whole(len(data)))


def whole(total: int) -> Pagination:
    """The position of a page that holds the whole list."""
    return Pagination(
        limit=max(total, 1), offset=0, page=1, has_more=False, next_cursor=None, total=total
    )
