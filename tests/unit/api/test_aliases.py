"""Older spellings of a path reach the same handler, without a redirect."""

import httpx2
import pytest
from fastapi import FastAPI

from api.aliases import ALIASES, AliasMiddleware
from api.openapi import api_routes
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
