"""Rows of a batch refused while a part of the service is away say that they may come again."""

from typing import Any

import pytest

from api.monitoring import health_checks
from tests.integration.pricing.conftest import TERMS, Priced, named


def told(answer: Any) -> list[tuple[Any, ...]]:
    return [(row["status"], row.get("code"), row.get("retry")) for row in answer["results"]]


async def test_rows_wait_for_the_product_service_and_others_do_not(priced: Priced) -> None:
    away, unknown, shop = named(), named(), await priced.shop()
    priced.service.answers[away] = 500
    rows = [
        {"product_id": away, "usage_amount": "1", "event_id": "a"},
        {"product_id": unknown, "usage_amount": "1", "event_id": "u"},
        {"product_id": unknown, "usage_amount": "-1"},
        {"feature_type": "chat_messages", "usage_amount": "1", "event_id": "f"},
    ]
    assert told(await shop.batch(*rows)) == [
        ("rejected", "PRICING_UNAVAILABLE", True),
        ("rejected", "PRODUCT_PRICING_NOT_FOUND", False),
        ("rejected", "VALIDATION_FAILED", False),
        ("recorded", None, None),
    ]
    priced.service.answers[away] = TERMS
    priced.forget()
    assert [status for status, *_ in told(await shop.batch(*rows))] == [
        "recorded", "rejected", "rejected", "duplicate",
    ]  # fmt: skip


async def test_rows_for_a_card_wait_for_temporal(
    priced: Priced, monkeypatch: pytest.MonkeyPatch
) -> None:
    product, shop = named(), await priced.shop()
    priced.service.answers[product] = TERMS

    async def away(services: Any, name: str) -> health_checks.PartHealth:
        return health_checks.PartHealth(status="unhealthy", milliseconds=1)

    monkeypatch.setattr(shop.api.app.state.services.health, "part", away)
    charged = {"product_id": product, "usage_amount": "9", "billing_method": "payment_charge"}
    answer = await shop.batch(
        charged | {"event_id": "c"}, {"feature_type": "chat_messages", "usage_amount": "1"}
    )
    assert told(answer) == [("rejected", "TEMPORAL_UNAVAILABLE", True), ("recorded", None, None)]
