"""Rows of usage from a file of any length: CSV or JSON lines, one row in memory at a time.

A row that cannot be read is reported with its line, and reading continues after it.
"""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, Literal

from cli.errors import StackError

Format = Literal["csv", "jsonl"]

MAX_LINE_BYTES: Final = 1_048_576
MAX_CELL: Final = 131_072
_TOO_LONG: Final = "x" * (MAX_CELL + 1)
"""In place of a line that is too long: the CSV reader refuses it for its size."""


@dataclass(frozen=True, slots=True)
class Line:
    """One row and its line; `fault` is why it cannot be read."""

    number: int
    row: dict[str, Any]
    fault: str | None = None


class UsageFile:
    """The rows of an open file; `bytes_read` is how much of it was read."""

    def __init__(self, stream: BinaryIO, format: Format, fields: frozenset[str]) -> None:
        self.bytes_read = 0
        self._number = 0
        self._stream = stream
        self._format = format
        self._fields = fields

    def __iter__(self) -> Iterator[Line]:
        return self._csv() if self._format == "csv" else self._jsonl()

    def _jsonl(self) -> Iterator[Line]:
        for text in self._lines():
            if text.strip():
                row, fault = _object(text)
                yield Line(self._number, row, fault)

    def _csv(self) -> Iterator[Line]:
        """Yield the rows of a CSV. Errors: StackError for a column that is not a field."""
        csv.field_size_limit(MAX_CELL)
        reader = csv.reader(self._lines(), strict=True)
        head = [name.strip() for name in next(reader, [])]
        unknown = [name for name in head if name not in self._fields]
        if unknown or len(set(head)) != len(head):
            wrong = f"an unknown field {unknown[0]!r}" if unknown else "a column twice"
            raise StackError(
                f"the first line names {wrong}; known are {', '.join(sorted(self._fields))}"
            )
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Line(self._number, {}, str(error))
                continue
            if any(cells):
                row, fault = _cells(head, cells)
                yield Line(self._number, row, fault)

    def _lines(self) -> Iterator[str]:
        """Lines as text. Bytes that are not UTF-8 are kept as surrogates and refused later."""
        while raw := self._stream.readline(MAX_LINE_BYTES + 1):
            self.bytes_read += len(raw)
            self._number += 1
            if len(raw) > MAX_LINE_BYTES:
                while raw and not raw.endswith(b"\n"):
                    raw = self._stream.readline(MAX_LINE_BYTES)
                    self.bytes_read += len(raw)
                yield _TOO_LONG
                continue
            text = raw.decode("utf-8", errors="surrogateescape")
            yield text.removeprefix("\ufeff") if self._number == 1 else text


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
        row = json.loads(text, parse_float=_Exact)
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
    if details := row.get("usage_details"):
        found, fault = _object(details)
        if fault:
            return row, f"usage_details: {fault}"
        row["usage_details"] = found
    return row, None
