"""Rows out of files that people and programs write: exact amounts, and a line for each fault."""

import io
import tracemalloc
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


def test_a_member_that_appears_twice_is_told_and_not_guessed() -> None:
    twice = '{"usage_amount": 1, "usage_amount": 1000}'
    nested = '{"usage_amount": 1, "usage_details": {"a": 1, "a": 2}}'
    found = read(f"{twice}\n{nested}")
    assert [(line.fault, line.text) for line in found] == [
        ("a member appears twice", twice),
        ("a member appears twice", nested),
    ]
    (cell,) = read('usage_amount,usage_details\n1,"{""a"": 1, ""a"": 2}"\n', "csv")
    assert cell.fault == "usage_details: a member appears twice"


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


@pytest.mark.parametrize("before", ["\n", "\r\n\r\n", "\ufeff\n", ",\n"])
def test_empty_lines_before_the_head_are_passed_over(before: str) -> None:
    found = read(f"{before}product_id,usage_amount\n\ngpt-4,5\n", "csv")
    assert [(line.fault, line.row) for line in found] == [
        (None, {"product_id": "gpt-4", "usage_amount": "5"})
    ]
    assert found[0].number == before.count("\n") + 3


def test_csv_rows_with_a_cell_too_many_and_open_quotes_fail_alone() -> None:
    found = read('product_id,usage_amount\na,1,2\nb,1\nc,"1"x\nd,1\n', "csv")
    assert [(line.number, bool(line.fault)) for line in found] == [
        (2, True),
        (3, False),
        (4, True),
        (5, False),
    ]


@pytest.mark.parametrize(
    ("format", "text"),
    [
        ("csv", "user_id,usage_amount\nann,1\nmüller,1\nbob,1\n"),
        ("csv", "user_id,usage_amount\nann,1\nmüller,1,1\nbob,1\n"),
        ("jsonl", '{"user_id": "ann"}\n{"user_id": "müller"}\n{"user_id": "bob"}'),
    ],
)
def test_a_line_that_is_not_utf_8_is_told_with_its_bytes(format: Format, text: str) -> None:
    first, wrong, last = read(text.encode("latin-1"), format)
    assert (first.row["user_id"], last.row["user_id"]) == ("ann", "bob")
    assert (wrong.fault, wrong.row) == ("not UTF-8", {})
    assert "m\\xfcller" in wrong.text


def test_a_cell_that_spans_lines_and_is_not_utf_8_is_no_row() -> None:
    text = 'user_id,usage_amount\n"ann\nmüller",1\nbob,1\n'
    *wrong, last = read(text.encode("latin-1"), "csv")
    assert wrong
    assert all(line.fault and line.fault.endswith("not UTF-8") for line in wrong)
    assert (last.fault, last.row["user_id"]) == (None, "bob")


def faults(text: str) -> list[tuple[int, bool]]:
    return [(line.number, bool(line.fault)) for line in read(text, "csv")]


NINE = [f"e{n},gpt-4,1,u" for n in range(2, 11)]
"""Good rows of the lines 2 to 10."""
FIELDS_OF_NINE = "event_id,product_id,usage_amount,user_id"


@pytest.mark.parametrize(
    "strays",
    [
        pytest.param({4: '"ann', 9: '"bob"'}, id="until a quoted cell"),
        pytest.param({4: '"ann', 9: 'bob"'}, id="until a stray quote that fits"),
        pytest.param({4: '"', 5: '"'}, id="lone quotes"),
        pytest.param({4: '"ann'}, id="to the end"),
        pytest.param({10: '"ann'}, id="in the last row"),
    ],
)
def test_a_stray_quote_takes_its_own_line_and_no_other(strays: dict[int, str]) -> None:
    lines = [FIELDS_OF_NINE, *NINE]
    for number, user in strays.items():
        lines[number - 1] = lines[number - 1].removesuffix("u") + user
    found = read("\r\n".join(lines) + "\r\n", "csv")
    assert [line.number for line in found] == list(range(2, 11))
    wrong = {line.number: line.text for line in found if line.fault}
    stray = {number for number, user in strays.items() if user.count('"') == 1}
    if strays.get(9) == 'bob"':
        stray.remove(9)  # a quote behind other characters is one of them
    assert wrong == {number: lines[number - 1] for number in stray}
    assert {line.row["event_id"] for line in found if not line.fault} == {
        f"e{number}" for number in range(2, 11) if number not in stray
    }


def test_cells_that_span_lines_are_one_row() -> None:
    text = (
        "product_id,usage_amount,user_id,usage_details\n"
        'gpt-4,1,"ann\nlee","{""a"": [1, 2,\n 3],\n""b"": 4}"\n'
        "gpt-4,2,bob,\n"
    )
    first, second = read(text, "csv")
    assert first.row == {
        "product_id": "gpt-4",
        "usage_amount": "1",
        "user_id": "ann\nlee",
        "usage_details": {"a": [1, 2, 3], "b": 4},
    }
    # Events without an id are named after the last line of their row.
    assert (first.number, second.number, second.row["user_id"]) == (5, 6, "bob")


def test_a_quote_that_many_rows_follow_costs_one_row_and_no_memory() -> None:
    rows = b"".join(b"e%d,gpt-4,1,u\n" % number for number in range(20_000))
    stream = io.BytesIO(f'{FIELDS_OF_NINE}\n"e,gpt-4,1,u\n'.encode() + rows)
    tracemalloc.start()
    good = bad = 0
    for line in UsageFile(stream, "csv", FIELDS):
        good, bad = good + (not line.fault), bad + bool(line.fault)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (good, bad) == (20_000, 1)
    assert peak < 4_000_000


def test_a_row_whose_quotes_never_end_is_cut_off() -> None:
    """Each line closes a quote and opens the next one, so no cell is long."""
    text = FIELDS_OF_NINE + "\n" + 'x",y,"\n' + f'",{"y" * 500},"\n' * 2_500
    lines = iter(UsageFile(io.BytesIO(text.encode()), "csv", FIELDS))
    first = next(lines)
    assert (first.number, first.text) == (2, 'x",y,"')
    assert "the row is longer than" in (first.fault or "")


def test_a_head_with_an_open_quote_is_refused() -> None:
    with pytest.raises(StackError, match="the first line cannot be read"):
        read('"product_id,usage_amount\na,1\n', "csv")


@pytest.mark.parametrize("head", ["product,usage_amount", "product_id,product_id", "usage_amount,"])
def test_a_head_with_a_column_that_means_nothing_is_refused(head: str) -> None:
    with pytest.raises(StackError, match="the first line names"):
        read(f"{head}\na,1\n", "csv")
