"""A Temporal that answers late is busy; one that was not heard for a while is away; one that closes
a connection is neither.
"""

import asyncio
from types import SimpleNamespace
from typing import Any, Final, cast

import pytest
from prometheus_client import REGISTRY
from sqlalchemy.exc import SQLAlchemyError
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.service import RPCError, RPCStatusCode

from api.monitoring import gauges, health_checks
from api.monitoring.health_checks import HealthChecks, Stack, StripeUnwell

PATIENCE: Final = 0.02
BUSY: Final = 0.3


class Database:
    def operator(self) -> None:
        raise SQLAlchemyError("it is not asked here")


class Temporal:
    """Answers when asked for its namespace, or not at all, or cancels calls, as it does with those
    on a connection that it closes, or says why it refuses them.
    """

    namespace = "ours"

    def __init__(self) -> None:
        self.is_silent = False
        self.cancels = 0
        self.refuses: RPCStatusCode | None = None
        self.workflow_service = self

    async def describe_namespace(self, asked: DescribeNamespaceRequest) -> None:
        assert asked.namespace == self.namespace
        if self.is_silent:
            await asyncio.Event().wait()
        if self.cancels:
            self.cancels -= 1
            raise RPCError("operation was canceled", RPCStatusCode.CANCELLED, b"")
        if self.refuses is not None:
            raise RPCError("refused", self.refuses, b"")


@pytest.fixture
def temporal(monkeypatch: pytest.MonkeyPatch) -> Temporal:
    monkeypatch.setattr(health_checks, "CHECK_SECONDS", PATIENCE)
    monkeypatch.setattr(health_checks, "REMEMBER_SECONDS", 0.0)
    monkeypatch.setattr(health_checks, "BUSY_SECONDS", BUSY)
    return Temporal()


async def test_late_answers_count_as_there_for_a_while(temporal: Temporal) -> None:
    checks, stack = HealthChecks(), cast(Stack, SimpleNamespace(temporal=temporal))

    async def status() -> Any:
        return (await checks.part(stack, "temporal")).status

    assert await status() == "healthy"
    temporal.is_silent = True
    assert await status() == "healthy"
    await asyncio.sleep(BUSY)
    assert await status() == "unhealthy"
    temporal.is_silent = False
    assert await status() == "healthy"


async def test_one_that_never_answered_is_away(temporal: Temporal) -> None:
    temporal.is_silent = True
    stack = cast(Stack, SimpleNamespace(temporal=temporal))
    assert (await HealthChecks().part(stack, "temporal")).status == "unhealthy"


@pytest.mark.parametrize(("cancels", "status"), [(1, "healthy"), (2, "unhealthy")])
async def test_a_call_that_ends_with_its_connection_is_made_again(
    temporal: Temporal, cancels: int, status: str
) -> None:
    temporal.cancels = cancels
    stack = cast(Stack, SimpleNamespace(temporal=temporal))
    assert (await HealthChecks().part(stack, "temporal")).status == status


@pytest.mark.parametrize(
    ("refuses", "status"),
    [
        (RPCStatusCode.NOT_FOUND, "unhealthy"),
        (RPCStatusCode.PERMISSION_DENIED, "unhealthy"),
        (RPCStatusCode.UNAVAILABLE, "unhealthy"),
        (RPCStatusCode.RESOURCE_EXHAUSTED, "healthy"),
    ],
    ids=["no namespace", "no right to it", "not serving", "busy"],
)
async def test_one_that_cannot_start_anything_for_us_is_away(
    temporal: Temporal, refuses: RPCStatusCode, status: str
) -> None:
    temporal.refuses = refuses
    stack = cast(Stack, SimpleNamespace(temporal=temporal))
    assert (await HealthChecks().part(stack, "temporal")).status == status


async def test_one_that_is_busy_after_it_closed_the_connection_is_there(temporal: Temporal) -> None:
    temporal.cancels, temporal.refuses = 1, RPCStatusCode.RESOURCE_EXHAUSTED
    stack = cast(Stack, SimpleNamespace(temporal=temporal))
    assert (await HealthChecks().part(stack, "temporal")).status == "healthy"


@pytest.mark.parametrize(
    ("refuses", "limits"),
    [(None, 0), (RPCStatusCode.RESOURCE_EXHAUSTED, 1), (RPCStatusCode.UNAVAILABLE, 0)],
    ids=["there", "limited", "away"],
)
async def test_a_gauge_says_whether_it_limits_our_calls(
    temporal: Temporal,
    monkeypatch: pytest.MonkeyPatch,
    refuses: RPCStatusCode | None,
    limits: int,
) -> None:
    async def ask_stripe(_: object) -> None:
        """It is there."""

    monkeypatch.setattr(gauges, "EVERY_SECONDS", PATIENCE)
    monkeypatch.setattr(health_checks, "ask_stripe", ask_stripe)
    known = SimpleNamespace(temporal=temporal, database=Database(), settings=None)
    asked = asyncio.Event()
    monkeypatch.setattr(gauges, "STRIPE", SimpleNamespace(set=lambda _: asked.set()))
    for temporal.refuses, shown in ((refuses, limits), (None, 0)):
        async with asyncio.timeout(20 * BUSY), gauges.gauging(cast(Stack, known), HealthChecks()):
            asked.clear()
            await asked.wait()
        assert REGISTRY.get_sample_value("billing_temporal_limits") == shown


async def test_gauges_say_whether_it_and_stripe_are_there(
    temporal: Temporal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gauges, "EVERY_SECONDS", PATIENCE)
    stripe = SimpleNamespace(is_away=False)

    async def ask_stripe(_: object) -> None:
        if stripe.is_away:
            raise StripeUnwell("Stripe answers 500")

    monkeypatch.setattr(health_checks, "ask_stripe", ask_stripe)
    known = SimpleNamespace(temporal=temporal, database=Database(), settings=None)
    stack = cast(Stack, known)

    shown, told = asyncio.Queue[bool](), asyncio.Queue[bool]()
    monkeypatch.setattr(gauges, "TEMPORAL", SimpleNamespace(set=shown.put_nowait))
    monkeypatch.setattr(gauges, "STRIPE", SimpleNamespace(set=told.put_nowait))
    async with asyncio.timeout(20 * BUSY), gauges.gauging(stack, HealthChecks()):
        assert await shown.get()
        temporal.is_silent = True
        while await shown.get():
            pass
        assert await told.get()
        stripe.is_away = True
        while await told.get():
            pass
