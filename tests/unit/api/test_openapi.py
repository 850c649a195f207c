"""The OpenAPI document is complete: a generated client can do everything and expect every error."""

import ast
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from api.answers.problem_codes import NOT_OF_A_ROUTE, is_temporary
from api.app import create_app
from api.document.openapi import api_routes
from api.gates import EveryGate, OperatorGate, TenantGate
from api.requests.fastapi_internals import dependency_calls
from api.routes.base import PREFIX
from billing.core.error_codes import CODES
from tests.api_document import APP, DOCUMENT
from tests.unit.api.conftest import lonely_settings

ROOT = Path(__file__).parents[3]
GATES = (OperatorGate, TenantGate)
WIDE = frozenset({"after", "amount", "price"})
"""Integers of bigint columns, as those of money are."""
# Routes that need no token, each for its reason [A2].
OPEN = {
    "/health": "for supervisors",
    "/health/detailed": "redacted",
    f"{PREFIX}/info": "names only",
    f"{PREFIX}/meta/features": "declared public",
    f"{PREFIX}/webhooks/stripe": "signed",
    f"{PREFIX}/webhooks/paypal": "signed",
}
OPERATIONS = [
    pytest.param(path, method, operation, id=f"{method} {path}")
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
]


def examples(operation: dict[str, Any]) -> dict[str, int]:
    """The codes an operation documents, with their statuses."""
    return {
        code: int(status)
        for status, answer in operation["responses"].items()
        for code in answer.get("content", {})
        .get("application/problem+json", {})
        .get("examples", {})
    }


def test_a_refused_row_of_a_batch_says_whether_it_may_come_again() -> None:
    assert "retry" in DOCUMENT["components"]["schemas"]["RowAnswer"]["properties"]
    assert all(map(is_temporary, ("PRICING_UNAVAILABLE", "RATE_LIMITED")))
    assert not any(map(is_temporary, ("QUOTA_EXCEEDED", "EVENT_TOO_OLD", "INSUFFICIENT_CREDITS")))


def test_every_route_is_described() -> None:
    described = {(path, method) for path, many in DOCUMENT["paths"].items() for method in many}
    served = {
        (route.path_format, method.lower())
        for route in api_routes(APP)
        for method in route.methods or ()
    }
    assert served == described


@pytest.mark.parametrize("route", api_routes(APP), ids=lambda route: route.path)
def test_every_route_has_a_gate_unless_it_is_open_for_a_reason(route: APIRoute) -> None:
    guarded = any(isinstance(gate, GATES) for gate in dependency_calls(route))
    assert guarded is (route.path not in OPEN)


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_an_operation_says_what_it_does_and_how_it_fails(
    path: str, method: str, operation: dict[str, Any]
) -> None:
    assert operation["description"].strip()
    assert operation["operationId"]
    if path in OPEN:
        return
    assert operation["security"] == [{"bearer": []}]
    assert examples(operation).keys() >= {
        "UNAUTHENTICATED", "FORBIDDEN", "VALIDATION_FAILED", "RATE_LIMITED", "INTERNAL",
        "DATABASE_UNAVAILABLE", "UNAVAILABLE", "BAD_REQUEST",
    }  # fmt: skip
    if "requestBody" in operation:
        assert examples(operation).keys() >= {"INVALID_JSON", "BODY_TOO_LARGE", "REQUEST_TIMEOUT"}
    assert "RateLimit-Remaining" in operation["responses"]["429"]["headers"]
    for code, status in examples(operation).items():
        assert status in (CODES[code].status, CODES[code].on_manual)
    success = [
        answer
        for status, answer in operation["responses"].items()
        if status < "3" and status != "204"
    ]
    assert success
    assert all(answer.get("content") for answer in success), "every answer has a schema"


@pytest.mark.parametrize("route", api_routes(APP), ids=lambda route: route.path)
def test_a_route_of_an_account_says_how_it_finds_none(route: APIRoute) -> None:
    method = min(route.methods or ())
    said = examples(DOCUMENT["paths"][route.path_format][method.lower()]).keys()
    gates = [gate for gate in dependency_calls(route) if isinstance(gate, TenantGate)]
    if gates:
        assert said >= {"MERCHANT_NOT_FOUND", "PLATFORM_MISMATCH"}
        assert ("ACCOUNT_REQUIRED" in said) is not isinstance(gates[0], EveryGate)


ONE_OF_ITS_FIELDS = frozenset({"advance_clock", "change_subscription", "preview_change"})
"""Operations that take no empty body: one of its fields must be said, whichever."""


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_a_body_without_required_fields_may_be_left_out(
    path: str, method: str, operation: dict[str, Any]
) -> None:
    body = operation.get("requestBody")
    if body is None or operation["operationId"] in ONE_OF_ITS_FIELDS:
        return
    schema = body["content"]["application/json"]["schema"]
    while "$ref" in schema:
        schema = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if "anyOf" not in schema:
        assert body.get("required", False) is bool(schema.get("required"))


def test_no_id_of_a_rule_is_in_the_document() -> None:
    assert re.findall(r"\[[A-Z]\d+[^]]{0,20}\]", json.dumps(DOCUMENT)) == []


def integers(schema: dict[str, Any], name: str) -> Iterator[tuple[str, float]]:
    """The integers that a request may name, with the highest value of each."""
    if "$ref" in schema:
        schema = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if schema.get("type") == "integer":
        yield name, schema.get("maximum", schema.get("exclusiveMaximum", math.inf))
    for one in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from integers(one, name)
    for key, one in schema.get("properties", {}).items():
        yield from integers(one, key)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from integers(schema[key], name)


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_an_integer_of_a_request_fits_into_its_column(
    path: str, method: str, operation: dict[str, Any]
) -> None:
    """Above it the database fails, and the answer is 500."""
    found = [
        one
        for asked in operation.get("parameters", ())
        for one in integers(asked["schema"], asked["name"])
    ]
    for content in operation.get("requestBody", {}).get("content", {}).values():
        found += integers(content["schema"], "")
    for name, highest in found:
        wide = name in WIDE or name.endswith(("_cents", "_minor"))
        assert highest < (2**63 if wide else 2**31), f"{method} {path}: {name}"


def test_operations_have_names_of_their_own() -> None:
    names = [
        operation["operationId"]
        for many in DOCUMENT["paths"].values()
        for operation in many.values()
    ]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("route", api_routes(APP), ids=lambda route: route.path)
def test_routes_on_an_account_say_how_to_name_it(route: APIRoute) -> None:
    for method in route.methods or ():
        operation = DOCUMENT["paths"][route.path_format][method.lower()]
        headers = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "header"}
        named = any(isinstance(gate, TenantGate) for gate in dependency_calls(route))
        assert ("X-Account-Id" in headers) is named


def test_every_code_that_is_raised_is_in_the_table() -> None:
    """Looks for `SomeError("UPPER_SNAKE", …)`, and for what gateways say of a provider."""
    families = {
        "BillingError", "NotFound", "NotAllowed", "Invalid", "Conflict", "PaymentRequired",
        "ProviderFailure", "Unavailable", "row_id",
    }  # fmt: skip
    raised: dict[str, str] = {}
    for folder in ("api", "billing", "activities", "gateways"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") in families:
                    first = node.args[0] if node.args else None
                    if isinstance(first, ast.Constant) and isinstance(first.value, str):
                        raised[first.value] = path.name
    assert raised
    assert {code: at for code, at in raised.items() if code not in CODES} == {}
    gateways = "".join(path.read_text() for path in (ROOT / "gateways").glob("*.py"))
    assert set(re.findall(r'"(PROVIDER_[A-Z_]+)"', gateways)) - CODES.keys() == set()


def test_every_code_is_an_answer_of_a_route_or_says_where_it_is_read() -> None:
    operations = [one for many in DOCUMENT["paths"].values() for one in many.values()]
    answered = {code for operation in operations for code in examples(operation)}
    assert CODES.keys() - answered == NOT_OF_A_ROUTE.keys()


async def test_the_page_of_the_document_needs_no_other_host(client: httpx2.AsyncClient) -> None:
    page = await client.get("/docs")
    assert "http" not in page.text.replace("<!doctype html>", "")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    for asset in ("static/swagger-ui.css", "static/swagger-ui-bundle.js", "page.js"):
        assert f"/docs/{asset}" in page.text
        assert (await client.get(f"/docs/{asset}")).status_code == 200
    script = (await client.get("/docs/page.js")).text
    assert "validatorUrl: null" in script
    url = json.loads(script.split("url: ")[1].split(",")[0])
    assert (await client.get(url)).json() == DOCUMENT


async def test_metrics_are_not_on_this_port(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/metrics")).status_code == 404


async def test_billing_switched_off_closes_what_customers_use_and_says_so() -> None:
    app: FastAPI = create_app(lonely_settings(billing_enabled=False))
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://api") as client:
        assert (await client.get(f"{PREFIX}/meta/features")).json()["billingEnabled"] is False
        assert (await client.get(f"{PREFIX}/info")).json()["capabilities"] == []
        assert (await client.get(f"{PREFIX}/admin/accounts")).status_code == 401
        assert (await client.get(f"{PREFIX}/admin/quotas")).status_code == 401
        for act in (
            "/billing/reconcile", "/admin/reconcile", "/billing/records/bil_1/void",
            "/billing/payments/manual",
        ):  # fmt: skip
            assert (await client.post(PREFIX + act)).status_code == 401, act
        assert (await client.post(f"{PREFIX}/webhooks/stripe")).status_code == 400
        assert (await client.post("/api/billing/purchases")).status_code == 404
        assert (await client.post(f"{PREFIX}/usage/record")).status_code == 404
        assert (await client.post(f"{PREFIX}/usage/batch")).status_code == 404
        assert (await client.get("/health")).status_code == 503, "its database is not there"


NOT_FILTERS = {
    "cursor": "a place, checked by its list",
    "moves_cursor": "a place, checked by its list",
    "q": "a part of a text: an empty one is in each",
    "country": "one of a list of codes",
}
_CHECKED = frozenset({"enum", "pattern", "format", "const", "minLength"})


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_no_filter_is_empty_for_that_would_mean_all(
    path: str, method: str, operation: dict[str, Any]
) -> None:
    for sent in operation.get("parameters", []):
        if sent["in"] == "query" and sent["name"] not in NOT_FILTERS:
            for schema in sent["schema"].get("anyOf", [sent["schema"]]):
                assert schema.get("type") != "string" or _CHECKED & set(schema), sent["name"]


def test_an_agreement_that_ends_answers_nothing_and_says_so() -> None:
    put = DOCUMENT["paths"]["/api/v1/admin/price-overrides"]["put"]
    assert put["responses"]["204"]["description"] == "The agreement is ended"


def test_names_that_many_routes_share_are_described() -> None:
    fields, parameters = dict[str, set[str]](), dict[str, set[str]]()
    for schema in DOCUMENT["components"]["schemas"].values():
        for name, field in schema.get("properties", {}).items():
            fields.setdefault(name, set()).add(field.get("description", ""))
    for operations in DOCUMENT["paths"].values():
        for operation in operations.values():
            for one in operation.get("parameters", ()):
                parameters.setdefault(one["name"], set()).add(one.get("description", ""))
    for name in ("access", "platform", "currency", "account_id", "passes_at"):
        assert "" not in fields[name], name
    for name in ("Idempotency-Key", "X-Account-Id", "cursor", "limit", "page", "offset"):
        assert "" not in parameters[name], name
