"""Health of the service and of its parts; public, without addresses or secrets."""

import asyncio
from typing import Final, Literal

from fastapi import Request, Response
from pydantic import Field

from api.answers.schemas import Answer
from api.monitoring.health_checks import Part, PartHealth, State
from api.routes.base import new_router
from api.services import Services
from billing.core.settings import VERSION, Settings
from billing.insight.health.schemas import SignState

SERVICE: Final = "billing_service"
PARTS: Final[tuple[Part, ...]] = ("postgres", "temporal", "stripe")

router = new_router("health", prefix="")


class Dependencies(Answer):
    """The state of the database."""

    database: State = Field(description="`healthy` if Postgres answers")


class Health(Answer):
    """The state of the service [T1]."""

    status: State = Field(description="`healthy` or `unhealthy`")
    service: str = Field(description="The name of the service")
    port: int = Field(description="The port that it listens on")
    version: str = Field(description="Its release")
    dependencies: Dependencies = Field(description="What it cannot work without")


class DetailedHealth(Answer):
    """The state of every part [T2]. `provider` is live, test (Stripe's test mode) or the sandbox.

    `signs` is what `billing doctor` reads in the database: live workers, late steps, waiting
    events.
    """

    status: State = Field(description="`healthy` or `unhealthy`")
    service: str = Field(description="The name of the service")
    version: str = Field(description="Its release")
    provider: Literal["sandbox", "test", "live"] = Field(
        description="`live`, `test` for Stripe's test mode, or `sandbox`"
    )
    dependencies: dict[Part, PartHealth] = Field(description="The state of each part")
    signs: dict[str, SignState] = Field(
        description="What `billing doctor` reads in the database, sign by sign"
    )


@router.get("/health", responses={503: {"model": Health, "description": "It can write nothing"}})
async def health(request: Request, response: Response) -> Health:
    """The state of the service: healthy when it can serve requests, else 503."""
    services: Services = request.app.state.services
    database = await services.health.part(services, "postgres")
    status = "unhealthy" if services.pulse.is_astray else database.status
    response.status_code = 200 if status == "healthy" else 503
    return Health(
        status=status,
        service=SERVICE,
        port=services.settings.service_port,
        version=VERSION,
        dependencies=Dependencies(database=database.status),
    )


async def probe(request: Request) -> Response:
    """Return the status of `health` alone, for probes that want no body (HEAD)."""
    answer = Response()
    await health(request, answer)
    return answer


@router.get("/health/detailed")
async def health_detailed(request: Request) -> DetailedHealth:
    """The state of every part; reads still work while only Temporal or Stripe is unavailable."""
    services: Services = request.app.state.services
    states = await asyncio.gather(*(services.health.part(services, name) for name in PARTS))
    signs = await services.health.signs(services)
    well = all(state.status == "healthy" for state in states) and set(signs.values()) == {"healthy"}
    return DetailedHealth(
        status="healthy" if well else "unhealthy",
        service=SERVICE,
        version=VERSION,
        provider=_provider(services.settings),
        dependencies=dict(zip(PARTS, states, strict=True)),
        signs=signs,
    )


def _provider(settings: Settings) -> Literal["sandbox", "test", "live"]:
    if settings.stripe_api_base:
        return "sandbox"
    return "live" if settings.has_live_stripe else "test"
