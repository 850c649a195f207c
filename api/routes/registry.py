"""Every router of the API, one line each; a new capability is registered here."""

from typing import Final

from fastapi import APIRouter

from api.routes import (
    accounts,
    billing_records,
    catalog,
    catalog_admin,
    clock,
    credits,
    credits_admin,
    dunning,
    health,
    holds,
    inbox_admin,
    integrity,
    invoices,
    matters,
    meta,
    overview,
    payment_methods,
    payments,
    payments_admin,
    products_admin,
    proofs,
    purchases,
    quotas,
    subscriptions,
    timeline,
    top_ups,
    trials,
    usage,
    usage_batch,
    usage_reads,
    usage_sums,
    webhooks,
)

# There however the billing switch stands.
OPEN: Final[tuple[APIRouter, ...]] = (health.router, meta.router)

# Gone (404) while BILLING_ENABLED is false. The first ones are found fastest.
ROUTERS: Final[tuple[APIRouter, ...]] = (
    usage.router,
    usage_batch.router,
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
    billing_records.router,
    overview.router,
    proofs.router,
    integrity.router,
    clock.router,
    payments_admin.router,
    dunning.router,
    matters.router,
    inbox_admin.router,
    credits_admin.router,
    accounts.router,
    catalog_admin.router,
    products_admin.router,
)
