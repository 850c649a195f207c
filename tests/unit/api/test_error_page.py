"""The page of errors is the code's own."""

from api.app import create_app
from api.problem_codes import CODES
from cli.error_table import render
from devstack.options import ROOT
from tests.unit.api.conftest import lonely_settings


def test_the_page_of_errors_is_the_codes_own() -> None:
    page = (ROOT / "docs" / "errors.md").read_text()
    assert page == render(create_app(lonely_settings()).openapi()), (
        "run: billing errors > docs/errors.md"
    )
    assert all(f"| `{code}` |" in page for code in CODES)
