"""Everything of ours that was created at Stripe since an instant, for a restored database."""

from datetime import UTC, datetime
from typing import Any

import stripe
from stripe import StripeClient

from billing.core.currencies import from_provider
from billing.money.restores.schemas import FoundIntent, FoundObject, FoundPage
from gateways.list_limits import PAGE
from gateways.stripe_errors import translated
from gateways.stripe_objects import checkout_session, intent_outcome


class StripeHistory:
    """Lists over all customers, newest first."""

    def __init__(self, client: StripeClient) -> None:
        self._client = client

    async def intents(self, since: datetime) -> list[FoundIntent]:
        """Return PaymentIntents. Errors: Unavailable."""
        async with translated():
            page = await self._client.v1.payment_intents.list_async(_since(since))
            return [_intent(one) async for one in page.auto_paging_iter()]

    async def open_pages(self, since: datetime) -> list[FoundPage]:
        """Return hosted pages on which somebody may still pay. Errors: Unavailable."""
        asked = _since(since) | {"status": "open"}
        async with translated():
            page = await self._client.v1.checkout.sessions.list_async(asked)
            return [
                FoundPage(page=checkout_session(one), metadata=_metadata(one))
                async for one in page.auto_paging_iter()
            ]

    async def customers(self, since: datetime) -> list[FoundObject]:
        """Return customers. Errors: Unavailable."""
        async with translated():
            page = await self._client.v1.customers.list_async(_since(since))
            return [_object(one) async for one in page.auto_paging_iter()]

    async def saved(self, since: datetime) -> list[FoundObject]:
        """Return SetupIntents that saved a card. Errors: Unavailable."""
        async with translated():
            page = await self._client.v1.setup_intents.list_async(_since(since))
            made = [one async for one in page.auto_paging_iter()]
        return [_object(one) for one in made if one.status == "succeeded"]


def _since(since: datetime) -> Any:
    return {"created": {"gte": int(since.timestamp())}, "limit": PAGE}


def _intent(intent: stripe.PaymentIntent) -> FoundIntent:
    currency = intent.currency.upper()
    return FoundIntent(
        intent_id=intent.id,
        outcome=intent_outcome(intent),
        amount_minor=from_provider(intent.amount, currency),
        currency=currency,
        description=intent.description or "",
        metadata=_metadata(intent),
        created_at=datetime.fromtimestamp(intent.created, UTC),
    )


def _object(found: stripe.Customer | stripe.SetupIntent) -> FoundObject:
    return FoundObject(object_id=found.id, metadata=_metadata(found))


def _metadata(
    found: stripe.Customer | stripe.PaymentIntent | stripe.SetupIntent | stripe.checkout.Session,
) -> dict[str, str]:
    return found.metadata.to_dict() if found.metadata else {}
