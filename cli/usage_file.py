"""Rows of usage from a file of any length: CSV or JSON lines, one row in memory at a time.

A row that cannot be read is reported with its line, and reading continues after that line.
"""

import csv
import json
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, BinaryIO, Final, Literal, NamedTuple

from billing.core.json_members import Repeated, each_once
from cli.errors import StackError

Format = Literal["csv", "jsonl"]

MAX_LINE_BYTES: Final = 1_048_576
"""The limit of a line, and of the lines that quotes make one CSV row."""
MAX_CELL: Final = 131_072
_DETAILS: Final = "usage_details"
_TOO_LONG: Final = "x" * (MAX_CELL + 1)
"""In place of a line that is too long: the CSV reader refuses it for its size."""


@dataclass(frozen=True, slots=True)
class Line:
    """One row and its line; `fault` is why it cannot be read, and `text` is then the line."""

    number: int
    row: dict[str, Any]
    fault: str | None = None
    text: str = ""


class _Physical(NamedTuple):
    """A line as it stands in the file, with its end; `fault` if its bytes are no text."""

    number: int
    text: str
    fault: str | None = None

    def unreadable(self, fault: str, row: dict[str, Any]) -> Line:
        """Report this line with what was read of it, and its text unless that is too long."""
        text = "" if self.text is _TOO_LONG else self.text.rstrip("\r\n")
        return Line(self.number, row, fault, text)


class UsageFile:
    """The rows of an open file; `bytes_read` is how much of it was read."""

    def __init__(self, stream: BinaryIO, format: Format, fields: frozenset[str]) -> None:
        self.bytes_read = 0
        self._stream = stream
        self._format = format
        self._fields = fields

    def __iter__(self) -> Iterator[Line]:
        return self._csv() if self._format == "csv" else self._jsonl()

    def _jsonl(self) -> Iterator[Line]:
        for line in self._lines():
            if line.text.strip():
                row, fault = ({}, line.fault) if line.fault else _object(line.text)
                yield line.unreadable(fault, row) if fault else Line(line.number, row)

    def _csv(self) -> Iterator[Line]:
        """Yield the rows of a CSV. Errors: StackError for a column that is not a field."""
        csv.field_size_limit(MAX_CELL)
        records = _Records(self._lines())
        head = self._head(records)
        while True:
            try:
                cells = records.read()
                if cells is None:
                    return
                fault = records.fault
                row, fault = ({}, fault) if fault else _cells(head, cells)
                fault = fault or records.hidden_rows(head, cells)
            except csv.Error as error:
                row, fault = {}, str(error)
            yield records.unreadable(fault, row) if fault else Line(records.last, row)

    def _head(self, records: "_Records") -> list[str]:
        try:
            head = [name.strip() for name in records.read() or []]
        except csv.Error as error:
            raise StackError(f"the first line cannot be read: {error}") from error
        unknown = [name for name in head if name not in self._fields]
        if unknown or len(set(head)) != len(head):
            wrong = f"an unknown field {unknown[0]!r}" if unknown else "a column twice"
            raise StackError(
                f"the first line names {wrong}; known are {', '.join(sorted(self._fields))}"
            )
        return head

    def _lines(self) -> Iterator[_Physical]:
        """Lines as text. One that is not UTF-8 has a fault, and its bytes as escapes."""
        for number in count(1):
            raw = self._stream.readline(MAX_LINE_BYTES + 1)
            if not raw:
                return
            self.bytes_read += len(raw)
            if len(raw) > MAX_LINE_BYTES:
                while raw and not raw.endswith(b"\n"):
                    raw = self._stream.readline(MAX_LINE_BYTES)
                    self.bytes_read += len(raw)
                yield _Physical(number, _TOO_LONG)
                continue
            try:
                text, fault = raw.decode(), None
            except UnicodeDecodeError:
                text, fault = raw.decode(errors="backslashreplace"), "not UTF-8"
            yield _Physical(number, text.removeprefix("\ufeff") if number == 1 else text, fault)


class _Records:
    """Rows of CSV lines. A row that is refused gives back all its lines but the first."""

    def __init__(self, lines: Iterator[_Physical]) -> None:
        self._lines = lines
        self._given_back: deque[_Physical] = deque()
        self._taken: list[_Physical] = []
        """The lines of the present row."""
        self._size = 0
        self._reader = csv.reader(self._take(), strict=True)

    @property
    def last(self) -> int:
        """The number of the row's last line. Ids of events are made of it, so it is kept."""
        return self._taken[-1].number

    @property
    def fault(self) -> str | None:
        """The fault of the row's first line that has one."""
        return next((line.fault for line in self._taken if line.fault), None)

    def read(self) -> list[str] | None:
        """Return the cells of the next row that has any; None at the end. Errors: csv.Error."""
        while True:
            self._taken.clear()
            self._size = 0
            cells = next(self._reader, None)
            if cells is None or any(cells):
                return cells

    def hidden_rows(self, head: list[str], cells: list[str]) -> str | None:
        """Return a fault if a line inside quotes is a row itself: two stray quotes hide it.

        Details are parsed, and JSON contains no rows.
        """
        named = zip(head, cells, strict=False)
        if not any("\n" in cell for name, cell in named if name != _DETAILS):
            return None
        for line in self._taken[1:]:
            if len(next(csv.reader([line.text]), [])) == len(head):
                return f"line {line.number} would be part of a cell"
        return None

    def unreadable(self, fault: str, row: dict[str, Any]) -> Line:
        """Report the first line of the present row, and read on at the second.

        An unclosed quote takes in the lines after it, which are good rows of their own.
        """
        first, *others = self._taken
        if others:
            row, fault = {}, f"a quote takes in the lines up to {self.last}: {fault}"
        self._given_back.extendleft(reversed(others))
        self._reader = csv.reader(self._take(), strict=True)
        return first.unreadable(fault, row)

    def _take(self) -> Iterator[str]:
        while True:
            line = self._given_back.popleft() if self._given_back else next(self._lines, None)
            if line is None:
                return
            self._taken.append(line)
            self._size += len(line.text)
            if self._size > MAX_LINE_BYTES:
                raise csv.Error(f"the row is longer than {MAX_LINE_BYTES} characters")
            yield line.text


class _Exact(float):
    """A JSON number that keeps its original spelling."""

    text: str

    def __new__(cls, text: str) -> "_Exact":
        number = super().__new__(cls, text)
        number.text = text
        return number


def _object(text: str) -> tuple[dict[str, Any], str | None]:
    if text is _TOO_LONG:
        return {}, f"the line is longer than {MAX_LINE_BYTES} bytes"
    try:
        row = json.loads(text, parse_float=_Exact, object_pairs_hook=each_once)
    except Repeated as error:
        return {}, str(error)
    except (ValueError, RecursionError) as error:
        return {}, f"not JSON: {error}"
    if not isinstance(row, dict):
        return {}, "not an object"
    amount = row.get("usage_amount")
    if isinstance(amount, _Exact):
        row["usage_amount"] = amount.text
    elif isinstance(amount, int) and not isinstance(amount, bool):
        row["usage_amount"] = str(amount)
    return row, None


def _cells(head: list[str], cells: list[str]) -> tuple[dict[str, Any], str | None]:
    row: dict[str, Any] = {
        name: cell.strip() for name, cell in zip(head, cells, strict=False) if cell.strip()
    }
    if len(cells) != len(head):
        return row, f"{len(cells)} cells under {len(head)} columns"
    if details := row.get(_DETAILS):
        found, fault = _object(details)
        if fault:
            return row, f"{_DETAILS}: {fault}"
        row[_DETAILS] = found
    return row, None
