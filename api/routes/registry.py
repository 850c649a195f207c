"""Every router of the API, one line each; a new capability is registered here."""

from typing import Final

from fastapi import APIRouter

from api.routes import accounts, health, meta, purchases, trials, webhooks

# There however the billing switch stands.
OPEN: Final[tuple[APIRouter, ...]] = (health.router, meta.router)

# Gone (404) while BILLING_ENABLED is false. The first ones are found fastest.
ROUTERS: Final[tuple[APIRouter, ...]] = (
    purchases.router,
    trials.router,
    webhooks.router,
    accounts.router,
)
