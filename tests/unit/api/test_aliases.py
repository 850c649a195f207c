"""Older spellings of a path reach the same handler, without a redirect."""

import httpx2
import pytest
from fastapi import FastAPI
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.aliases import ALIASES, AliasMiddleware
from api.document.openapi import api_routes
from api.routes.base import PREFIX

TABLE = {
    ("POST", "/billing/subscribe"): "/billing/subscription",
    ("GET", "/billing/invoices/{id}/download_pdf"): "/billing/invoices/{id}/pdf",
}


async def nothing(scope: object, receive: object, send: object) -> None:
    raise AssertionError


@pytest.mark.parametrize(
    ("method", "path", "canonical"),
    [
        ("GET", "/health/", "/health"),
        ("GET", "/", "/"),
        ("GET", "//", "/"),
        ("POST", "/api/v1/billing/purchases/", "/api/v1/billing/purchases"),
        ("GET", "/api/billing", "/api/v1/billing"),
        ("GET", "/api/billing/", "/api/v1/billing"),
        ("POST", "/api/billing/trials", "/api/v1/billing/trials"),
        ("GET", "/api/billing/purchases/pur_1/", "/api/v1/billing/purchases/pur_1"),
        ("GET", "/api/billingx", "/api/billingx"),
        ("POST", "/api/v1/billing/subscribe/", "/api/v1/billing/subscription"),
        ("POST", "/api/billing/subscribe", "/api/v1/billing/subscription"),
        ("GET", "/api/v1/billing/subscribe", "/api/v1/billing/subscribe"),
        ("GET", "/api/v1/billing/invoices/i1/download_pdf/", "/api/v1/billing/invoices/i1/pdf"),
        ("GET", "/api/v1/billing/invoices/a/b/download_pdf",
         "/api/v1/billing/invoices/a/b/download_pdf"),
    ],
)  # fmt: skip
def test_a_spelling_has_one_canonical_path(method: str, path: str, canonical: str) -> None:
    assert AliasMiddleware(nothing, TABLE).canonical(method, path) == canonical


# Calls on invoices and money as the sources spell them, which ours differs from.
SPELLED = """
GET  /api/v1/billing/invoices/inv_1/download_pdf/
GET  /api/v1/billing/download-invoice/inv_1/
GET  /api/v1/billing/invoices/inv_1/pdf
GET  /api/v1/billing/invoices/
GET  /api/v1/billing/payments/
POST /api/v1/billing/payments/manual/
GET  /api/v1/billing/payment-methods/available/
POST /api/v1/billing/payment-methods/
POST /api/v1/billing/payment-methods/mth_1/set_default/
GET  /api/v1/billing/plans/
GET  /api/v1/billing/subscription/
PUT  /api/v1/billing/subscription/
POST /api/v1/billing/subscribe/
POST /api/v1/billing/cancel/
POST /api/v1/billing/preview-invoice/
POST /api/v1/billing/apply-coupon/
GET  /api/v1/billing/credit-packages/
POST /api/v1/billing/credit-packages/small/purchase/
GET  /api/v1/billing/transactions/
GET  /api/v1/billing/credits/transactions/
POST /api/billing/purchases
GET  /api/billing/purchases/pur_1
"""


@pytest.mark.parametrize("call", SPELLED.strip().splitlines())
async def test_a_call_of_the_sources_is_served(client: httpx2.AsyncClient, call: str) -> None:
    method, path = call.split()
    assert (await client.request(method, path)).status_code == 401


async def test_a_slash_at_the_end_needs_no_redirect(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/api/v1/meta/features/")
    assert answer.status_code == 200


async def test_each_read_of_usage_is_served_below_the_older_paths(
    app: FastAPI, client: httpx2.AsyncClient
) -> None:
    reads = [
        route.path_format.removeprefix(f"{PREFIX}/usage/")
        for route in api_routes(app)
        if "GET" in (route.methods or ()) and route.path_format.startswith(f"{PREFIX}/usage/")
    ]
    assert {"current", "forecast", "recommendations", "budgets", "alerts"} <= set(reads)
    for read in reads:
        for older in ("/api/v1/billing/usage", "/api/billing/credits/usage"):
            answer = await client.get(f"{older}/{read}/")
            assert answer.status_code == 401, f"{older}/{read}"


@pytest.mark.parametrize(
    ("method", "routed"),
    [("GET", b"limit=2&account_id=&user_id="), ("POST", b"limit=2&account_id=&user_id=&status=")],
)
async def test_a_filter_without_a_value_is_none_but_of_whose_rows_it_is_or_in_a_write(
    method: str, routed: bytes
) -> None:
    seen: list[bytes] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["query_string"])
        await Response()(scope, receive, send)

    transport = httpx2.ASGITransport(app=AliasMiddleware(app))
    async with httpx2.AsyncClient(transport=transport, base_url="http://api") as client:
        await client.request(method, "/?limit=2&account_id=&user_id=&status=")
    assert seen == [routed]


def test_every_alias_leads_to_a_route_and_hides_none(app: FastAPI) -> None:
    served = {
        (method, route.path_format) for route in api_routes(app) for method in route.methods or ()
    }
    shapes = {(method, _bare(path)) for method, path in served}
    for (method, path), canonical in ALIASES.items():
        assert (method, _bare(PREFIX + canonical)) in shapes, path
        assert (method, _bare(PREFIX + path)) not in shapes, path


def _bare(path: str) -> str:
    """The path with every parameter called the same."""
    return "/".join("{}" if piece.startswith("{") else piece for piece in path.split("/"))
