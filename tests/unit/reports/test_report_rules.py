"""Reports that people open in a sheet: exact, well-formed, harmless whatever callers name."""

import asyncio
import csv
import io
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import report_files
from billing.insight.reports import rules

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@pytest.mark.parametrize("start", [*"=+-@\t\r\n\uff1d\uff0b\uff0d\uff20\ufe62\ufe63\ufe66\ufe6b"])
def test_a_text_that_looks_like_a_formula_gets_a_quote(start: str) -> None:
    assert rules.harmless(f"{start}1+1") == f"'{start}1+1"
    assert rules.harmless(f"a{start}1") == f"a{start}1"


@pytest.mark.parametrize("end", [";", "\t", "\r", "\n", "\r\n", ";;", ';"', ';""'])
def test_so_does_a_part_of_a_text_where_another_sheet_begins_a_cell(end: str) -> None:
    """Quotation marks protect nothing there: they count only where a cell begins."""
    for start in rules.FORMULAS:
        assert rules.harmless(f"a{end}{start}1+1;b") == f"a{end}'{start}1+1;b"
        assert rules.harmless(f"{start}1{end}{start}2") == f"'{start}1{end}'{start}2"
        for text in (f"a;b{start}1", "a; 1", "a;1", f"a,{start}1", f"a {start}1"):
            assert rules.harmless(text) == text


@pytest.mark.parametrize("blanks", [" ", "  ", "\u00a0", "\u3000", ' "', '" "'])
def test_so_does_a_part_that_begins_with_blanks(blanks: str) -> None:
    """A sheet that cuts them off begins its cell with what follows."""
    for start in rules.FORMULAS:
        assert rules.harmless(f"x;{blanks}{start}1") == f"x;{blanks}'{start}1"
        assert rules.harmless(f"x\t{blanks}{start}1") == f"x\t{blanks}'{start}1"
        assert rules.harmless(f" {start}1") == f" '{start}1"


@given(st.lists(texts, min_size=2, max_size=5))
def test_a_line_reads_back_as_what_was_written(values: list[str]) -> None:
    (read,) = csv.reader(io.StringIO(rules.line(values), newline=""))
    assert read == [rules.harmless(value) for value in values]
    assert not any(cell.startswith(rules.RISKY) for cell in read)


@given(st.lists(st.text('ab=-;\t\r\n",', max_size=8), min_size=2, max_size=4))
@pytest.mark.parametrize("between", ";\t")
def test_no_cell_is_a_formula_to_who_splits_lines_otherwise(
    between: str, values: list[str]
) -> None:
    lines = io.StringIO(rules.line(values), newline="")
    for read in csv.reader(lines, delimiter=between):
        assert not any(cell.lstrip("\t\r\n").startswith(("=", "-")) for cell in read)


def test_numbers_and_days_stand_as_they_are() -> None:
    at = datetime(2027, 1, 2, 3, tzinfo=UTC)
    values = [Decimal("-0.50"), 3, None, True, date(2027, 1, 2), at]
    assert rules.line(values) == "-0.50,3,,True,2027-01-02,2027-01-02T03:00:00Z\r\n"


async def test_other_requests_are_served_between_the_rows_of_a_page() -> None:
    served = 0

    async def others() -> None:
        nonlocal served
        while True:
            served += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(others())
    rows, form = [b"1", b"2"] * report_files.AT_A_STRETCH, report_files.Form(b"", bytes, b",")
    assert await report_files.text_of(rows, form) == b",".join(rows)
    beside.cancel()
    assert served == 2
