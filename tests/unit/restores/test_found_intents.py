"""Payments that a restored database finds at Stripe are in our own units."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
import stripe

from gateways.stripe_history import StripeHistory


class Page:
    """One page of one payment."""

    def __init__(self, **fields: Any) -> None:
        none = dict.fromkeys((
            "description", "setup_future_usage", "last_payment_error", "next_action",
            "latest_charge", "payment_method", "client_secret",
        ))  # fmt: skip
        known = {
            "id": "pi_1",
            "status": "canceled",
            "created": 1,
            "amount_received": 0,
            "metadata": {},
        }
        self.intent = stripe.PaymentIntent.construct_from(none | known | fields, "key")

    async def auto_paging_iter(self) -> AsyncIterator[stripe.PaymentIntent]:
        yield self.intent


@pytest.mark.parametrize(
    ("sent", "currency", "minor"),
    [(4900, "usd", 4900), (10_000, "isk", 100), (200_000, "ugx", 2000), (500, "mga", 50_000)],
)
async def test_an_amount_is_counted_as_iso_counts_it(sent: int, currency: str, minor: int) -> None:
    async def list_async(_: Any) -> Page:
        return Page(amount=sent, currency=currency)

    client: Any = SimpleNamespace(
        v1=SimpleNamespace(payment_intents=SimpleNamespace(list_async=list_async))
    )
    [found] = await StripeHistory(client).intents(datetime(2027, 1, 1, tzinfo=UTC))
    assert (found.amount_minor, found.currency) == (minor, currency.upper())
