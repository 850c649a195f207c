"""The API: one FastAPI app from settings, and the services its handlers use.

`python -m api` serves it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final

from fastapi import FastAPI
from temporalio.client import Client

from api import committed, idempotency
from api.aliases import AliasMiddleware
from api.answers import problems
from api.batching.balances import Balances
from api.batching.hold_batcher import HoldBatcher
from api.document import openapi
from api.edge import cross_origin
from api.edge.correlation import CorrelationMiddleware
from api.edge.hosts import EdgeMiddleware
from api.edge.request_limits import RequestLimitMiddleware
from api.edge.slow_handlers import SlowHandlerMiddleware
from api.identity.auth import open_verifier
from api.identity.jwks import Jwks, refreshed
from api.identity.rate_leases import CallerRates
from api.identity.tenants import Tenants
from api.monitoring import metrics, replica
from api.monitoring.gauges import gauging
from api.monitoring.tracing import TracingMiddleware
from api.pages import guide, pay_page
from api.pages.closed_pages import ClosedPagesMiddleware
from api.pricing import Prices
from api.requests.fast_route import serve
from api.route_index import RouteIndex
from api.routes import health, registry
from api.routes.base import PREFIX
from api.services import Services
from api.webhooks.inbox import Inbox
from api.webhooks.paypal_signatures import PayPalSignatures
from billing.core import garbage
from billing.core.database import Database, open_database
from billing.core.settings import PRODUCTION, VERSION, Settings
from billing.core.tracing import Tracing, open_tracing
from billing.money.documents.press import Press
from billing.money.payments.pay_links import PayLinks
from gateways.pricing import HttpPrices
from workflows.client import connect

TITLE: Final = "durable-billing"


def create_app(
    settings: Settings, database: Database | None = None, temporal: Client | None = None
) -> FastAPI:
    """Return the app. The caller closes any database or client that it passes in."""
    services = _services(settings, database, temporal)
    app = FastAPI(
        title=TITLE,
        version=VERSION,
        lifespan=_lifespan(services, owns_database=database is None),
        docs_url=None,
        redoc_url=None,
        openapi_url=f"{PREFIX}/openapi.json",
        redirect_slashes=False,
        # metrics.py and the logs do this; FastAPI's would look for exporters on each request.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.services = services
    routes = [serve(app, route) for route in registry.routes(billing=settings.billing_enabled)]
    app.router.routes += [RouteIndex(routes), *routes]
    app.add_route("/health", health.probe, methods=["HEAD"], include_in_schema=False)
    openapi.install(app)
    guide.install(app, is_open=settings.env != PRODUCTION)
    pay_page.install(app, billing=settings.billing_enabled)
    problems.install(app)
    app.exception_handler(idempotency.Replayed)(idempotency.replay)
    app.exception_handler(committed.Accepted)(committed.answer)
    # The middleware added last is the outermost.
    if settings.env == PRODUCTION:
        app.add_middleware(ClosedPagesMiddleware)
    app.add_middleware(problems.LastResort)
    app.add_middleware(SlowHandlerMiddleware)
    app.add_middleware(RequestLimitMiddleware)
    app.add_middleware(metrics.MetricsMiddleware, failures=services.failures)
    if services.tracing is not None:
        app.add_middleware(TracingMiddleware, tracing=services.tracing)
    app.add_middleware(AliasMiddleware)
    app.add_middleware(CorrelationMiddleware)
    cross_origin.install(app, settings.cors_origins)
    app.add_middleware(EdgeMiddleware, settings=settings)
    return app


def _services(settings: Settings, database: Database | None, temporal: Client | None) -> Services:
    database = database or open_database(settings)
    keys = Jwks(settings.jwt_jwks_url, settings.jwt_algorithms) if settings.jwt_jwks_url else None
    tracing = open_tracing(settings, "api")
    return Services(
        settings=settings,
        database=database,
        verifier=open_verifier(settings, keys),
        tenants=Tenants(database),
        rates=CallerRates(settings, database),
        inbox=Inbox(database),
        hold_batcher=HoldBatcher(database),
        prices=_prices(settings, database, tracing),
        balances=Balances(database, timedelta(days=settings.expiry_notice_days)),
        press=Press(),
        pay_links=PayLinks(settings),
        paypal=PayPalSignatures(settings),
        jwks=keys,
        temporal_client=temporal,
        tracing=tracing,
    )


def _prices(settings: Settings, database: Database, tracing: Tracing | None) -> Prices:
    url, seconds = settings.product_service_url, settings.product_service_timeout_seconds
    headers = tracing.headers if tracing else dict
    return Prices(
        database,
        HttpPrices(url, seconds, headers=headers) if url else None,
        fresh_seconds=settings.product_service_cache_seconds,
        stale=timedelta(seconds=settings.product_service_stale_seconds),
    )


def _lifespan(services: Services, *, owns_database: bool) -> Any:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if services.temporal_client is None:
            services.temporal_client = await connect(services.settings, services.tracing)
        async with (
            metrics.served(services.settings),
            refreshed(services.jwks),
            services.pulse.beating(),
            replica.watching(services.database),
            gauging(services, services.health),
        ):
            garbage.freeze_startup()
            yield
        await services.prices.close()
        await services.press.close()
        if services.tracing is not None:
            await services.tracing.close()
        if owns_database:
            await services.database.close()

    return lifespan
