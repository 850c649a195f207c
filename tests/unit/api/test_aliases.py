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
