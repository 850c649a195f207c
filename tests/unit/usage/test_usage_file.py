"""Rows out of files that people and programs write: exact amounts, and a line for each fault."""

import io
from typing import Any

import pytest

from cli.errors import StackError
from cli.usage_file import Format, Line, UsageFile
from durable_billing.events import FIELDS


def read(text: str | bytes, format: Format = "jsonl") -> list[Line]:
    raw = text.encode() if isinstance(text, str) else text
    return list(UsageFile(io.BytesIO(raw), format, FIELDS))


def rows(text: str, format: Format = "jsonl") -> list[dict[str, Any]]:
    lines = read(text, format)
    assert [line.fault for line in lines] == [None] * len(lines)
    return [line.row for line in lines]


def test_amounts_keep_their_digits_however_they_are_written() -> None:
    found = rows('{"usage_amount": 0.10}\n{"usage_amount": 7}\n\n{"usage_amount": "1.000000001"}')
    assert [row["usage_amount"] for row in found] == ["0.10", "7", "1.000000001"]


def test_lines_that_are_no_rows_are_told_by_number() -> None:
    found = read('{"a": 1}\n[]\n\nnope\n{"b": 2}')
    assert [(line.number, bool(line.fault)) for line in found] == [
        (1, False),
        (2, True),
        (4, True),
        (5, False),
    ]


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_a_line_that_never_ends_takes_no_memory_and_no_other_row(format: Format) -> None:
    row = {"csv": b"gpt-4,1", "jsonl": b'{"product_id":"gpt-4","usage_amount":"1"}'}[format]
    head = b"product_id,usage_amount\n" if format == "csv" else b""
    found = read(head + row + b"\n" + b"x" * 3_000_000 + b"\n" + row, format)
    assert [bool(line.fault) for line in found] == [False, True, False]
    assert found[0].row == found[2].row


def test_csv_leaves_empty_cells_out_and_reads_details() -> None:
    text = '\ufeffproduct_id,usage_amount,user_id,usage_details\ngpt-4, 5 ,,"{""a"": [1]}"\n\n'
    assert rows(text, "csv") == [
        {"product_id": "gpt-4", "usage_amount": "5", "usage_details": {"a": [1]}}
    ]


def test_csv_rows_with_a_cell_too_many_and_open_quotes_fail_alone() -> None:
    found = read('product_id,usage_amount\na,1,2\nb,1\nc,"1"x\nd,1\n', "csv")
    assert [(line.number, bool(line.fault)) for line in found] == [
        (2, True),
        (3, False),
        (4, True),
        (5, False),
    ]


@pytest.mark.parametrize("head", ["product,usage_amount", "product_id,product_id", "usage_amount,"])
def test_a_head_with_a_column_that_means_nothing_is_refused(head: str) -> None:
    with pytest.raises(StackError, match="the first line names"):
        read(f"{head}\na,1\n", "csv")
