"""Every router of the operators' API, one line each."""

from typing import Final

from fastapi import APIRouter

from api.routes.admin import (
    accounts,
    catalog,
    clock,
    credits,
    dunning,
    inbox,
    integrity,
    limit_overrides,
    matters,
    payments,
    products,
    thresholds,
)

ROUTERS: Final[tuple[APIRouter, ...]] = (
    integrity.router,
    clock.router,
    payments.router,
    dunning.router,
    matters.router,
    inbox.router,
    credits.router,
    thresholds.router,
    accounts.router,
    catalog.router,
    products.router,
    limit_overrides.router,
)
