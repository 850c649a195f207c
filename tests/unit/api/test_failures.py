"""An answer that is an error of ours is counted, told with its code, and logged."""

import logging

import httpx2
import psycopg
import pytest
from fastapi import FastAPI
from prometheus_client import REGISTRY
from sqlalchemy import exc as sql

from api.answers.problems import code_of
from api.monitoring import failures, metrics
from api.monitoring.failures import FailureCount
from api.routes.base import new_router
from api.services import Services
from billing.core.clock import real_now
from billing.core.database_words import database_words
from billing.core.errors import Unavailable
from sandbox.webhooks import signature

ROUTE = "POST /api/v1/billing/purchases"
REFUSED = (
    'connection failed: connection to server at "10.0.0.1", port 5432 failed: FATAL: '
    ' too many connections for role "billing_app"'
)


def away(words: str) -> Exception:
    return sql.OperationalError("SELECT", {}, psycopg.OperationalError(words))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1_000.0]
    monkeypatch.setattr(failures, "monotonic", lambda: now[0])
    return now


def test_only_routes_that_failed_somebody_are_told_for_five_minutes(clock: list[float]) -> None:
    count = FailureCount()
    for status, code in ((200, None), (503, "UNAVAILABLE"), (500, "INTERNAL"), (409, "SUCH")):
        count.note("POST", "/api/v1/billing/purchases", status, code)
    count.note("GET", "/api/v1/billing/plans", 200, None)
    (told,) = count.counts()
    assert (told.route, told.answered, told.failed) == (ROUTE, 4, 2)
    assert told.codes == {"UNAVAILABLE": 1, "INTERNAL": 1}
    assert told.good_at is not None
    assert told.good_at >= told.failed_at
    clock[0] += 280
    assert count.counts() == (told,)
    clock[0] += 30
    assert count.counts() == ()


@pytest.mark.usefixtures("clock")
def test_health_and_parking_fail_nobody() -> None:
    count = FailureCount()
    count.note("GET", "/health", 503, None)
    count.note("POST", "/api/v1/billing/purchases", 503, "BILLING_PARKED")
    assert count.counts() == ()


async def test_an_answer_of_503_is_counted_by_its_code(
    app: FastAPI, client: httpx2.AsyncClient
) -> None:
    router = new_router("breaking")

    @router.post("/break")
    async def break_it() -> None:
        raise away(REFUSED)

    app.router.routes.extend(router.routes)
    assert (await client.post("/api/v1/break")).status_code == 503
    services: Services = app.state.services
    (told,) = services.failures.counts()
    assert (told.route, told.codes) == ("POST /api/v1/break", {"DATABASE_UNAVAILABLE": 1})


async def test_only_what_parking_refuses_is_counted_as_parked(
    app: FastAPI, client: httpx2.AsyncClient
) -> None:
    router = new_router("parked")

    @router.post("/parked")
    async def parked() -> None:
        raise Unavailable("BILLING_PARKED")

    @router.post("/failing")
    async def failing() -> None:
        raise KeyError("a defect")

    app.router.routes.extend(router.routes)

    def counted(route: str, status: str) -> float:
        labels = {"method": "POST", "route": f"/api/v1/{route}", "status": status}
        return REGISTRY.get_sample_value("billing_http_requests_total", labels) or 0

    assert (await client.post("/api/v1/parked")).status_code == 503
    assert (await client.post("/api/v1/failing")).status_code == 500
    assert (counted("parked", "parked"), counted("parked", "503")) == (1, 0)
    assert (counted("failing", "500"), counted("failing", "parked")) == (1, 0)


async def test_the_log_says_why_the_database_refuses(
    app: FastAPI, client: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    router = new_router("breaking")

    @router.post("/break")
    async def break_it() -> None:
        raise away(REFUSED)

    app.router.routes.extend(router.routes)
    with caplog.at_level(logging.WARNING, "api.problems"):
        await client.post("/api/v1/break")
    assert any('too many connections for role "billing_app"' in said for said in caplog.messages)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (away(f"{REFUSED}\n\tmore"), f"OperationalError: {REFUSED}"),
        (
            away(f"Multiple attempts failed. All failures were:\n- host: one\n- {REFUSED}"),
            f"OperationalError: - {REFUSED}",
        ),
        (
            away("Multiple attempts failed. All failures were:\n- refused"),
            "OperationalError: - refused",
        ),
        (sql.TimeoutError("QueuePool limit"), "TimeoutError: QueuePool limit"),
        (
            sql.IntegrityError("x", {}, psycopg.errors.UniqueViolation("twice\nDETAIL: a@b.c")),
            "UniqueViolation: twice",
        ),
        (away(""), "OperationalError"),
    ],
)
def test_the_reason_of_a_database_is_one_line_without_values(error: Exception, words: str) -> None:
    assert database_words(error) == words


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (away("refused"), "DATABASE_UNAVAILABLE"),
        (
            sql.OperationalError("x", {}, psycopg.errors.QueryCanceled("statement timeout")),
            "UNAVAILABLE",
        ),
        (sql.IntegrityError("x", {}, psycopg.errors.UniqueViolation("twice")), "UNAVAILABLE"),
        (
            sql.ProgrammingError("x", {}, psycopg.errors.InsufficientPrivilege("no")),
            "INTERNAL",
        ),
        (Unavailable("UNAVAILABLE", "wait"), "UNAVAILABLE"),
        (KeyError("x"), "INTERNAL"),
    ],
)
async def test_a_delivery_that_fails_is_counted_by_the_code_of_its_answer(
    app: FastAPI, error: Exception, code: str
) -> None:
    services: Services = app.state.services
    labels = {"provider": "stripe", "outcome": code}
    name = "billing_webhook_deliveries_total"
    before = REGISTRY.get_sample_value(name, labels) or 0
    with pytest.raises(type(error)), services.deliveries.counting("stripe"):
        raise error
    (told,) = services.deliveries.counts()
    assert (told.outcome, told.count) == (code, 1)
    assert code_of(error) == code
    assert REGISTRY.get_sample_value(name, labels) == before + 1


@pytest.mark.parametrize(
    ("header", "outcome"),
    [
        (None, "stranger"),
        ("v1=abc", "stranger"),
        ("t={now}", "stranger"),
        ("t=12,v1=abc", "stranger"),
        ("t={now},v1=abc", "INVALID_SIGNATURE"),
    ],
)
async def test_what_anybody_can_post_is_counted_as_a_strangers(
    client: httpx2.AsyncClient, app: FastAPI, header: str | None, outcome: str
) -> None:
    signature = header.format(now=int(real_now().timestamp())) if header else ""
    answer = await client.post(
        "/api/v1/webhooks/stripe", content=b"{}", headers={"Stripe-Signature": signature}
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_SIGNATURE")
    (told,) = app.state.services.deliveries.counts()
    assert told.outcome == outcome


async def test_a_signed_delivery_out_of_its_time_is_the_providers_own(
    client: httpx2.AsyncClient, app: FastAPI
) -> None:
    secret = app.state.services.settings.webhook_secrets[0]
    signed = signature("{}", secret, int(real_now().timestamp()) - 900)
    await client.post(
        "/api/v1/webhooks/stripe", content=b"{}", headers={"Stripe-Signature": signed}
    )
    (told,) = app.state.services.deliveries.counts()
    assert told.outcome == "INVALID_SIGNATURE", "our clock may be wrong"


def test_a_route_that_answered_well_is_shown_with_no_failures() -> None:
    metrics._kept("GET", "/api/v1/first-failures", "200")
    for status in ("500", "502", "503"):
        labels = {"method": "GET", "route": "/api/v1/first-failures", "status": status}
        assert REGISTRY.get_sample_value("billing_http_requests_total", labels) == 0


@pytest.mark.parametrize("provider", ["stripe", "paypal"])
@pytest.mark.parametrize("outcome", ["taken", "INVALID_SIGNATURE", "DATABASE_UNAVAILABLE"])
def test_a_process_shows_deliveries_before_the_first(provider: str, outcome: str) -> None:
    labels = {"provider": provider, "outcome": outcome}
    found = REGISTRY.get_sample_value("billing_webhook_deliveries_total", labels)
    assert found is not None
