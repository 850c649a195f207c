"""Each of these stories ends with books that agree, and with nothing more on sale than before."""

from tests.integration.invariants_fixture import books_agree
from tests.integration.on_sale import sell

__all__ = ["books_agree", "sell"]
