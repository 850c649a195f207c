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
    "capped", "ceilinged", "agreed", "renegotiated", "refilled", "subscriber", "limited", "noticed",
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
BUDGETS: Final[dict[str, list[dict[str, Any]]]] = {
    "told": [{"limit": "4", "measure": "credits"}],
    "capped": [{"limit": "4", "measure": "credits", "then": "block"}],
    "ceilinged": [
        {"limit": "60", "measure": "credits", "then": "block"},
        {"limit": "300", "measure": "meter", "feature_type": "impressions", "window": "month",
            "then": "block"},
        {"limit": "10", "measure": "money", "then": "block"},
    ],
}  # fmt: skip
_REPRICED: Final = text(
    "INSERT INTO price_overrides (id, account_id, product, currency, model, unit_price,"
    " package_size, free_units, tiers, effective_from, effective_to)"
    " SELECT gen_random_uuid(), :id, p.product, 'CREDIT', 'per_unit', p.price, 1, p.free, '[]',"
    "  p.since, p.until"
    " FROM (VALUES"
    "  ('gpt-4', 0.005, 0, :at - interval '1 day', NULL),"
    "  ('gpt-4', 0.004, 0, '1970-01-01', :at - interval '1 day'),"
    "  ('mcp-call', 0, 0, '1970-01-01', NULL),"
    "  ('repriced', 0.7, 2, '1970-01-01', :at - interval '10 hours'))"
    "  AS p(product, price, free, since, until) JOIN products ON key = p.product"
)
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
    for budget in BUDGETS.get(sort, ()):
        answer = await shop.api.client.put(
            f"{V1}/usage/budgets", json=budget, headers=shop.headers()
        )
        assert answer.status_code == 200, answer.text
    if sort in ("agreed", "renegotiated"):
        await _agree_prices(shop, sort)
    elif sort == "scoped":
        await grant_for(shop, "5", TOKENS)
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


async def _agree_prices(shop: Shop, sort: str) -> None:
    """One of a product, or of several, some of which changed lately."""
    if sort == "agreed":
        price = {
            "account_id": shop.account["id"], "product": "gpt-4", "terms": {"unit_price": "0.001"},
        }  # fmt: skip
        path = f"{V1}/admin/price-overrides"
        answer = await shop.api.client.put(path, json=price, headers=shop.api.admin())
        assert answer.status_code == 200, answer.text
        return
    async with shop.api.database.operator() as connection:
        await connection.execute(_REPRICED, {"id": shop.id, "at": NOW})
