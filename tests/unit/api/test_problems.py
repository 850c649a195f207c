"""Every refusal has one shape; what broke inside is told to the logs, not to the caller."""

import json
from typing import Any

import httpx2
import psycopg
import pytest
from fastapi import FastAPI
from sqlalchemy import exc as sql
from temporalio.service import RPCError, RPCStatusCode

from api.answers.problem_codes import GENERIC
from api.answers.problems import MEDIA_TYPE
from api.answers.schemas import Body, Credits
from api.routes.base import new_router
from billing.catalog.plans.schemas import Minor
from billing.core.error_codes import CODES
from billing.core.errors import (
    Conflict,
    Invalid,
    NotAllowed,
    NotFound,
    PaymentRequired,
    Unavailable,
)

STANDARD = {"type", "title", "status", "code", "detail", "correlation_id"}


class Payment(Body):
    amount_minor: Minor
    price: Credits


def _deadlock() -> Exception:
    return sql.OperationalError("UPDATE", {}, psycopg.errors.DeadlockDetected("deadlock"))


BREAKS: dict[str, tuple[Exception, int, str]] = {
    "refused": (Conflict("PAYMENT_PENDING", "wait", invoice="inv_1"), 409, "PAYMENT_PENDING"),
    "bug": (KeyError("sk_live_abcdefgh"), 500, "INTERNAL"),
    "runtime": (RuntimeError("password=hunter2"), 500, "INTERNAL"),
    "no-pool": (sql.TimeoutError("pool"), 503, "DATABASE_UNAVAILABLE"),
    "no-postgres": (
        sql.OperationalError("SELECT", {}, psycopg.OperationalError("refused")),
        503,
        "DATABASE_UNAVAILABLE",
    ),
    "postgres-stops": (
        sql.OperationalError("SELECT", {}, psycopg.errors.AdminShutdown("bye")),
        503,
        "DATABASE_UNAVAILABLE",
    ),
    "deadlock": (_deadlock(), 503, "UNAVAILABLE"),
    "constraint": (
        sql.IntegrityError("INSERT", {}, psycopg.errors.CheckViolation("row (a@b.c)")),
        500,
        "INTERNAL",
    ),
    "written-twice": (
        sql.IntegrityError("INSERT", {}, psycopg.errors.UniqueViolation("key (email)=(a@b.c)")),
        503,
        "UNAVAILABLE",
    ),
    "no-temporal": (RPCError("away", RPCStatusCode.UNAVAILABLE, b""), 503, "TEMPORAL_UNAVAILABLE"),
    "late-temporal": (
        RPCError("Timeout expired", RPCStatusCode.CANCELLED, b""),
        503,
        "TEMPORAL_UNAVAILABLE",
    ),
    "never-temporal": (RuntimeError("Failed client connect: x"), 503, "TEMPORAL_UNAVAILABLE"),
    "temporal-bug": (RPCError("no", RPCStatusCode.INVALID_ARGUMENT, b""), 500, "INTERNAL"),
}


@pytest.fixture
def breaking(app: FastAPI) -> FastAPI:
    router = new_router("breaking")

    @router.post("/break/{kind}")
    async def break_it(kind: str) -> None:
        raise BREAKS[kind][0]

    @router.post("/pay")
    async def pay(body: Payment) -> Payment:
        return body

    app.router.routes.extend(router.routes)
    return app


async def post(client: httpx2.AsyncClient, path: str, body: Any = None) -> httpx2.Response:
    return await client.post(f"/api/v1{path}", json=body)


@pytest.mark.parametrize("kind", BREAKS)
async def test_whatever_breaks_has_the_same_shape_and_tells_no_secret(
    breaking: FastAPI, client: httpx2.AsyncClient, kind: str
) -> None:
    _, status, code = BREAKS[kind]
    answer = await post(client, f"/break/{kind}")
    body = answer.json()
    assert (answer.status_code, body["status"], body["code"]) == (status, status, code)
    assert answer.headers["Content-Type"] == MEDIA_TYPE
    assert body.keys() >= STANDARD
    assert body["correlation_id"] == answer.headers["X-Correlation-Id"]
    for secret in ("sk_live", "hunter2", "a@b.c", "Traceback", "deadlock", "psycopg"):
        assert secret not in answer.text
    assert ("Retry-After" in answer.headers) is (status == 503)


async def test_a_refusal_carries_its_own_fields(
    breaking: FastAPI, client: httpx2.AsyncClient
) -> None:
    body = (await post(client, "/break/refused")).json()
    assert body["invoice"] == "inv_1"
    assert body["type"] == "urn:durable-billing:problem:payment-pending"


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({"amount_minor": 1.5, "price": "1"}, "amount_minor", "minor units"),
        ({"amount_minor": 1.0, "price": "1"}, "amount_minor", "minor units"),
        ({"amount_minor": "1", "price": "1"}, "amount_minor", "integer"),
        ({"amount_minor": 1, "price": True}, "price", "must be a number"),
        ({"amount_minor": 1}, "price", "required"),
        ({"amount_minor": 1, "price": "1", "extra": "secret-value"}, "extra", "not permitted"),
        ([], "body", "valid"),
        (None, "body", "required"),
    ],
)
async def test_a_wrong_field_is_named_and_not_repeated(
    breaking: FastAPI, client: httpx2.AsyncClient, body: Any, field: str, words: str
) -> None:
    answer = await post(client, "/pay", body)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "VALIDATION_FAILED")
    assert problem["errors"][0]["field"] == field
    assert words in problem["errors"][0]["message"]
    assert "secret-value" not in answer.text


async def test_text_that_is_not_declared_as_json_is_not_read(
    breaking: FastAPI, client: httpx2.AsyncClient
) -> None:
    body = json.dumps({"amount_minor": 1, "price": "1"})
    answer = await client.post("/api/v1/pay", content=body, headers={"Content-Type": "text/plain"})
    assert answer.status_code == 422


async def test_paths_and_methods_nobody_serves_are_problems_too(
    client: httpx2.AsyncClient,
) -> None:
    missing = await client.get("/api/v1/nothing")
    wrong = await client.delete("/api/v1/meta/features")
    assert (missing.status_code, missing.json()["code"]) == (404, "NOT_FOUND")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "METHOD_NOT_ALLOWED")
    assert wrong.headers["Allow"] == "GET"
    several = await client.delete("/api/v1/billing/subscription")
    assert several.headers["Allow"] == "GET, POST, PUT", "of all routes of the path"
    page = await client.delete("/api/v1/openapi.json")
    assert page.headers["Allow"] == "GET, HEAD", "of a path outside the document, too"


@pytest.mark.parametrize("code", CODES)
def test_a_refusal_has_the_status_of_its_code_whichever_its_class(code: str) -> None:
    classes = (NotFound, NotAllowed, Invalid, Conflict, PaymentRequired, Unavailable)
    assert {one(code).http_status for one in classes} == {CODES[code].status}
    assert Conflict(code, status=418).http_status == 418


def test_each_generic_status_has_a_code_of_that_status() -> None:
    for status, code in GENERIC.items():
        assert CODES[code].status == status
