"""The page of the state table says what the code does."""

from embedded.options import ROOT
from embedded.state_table import render


def test_the_page_of_the_state_table_is_the_codes_own() -> None:
    page = ROOT / "docs" / "subscription-states.md"
    assert page.read_text() == render(), "run: billing states > docs/subscription-states.md"
