"""The provider's portal, where customers manage their cards without a page of yours [K10]."""

from typing import Annotated

from fastapi import Response
from pydantic import Field

from api.answers.problems import KEYED, responses
from api.answers.public_ids import encoded
from api.answers.schemas import Answer, Body, Url, optional_body
from api.calls import AccountCall
from api.dependencies import BillingCall
from api.idempotency import Claim, OptionalKey
from api.pay.return_pages import check_return
from api.routes.base import new_router
from api.workflow_calls import need_provider, wait_until_done
from billing.core import clock, ids
from billing.core.errors import ProviderFailure
from billing.matters.schemas import Matter
from billing.money.payment_methods import portal

router = new_router("payment methods")


class PortalBody(Body):
    """The page that the portal returns to; by default this service's own address."""

    return_url: Url | None = Field(
        None,
        description="The page to which the customer comes back; null: this service's own address",
    )


class PortalAnswer(Answer):
    """A portal session: send the customer's browser to `url` within minutes, once."""

    portal_session_id: Annotated[str, encoded(ids.PORTAL_SESSION)] = Field(validation_alias="id")
    status: str = Field(
        description="`pending`: the provider has not opened it yet; `open`; `refused`"
    )
    url: str | None = Field(
        description="Where to send the customer's browser; null: there is none yet"
    )


@router.post(
    "/billing/portal-session",
    response_model=PortalAnswer,
    status_code=201,
    responses={
        202: {
            "model": PortalAnswer,
            "description": "Stripe has not answered; retry with the same key",
        },
        **responses("PLATFORM_ERROR", "TEMPORAL_UNAVAILABLE", "TEST_ACCOUNT_ON_LIVE_KEY", *KEYED),
    },
)
async def open_portal(
    body: Annotated[PortalBody, optional_body(PortalBody)], call: BillingCall, once: OptionalKey
) -> Response:
    """Open Stripe's own pages for the account: its cards and what it paid.

    Stripe's events bring a card removed or renewed there up to date here.
    """
    check_return(call, body.return_url)
    async with once.claim(call) as claim:
        await need_provider(call, claim)
        name = ids.encode(ids.PORTAL_SESSION, claim.resource_id)
        await wait_until_done(call, await _begin(call, claim, body), name)
        async with call.transaction() as connection:
            visit = await portal.get(connection, claim.resource_id)
        if visit.status == "refused":
            raise ProviderFailure("PLATFORM_ERROR", "the payment provider did not open a portal")
        return claim.answer(202 if visit.status == "pending" else 201, PortalAnswer.of(visit))


async def _begin(call: AccountCall, claim: Claim, body: PortalBody) -> Matter:
    """Return the account's matter with the portal request, new or from an earlier try."""
    async with call.transaction() as connection:
        return await portal.start(
            connection,
            call.account.id,
            claim.resource_id,
            body.return_url or call.services.pay_links.back,
            await clock.now(connection, call.account.id),
        )
