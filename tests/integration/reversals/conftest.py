"""Each of these stories ends with books that agree."""

from tests.integration.invariants_fixture import books_agree

__all__ = ["books_agree"]
