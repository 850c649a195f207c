"""Each of these stories ends with books that agree."""

from tests.integration.agreement import books_agree

__all__ = ["books_agree"]
