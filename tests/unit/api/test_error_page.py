"""The page of errors is the code's own."""

import re

from billing.core.error_codes import CODES
from cli.error_table import render
from devstack.options import ROOT
from tests.api_document import DOCUMENT


def test_the_page_of_errors_is_the_codes_own() -> None:
    page = (ROOT / "docs" / "errors.md").read_text()
    assert page == render(DOCUMENT), "run: billing errors > docs/errors.md"
    assert all(f"| `{code}` |" in page for code in CODES)


def test_the_page_says_what_to_do_at_every_status() -> None:
    page = render(DOCUMENT).partition("| code |")[0]
    told = {int(status) for line in re.findall(r"^\| (\d.*?) \|", page, re.M)
            for status in re.findall(r"\d+", line)}  # fmt: skip
    answered = {status for one in CODES.values() for status in (one.status, one.on_manual)}
    assert told == answered - {0, None}
