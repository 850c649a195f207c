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


@pytest.mark.parametrize("start", list("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"))
def test_a_text_that_looks_like_a_formula_gets_a_quote(start: str) -> None:
    assert rules.harmless(f"{start}1+1") == f"'{start}1+1"
    assert rules.harmless(f"a{start}1") == f"a{start}1"


@given(st.lists(texts, min_size=2, max_size=5))
def test_a_line_reads_back_as_what_was_written(values: list[str]) -> None:
    (read,) = csv.reader(io.StringIO(rules.line(values), newline=""))
    assert read == [rules.harmless(value) for value in values]
    assert not any(cell.startswith(rules.RISKY) for cell in read)


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
