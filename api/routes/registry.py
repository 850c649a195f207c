"""Every router of the API, one line each; register a new capability here."""

from typing import Final

from fastapi import APIRouter
from fastapi.routing import APIRoute

from api.routes import (
    billing_records,
    budgets,
    catalog,
    credits,
    forecasts,
    health,
    holds,
    invoices,
    meta,
    overview,
    payment_methods,
    payments,
    proofs,
    purchases,
    quotas,
    recommendations,
    reports,
    subscriptions,
    timeline,
    top_ups,
    trials,
    usage,
    usage_reads,
    usage_sums,
    webhooks,
)
from api.routes.admin import registry as admin_registry

# Served even when BILLING_ENABLED is false.
OPEN: Final[tuple[APIRouter, ...]] = (health.router, meta.router)

# 404 when BILLING_ENABLED is false.
ROUTERS: Final[tuple[APIRouter, ...]] = (
    usage.router,
    quotas.router,
    purchases.router,
    trials.router,
    subscriptions.router,
    payment_methods.router,
    invoices.router,
    payments.router,
    webhooks.router,
    catalog.router,
    holds.router,
    credits.router,
    top_ups.router,
    timeline.router,
    usage_reads.router,
    usage_sums.router,
    budgets.router,
    forecasts.router,
    reports.router,
    recommendations.router,
    billing_records.router,
    overview.router,
    proofs.router,
    *admin_registry.ROUTERS,
)


def routes(*, billing: bool) -> list[APIRoute]:
    """The routes to serve, with or without those of billing."""
    routers = OPEN + (ROUTERS if billing else ())
    found = [route for router in routers for route in router.routes]
    return [route for route in found if isinstance(route, APIRoute)]
