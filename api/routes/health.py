"""Is the service well, and which of its parts are not; public, without addresses or secrets."""

import asyncio
from typing import Final, Literal

from fastapi import Request, Response

from api.checks import Part, PartHealth, State
from api.dependencies import Services
from api.routes.base import new_router
from api.schemas import Answer
from billing.core.settings import Settings

SERVICE: Final = "billing_service"
PARTS: Final[tuple[Part, ...]] = ("postgres", "temporal", "stripe")

router = new_router("health", prefix="")


class Dependencies(Answer):
    """Whether the database answers."""

    database: State


class Health(Answer):
    """The short answer [T1]."""

    status: State
    service: str
    port: int
    version: str
    dependencies: Dependencies


class DetailedHealth(Answer):
    """Every part [T2]. `provider` says whether Stripe is live, in test mode, or the sandbox."""

    status: State
    service: str
    version: str
    provider: Literal["sandbox", "test", "live"]
    dependencies: dict[Part, PartHealth]


@router.get("/health", responses={503: {"model": Health, "description": "The database is away"}})
async def health(request: Request, response: Response) -> Health:
    """Healthy means that requests can be served; 503 otherwise."""
    services: Services = request.app.state.services
    database = await services.checks.part(services, "postgres")
    response.status_code = 200 if database.status == "healthy" else 503
    return Health(
        status=database.status,
        service=SERVICE,
        port=services.settings.service_port,
        version=services.settings.service_version,
        dependencies=Dependencies(database=database.status),
    )


@router.get("/health/detailed")
async def health_detailed(request: Request) -> DetailedHealth:
    """Every part and how it is; reads go on while only Temporal or Stripe is away."""
    services: Services = request.app.state.services
    states = await asyncio.gather(*(services.checks.part(services, name) for name in PARTS))
    well = all(state.status == "healthy" for state in states)
    return DetailedHealth(
        status="healthy" if well else "unhealthy",
        service=SERVICE,
        version=services.settings.service_version,
        provider=_provider(services.settings),
        dependencies=dict(zip(PARTS, states, strict=True)),
    )


def _provider(settings: Settings) -> Literal["sandbox", "test", "live"]:
    if settings.stripe_api_base:
        return "sandbox"
    key = settings.stripe_secret_key.get_secret_value()
    return "live" if key.startswith(("sk_live_", "rk_live_")) else "test"
