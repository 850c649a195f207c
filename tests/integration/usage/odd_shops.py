"""Shops of every sort that recording treats by itself, side by side in one statement."""

import random
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import text

from tests.integration.usage.conftest import V1, NewShop, Shop
from tests.integration.usage.test_agreed_limits import agree
from tests.integration.usage.test_scopes import TOKENS
from tests.integration.usage.test_scopes import grant as grant_for

NOW: Final = datetime(2027, 3, 10, 15, 30, tzinfo=UTC)
ZONES: Final = ("UTC", "Europe/Berlin", "Pacific/Chatham")
SORTS: Final = (
    "plain", "plain", "told", "poor", "scoped", "quoted", "ample", "ample", "rolling",
    "capped", "agreed", "refilled", "subscriber", "limited", "noticed",
)  # fmt: skip
CLAIMED: Final = "claimed"
"""The event of five AI responses that each of them claimed beforehand."""
QUOTAS: Final[dict[str, list[tuple[str, dict[str, Any]]]]] = {
    "quoted": [("12", {})],
    "ample": [
        ("3000", {}),
        ("900", {"user_id": "ann", "window": "day", "alert_percents": [50]}),
        ("20", {"organization_id": "acme", "hard": False, "feature_type": "impressions"}),
        ("20000", {"service_type": "mcp_service", "window": "cycle"}),
        ("10000", {"service_type": "mcp_service", "window": "day", "alert_percents": []}),
    ],
    "rolling": [
        ("3000", {"window": "rolling", "span_seconds": 3600}),
        ("3000", {"feature_type": "impressions"}),
    ],
}
_TOP_UP: Final = text(
    "WITH wish AS (UPDATE credit_balances SET top_up_below = :below WHERE account_id = :id)"
    " INSERT INTO top_up_settings (account_id, is_enabled, threshold, pack, updated_at)"
    " VALUES (:id, true, :below, 'small', :at)"
)


async def shop_of(sort: str, new_shop: NewShop, rnd: random.Random) -> Shop:
    """A shop with credits in several lots, and what makes it odd."""
    shop = await new_shop(is_test=True, clock_at=NOW.isoformat(), zone=rnd.choice(ZONES))
    lots = [("1.5", True), ("2", False), ("0.25", True), ("3000", True)]
    for amount, paid in lots[:3] if sort == "poor" else lots:
        await shop.grant(amount, paid=paid)
    claim = {"requested_amount": "5", "feature_type": "ai_responses", "event_id": CLAIMED}
    answer = await shop.post("/quota/check", claim | {"consume": True})
    assert answer.status_code == 200, answer.text
    for limit, fields in QUOTAS.get(sort, ()):
        await shop.quota(limit, **fields)
    if sort in ("told", "capped"):
        beyond = {"then": "block"} if sort == "capped" else {}
        answer = await shop.api.client.put(
            f"{V1}/usage/budgets", json={"limit": "4", "measure": "credits"} | beyond,
            headers=shop.headers(),
        )  # fmt: skip
        assert answer.status_code == 200, answer.text
    elif sort == "scoped":
        await grant_for(shop, "5", TOKENS)
    elif sort == "agreed":
        price = {
            "account_id": shop.account["id"], "product": "gpt-4", "terms": {"unit_price": "0.001"},
        }  # fmt: skip
        path = f"{V1}/admin/price-overrides"
        answer = await shop.api.client.put(path, json=price, headers=shop.api.admin())
        assert answer.status_code == 200, answer.text
    elif sort == "refilled":
        async with shop.api.database.operator() as connection:
            await connection.execute(
                _TOP_UP, {"id": shop.id, "below": Decimal("2999.9"), "at": NOW}
            )
    elif sort == "subscriber":
        await shop.subscribe("basic")
    elif sort == "limited":
        await agree(shop, TOKENS, included="1600")
        await agree(shop, "impressions", included="20", then="overage", prices={"USD": "0.01"})
    elif sort == "noticed":
        await agree(shop, TOKENS, included="10", then="notify")
        await agree(shop, "mcp_service", included="100000", then="overage", prices={"USD": "0.01"})
    return shop
