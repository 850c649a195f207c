"""Providers' webhooks: verified, stored once, answered; the matter is notified after the answer."""

from typing import Annotated, Literal

from fastapi import Header, Request, Response
from pydantic import Field
from starlette.background import BackgroundTask

from api.answers.problems import responses
from api.answers.schemas import Answer
from api.requests.fast_route import fast
from api.routes.base import new_router
from api.services import Services
from billing.core.clock import real_now
from billing.core.failpoints import failpoint
from billing.platform.provider_inbox import webhooks
from billing.platform.provider_inbox.schemas import ProviderEvent

router = new_router("webhooks")


class Received(Answer):
    """The event is stored."""

    received: Literal[True] = Field(description="Always true")


@router.post(
    "/webhooks/stripe",
    response_model=Received,
    status_code=200,
    responses=responses("INVALID_SIGNATURE", "INVALID_PAYLOAD"),
)
@fast
async def receive_stripe_event(
    request: Request, stripe_signature: Annotated[str | None, Header()] = None
) -> Response:
    """Receive one signed event [N1 to N3, N11]; a repeated one changes nothing."""
    services: Services = request.app.state.services
    body = await request.body()
    with services.deliveries.counting("stripe"):
        webhooks.verify(body, stripe_signature, services.settings.webhook_secrets, real_now())
        return await _received(services, webhooks.parse(body))


@router.post(
    "/webhooks/paypal",
    response_model=Received,
    status_code=200,
    responses=responses("INVALID_SIGNATURE", "INVALID_PAYLOAD"),
)
async def receive_paypal_event(request: Request) -> Response:
    """Receive one event that PayPal signed [N10]; a repeated one changes nothing."""
    services: Services = request.app.state.services
    # Not counted as deliveries: where PayPal is not set up the sender is a stranger, and only
    # strangers name certificate upon certificate.
    services.paypal.demand_set_up()
    if not services.paypal.knows(request.headers):
        services.rates.count_address("reads", request)
    body = await request.body()
    with services.deliveries.counting("paypal"):
        await services.paypal.verify(body, request.headers)
        return await _received(services, webhooks.parse(body))


async def _received(services: Services, event: ProviderEvent) -> Response:
    await failpoint("inbox.before_insert")
    owner = await services.inbox.receive(event)
    await failpoint("inbox.committed")
    task = None
    if owner is not None:
        task = BackgroundTask(services.notifier.notify, services.temporal, owner, event.event_id)
    return Response(b'{"received":true}', media_type="application/json", background=task)
