"""Each of these stories ends with nothing more on sale than before."""

from tests.integration.on_sale import sell

__all__ = ["sell"]
