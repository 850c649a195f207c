"""The name of this service and its enabled features; both public [T4, T5]."""

from typing import Final

from fastapi import Depends, Request
from pydantic import Field

from api.answers.schemas import Answer
from api.requests.unknown_parameters import takes_nothing_else
from api.routes.base import new_router
from api.services import Services
from billing.core.settings import VERSION

CAPABILITIES: Final = (
    "credits", "trials", "purchases", "subscriptions", "invoices", "payments", "dunning",
)  # fmt: skip

router = new_router("meta")


class Info(Answer):
    """Name, version and capabilities of this build."""

    name: str = Field(description="The name of the service")
    version: str = Field(description="Its release")
    api: str = Field(description="The version of the API, as in its paths")
    capabilities: list[str] = Field(
        description="What it can do; empty while billing is switched off"
    )


class Features(Answer):
    """Feature switches, under the names that the console uses."""

    billingEnabled: bool  # noqa: N815
    billingPaymentMethods: bool  # noqa: N815
    stripePublishableKey: str | None  # noqa: N815


@router.get("/info", dependencies=[Depends(takes_nothing_else)])
async def info(request: Request) -> Info:
    """Describe the service."""
    services: Services = request.app.state.services
    return Info(
        name="durable-billing",
        version=VERSION,
        api="v1",
        capabilities=list(CAPABILITIES) if services.settings.billing_enabled else [],
    )


@router.get("/meta/features", dependencies=[Depends(takes_nothing_else)])
async def features(request: Request) -> Features:
    """The enabled features."""
    settings = request.app.state.services.settings
    return Features(
        billingEnabled=settings.billing_enabled,
        billingPaymentMethods=settings.billing_enabled,
        stripePublishableKey=settings.stripe_publishable_key if settings.billing_enabled else None,
    )
