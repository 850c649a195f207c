"""Pages of the origins that the operator names call the API from browsers; others do not."""

import httpx2
import pytest

from api.app import create_app
from api.document.openapi import api_routes
from api.routes.base import PREFIX
from tests.unit.api.conftest import lonely_settings

SHOP = "https://shop.example"
STRANGER = "https://stranger.example"
PURCHASES = f"{PREFIX}/billing/purchases"


def calling(origins: str) -> httpx2.AsyncClient:
    app = create_app(lonely_settings(BILLING_CORS_ORIGINS=origins))
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://api")


def asking(origin: str, *headers: str, method: str = "POST") -> dict[str, str]:
    """The question of a browser before the call of a page."""
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": ",".join(sorted(headers)),
    }


async def test_a_page_of_the_shop_may_send_each_header_that_its_token_may_use() -> None:
    async with calling(f"https://other.example, {SHOP}") as client:
        headers = ("authorization", "content-type", "idempotency-key", "traceparent",
                   "x-confirm", "x-correlation-id")  # fmt: skip
        for route in api_routes(create_app(lonely_settings())):
            for method in route.methods or ():
                asked = asking(SHOP, *headers, method=method)
                allowed = await client.options(PURCHASES, headers=asked)
                assert allowed.status_code == 200, method
                assert allowed.headers["Access-Control-Allow-Origin"] == SHOP
                assert "Access-Control-Allow-Credentials" not in allowed.headers
        as_operator = await client.options(PURCHASES, headers=asking(SHOP, "x-account-id"))
        assert as_operator.status_code == 400


async def test_a_page_of_the_shop_reads_answers_and_refusals_with_their_ids() -> None:
    async with calling(SHOP) as client:
        for path in (f"{PREFIX}/info", PURCHASES, "/nothing"):
            answer = await client.get(path, headers={"Origin": SHOP})
            assert answer.headers["Access-Control-Allow-Origin"] == SHOP, path
            assert "origin" in answer.headers["Vary"].lower()
            exposed = answer.headers["Access-Control-Expose-Headers"]
            for name in ("X-Correlation-Id", "Retry-After", "RateLimit-Remaining", "ETag"):
                assert name in exposed
            assert "Idempotent-Replayed" in exposed
            assert answer.headers["X-Correlation-Id"]


@pytest.mark.parametrize("origins", ["", SHOP])
async def test_a_page_of_a_stranger_reads_nothing(origins: str) -> None:
    async with calling(origins) as client:
        refused = await client.options(PURCHASES, headers=asking(STRANGER, "authorization"))
        assert refused.status_code in (400, 405)
        for answer in (refused, await client.get(f"{PREFIX}/info", headers={"Origin": STRANGER})):
            assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize(
    "wrong", [f"{SHOP}/", f"{SHOP}/app", "shop.example", "HTTPS://SHOP.example"]
)
def test_what_no_browser_sends_as_its_origin_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"is not an origin such as https://shop\.example"):
        lonely_settings(BILLING_CORS_ORIGINS=wrong)
