"""Shops that look into their own usage, on the run's one stack."""

from tests.integration.usage.conftest import new_shop

__all__ = ["new_shop"]
