"""Shops that look into their own usage, on the run's one stack."""

from tests.integration.usage.conftest import Api, NewShop, Shop, api, new_shop

__all__ = ["Api", "NewShop", "Shop", "api", "new_shop"]
