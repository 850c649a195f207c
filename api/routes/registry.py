"""Every router of the API; register a new capability here."""

from typing import Final

from fastapi import APIRouter
from fastapi.routing import APIRoute

from api.gates import OperatorGate, TenantGate
from api.requests.fastapi_internals import dependency_calls
from api.routes import (
    addresses,
    balance,
    billing_details,
    billing_records,
    budgets,
    catalog,
    contracts,
    coupons,
    credit_notes,
    credits,
    events,
    forecasts,
    health,
    holds,
    invoice_documents,
    invoices,
    meta,
    migration_requests,
    overdue,
    overview,
    payment_kinds,
    payment_methods,
    payments,
    portal,
    proofs,
    purchases,
    quotas,
    recommendations,
    reports,
    setup_intents,
    subscription_changes,
    subscription_previews,
    subscriptions,
    taxes,
    timeline,
    top_ups,
    trials,
    usage,
    usage_reads,
    usage_sums,
    webhooks,
)
from api.routes.admin import (
    accounting,
    accounts,
    audit,
    balances,
    bulk_acts,
    clock,
    dunning,
    dunning_pauses,
    extensions,
    inbox,
    integrity,
    issuers,
    limit_overrides,
    listings,
    matters,
    price_moves,
    products,
    reconciliations,
    reversals,
    search,
    thresholds,
    wrong_prices,
)
from api.routes.admin import catalog as admin_catalog
from api.routes.admin import contracts as admin_contracts
from api.routes.admin import coupons as admin_coupons
from api.routes.admin import credits as admin_credits
from api.routes.admin import invoices as admin_invoices
from api.routes.admin import migration_requests as admin_migration_requests
from api.routes.admin import payment_kinds as admin_payment_kinds
from api.routes.admin import payments as admin_payments
from api.routes.admin import taxes as admin_taxes

OPEN: Final[tuple[APIRouter, ...]] = (health.router, meta.router)

# The OpenAPI document has this order.
# payment_kinds has `/payment-methods/available`, so it comes before payment_methods, whose route of
# an id would match it, too.
_BILLING: Final = (
    usage, quotas, purchases, trials, subscriptions, contracts, coupons, subscription_changes,
    subscription_previews, payment_kinds, setup_intents, payment_methods, portal,
    addresses, billing_details, taxes, invoices, invoice_documents, credit_notes, overdue, payments,
    balance, webhooks, catalog, holds, credits, top_ups, timeline, usage_reads, usage_sums, budgets,
    forecasts, reports, recommendations, billing_records, overview, proofs, events,
    migration_requests,
)  # fmt: skip
_OPERATORS: Final = (
    search, listings, audit, integrity, reconciliations, clock, admin_invoices, admin_payments,
    reversals, dunning, dunning_pauses, matters, inbox, admin_migration_requests,
    admin_credits, balances, extensions, price_moves, wrong_prices, bulk_acts, thresholds, accounts,
    issuers,
    admin_catalog, admin_payment_kinds, admin_taxes, admin_coupons, products, limit_overrides,
    admin_contracts, accounting,
)  # fmt: skip
ROUTERS: Final[tuple[APIRouter, ...]] = tuple(part.router for part in (*_BILLING, *_OPERATORS))


def routes(*, billing: bool) -> list[APIRoute]:
    """The routes to serve, with or without those of customers (BILLING_ENABLED)."""
    found = [route for router in (*OPEN, *ROUTERS) for route in router.routes]
    served = [route for route in found if isinstance(route, APIRoute)]
    return [route for route in served if billing or not _is_of_customers(route)]


def _is_of_customers(route: APIRoute) -> bool:
    # By its gate: some routes of operators are not below /admin/.
    gates = (one for one in dependency_calls(route) if isinstance(one, (OperatorGate, TenantGate)))
    return any(gate.is_for_customers for gate in gates)
