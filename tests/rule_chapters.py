"""The rules in docs/rules/, a file for each chapter, for the tests that hold them."""

from typing import Final

from devstack.options import ROOT

CHAPTERS: Final = {
    path.stem: path
    for path in sorted((ROOT / "docs" / "rules").glob("*.md"))
    if path.stem != "README"
}
"""Each chapter's file by its name; the contents are none of them."""


def rules_of(chapter: str) -> str:
    """Return the text of one chapter."""
    return CHAPTERS[chapter].read_text()


def all_rules() -> str:
    """Return all chapters in one text."""
    return "\n".join(map(rules_of, CHAPTERS))
