"""A production tells strangers that it lives, and no more."""

from functools import cache
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from api.app import create_app
from api.routes.base import PREFIX
from tests.unit.api.conftest import SECRET, lonely_settings
from tests.unit.api.forging import signed
from tests.unit.api.test_guide import Page

PAGES = (
    "/guide",
    "/guide/runbook",
    "/docs",
    "/docs/page.js",
    "/docs/static/swagger-ui.css",
    f"{PREFIX}/openapi.json",
)
PRODUCTION: dict[str, Any] = {
    "env": "production",
    "stripe_secret_key": "sk_live_of_our_own",
    "stripe_publishable_key": "pk_live_of_our_own",
    "stripe_webhook_secret": "whsec_of_our_own",
    "BILLING_PUBLIC_URL": "https://billing.example",
    "BILLING_RETURN_URL_HOSTS": "shop.example",
    "BILLING_PAY_LINK_SECRET": "a-secret-of-our-own",
    "BILLING_ALLOW_HS256": True,
    "jwt_secret": SECRET,
    "BILLING_HOSTS": "api",
    "database_operator_url": "postgresql+psycopg://other@127.0.0.1:1/none",
}


def calling(app: FastAPI) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://api")


def bearer(*roles: str, account: str = "*") -> dict[str, str]:
    return {"Authorization": f"Bearer {signed(roles=list(roles), account_id=account)}"}


@cache
def in_production() -> FastAPI:
    """The API as production has it; it takes a second to make."""
    return create_app(lonely_settings(**PRODUCTION))


MORE = ("/docs/", "/health/detailed", "/health/detailed/", f"{PREFIX}/openapi.json?x=1")


@pytest.mark.parametrize("page", [*PAGES, *MORE])
async def test_what_tells_about_the_service_is_for_operators_in_production(page: str) -> None:
    async with calling(in_production()) as client:
        refused = await client.get(page)
        assert (refused.status_code, refused.json()["code"]) == (401, "UNAUTHENTICATED")
        assert refused.headers["WWW-Authenticate"] == "Bearer"
        other = await client.get(page, headers=bearer("billing", account="shop-1"))
        assert (other.status_code, other.json()["code"]) == (403, "FORBIDDEN")
        if "health" not in page:  # which waits for parts that are not there
            for role in ("admin", "service"):
                assert (await client.get(page, headers=bearer(role))).status_code == 200
        assert (await client.get("/health")).status_code == 503  # its database is not there
        assert (await client.get(f"{PREFIX}/info")).status_code == 200


@pytest.mark.parametrize("page", ["/docs", "/guide", "/health/detailed", f"{PREFIX}/openapi.json"])
async def test_a_closed_page_is_not_written_with_a_body_either(page: str) -> None:
    async with calling(in_production()) as client:
        answer = await client.post(page, json={}, headers=bearer("admin"))
        assert (answer.status_code, answer.json()["code"]) == (405, "METHOD_NOT_ALLOWED")


async def test_what_payers_and_passers_by_open_is_open_in_production_and_leads_to_open_pages() -> (
    None
):
    async with calling(in_production()) as client:
        for path in ("/", "/pay/back"):
            answer = await client.get(path)
            assert answer.status_code == 200, path
            for lead in Page(answer.text).leads:
                assert (await client.get(lead)).status_code not in (401, 403, 404), lead


async def test_payers_come_back_while_billing_is_switched_off() -> None:
    async with calling(create_app(lonely_settings(billing_enabled=False))) as client:
        assert (await client.get("/pay/back")).status_code == 200
        for method in ("GET", "POST"):
            closed = await client.request(method, "/pay/some-token")
            assert (closed.status_code, "Payments are closed" in closed.text) == (404, True)


async def test_elsewhere_they_are_open(client: httpx2.AsyncClient) -> None:
    for page in PAGES:
        assert (await client.get(page)).status_code == 200


async def test_a_live_key_has_no_test_accounts() -> None:
    body = {"external_id": "shop-1", "is_test": True}
    async with calling(in_production()) as client:
        accounts = f"{PREFIX}/admin/accounts"
        refused = await client.post(accounts, json=body, headers=bearer("admin"))
        assert (refused.status_code, refused.json()["code"]) == (409, "TEST_ACCOUNT_ON_LIVE_KEY")
        # A real one is taken as far as the database, which is not there.
        body["is_test"] = False
        taken = await client.post(accounts, json=body, headers=bearer("admin"))
        assert (taken.status_code, taken.json()["code"]) == (503, "DATABASE_UNAVAILABLE")
