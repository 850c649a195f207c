"""The page of errors is the code's own."""

from api.problem_codes import CODES
from cli.error_table import render
from devstack.options import ROOT
from tests.api_document import DOCUMENT


def test_the_page_of_errors_is_the_codes_own() -> None:
    page = (ROOT / "docs" / "errors.md").read_text()
    assert page == render(DOCUMENT), "run: billing errors > docs/errors.md"
    assert all(f"| `{code}` |" in page for code in CODES)
