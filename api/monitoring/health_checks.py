"""The health of each part of the stack, measured in bounded time and at most once a second."""

import asyncio
import logging
from time import monotonic
from typing import Final, Literal, Protocol

import httpx2
from pydantic import Field
from sqlalchemy.exc import SQLAlchemyError
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from api.answers.schemas import Answer
from api.certificates import trusted
from billing.core.database import Database
from billing.core.database_words import database_words
from billing.core.disk_room import has_room
from billing.core.errors import Unavailable
from billing.core.settings import Settings
from billing.insight.health import service as health
from billing.insight.health.schemas import SignState
from billing.platform.processes.service import Pulse

CHECK_SECONDS: Final = 2.0
# Health is public: however many callers ask, each part is checked at most this often.
REMEMBER_SECONDS: Final = 1.0
# A busy Temporal answers late: for this long after its last answer it counts as available.
BUSY_SECONDS: Final = 10.0
STRIPE: Final = "https://api.stripe.com"

# Counting all backlogs reads more than checking whether a part responds.
REMEMBER_SIGNS_SECONDS: Final = 5.0

_logger = logging.getLogger("api.health")

State = Literal["healthy", "unhealthy"]
Part = Literal["postgres", "temporal", "stripe"]


class PartHealth(Answer):
    """One part: its state, and how long it took to respond."""

    status: State = Field(description="`healthy` or `unhealthy`")
    milliseconds: int = Field(description="How long it took to answer")


class Stack(Protocol):
    """The services to check; `temporal` raises `Unavailable` while there is no client."""

    @property
    def database(self) -> Database: ...
    @property
    def pulse(self) -> Pulse: ...
    @property
    def settings(self) -> Settings: ...
    @property
    def temporal(self) -> Client: ...


class StripeUnwell(Exception):
    """Stripe is unavailable or gives no usable answer; the message says which."""


class DiskIsFull(Exception):
    """Postgres has no room for what is new."""


_UNWELL: Final = (
    SQLAlchemyError, RPCError, RuntimeError, OSError, Unavailable, StripeUnwell, DiskIsFull,
)  # fmt: skip


class HealthChecks:
    """The latest answer of each part."""

    def __init__(self) -> None:
        self._known: dict[Part, tuple[float, PartHealth]] = {}
        self._temporal_answered = -BUSY_SECONDS
        self.temporal_limits = False
        """True while Temporal answers, but no further call of ours within its limit."""
        self._locks: dict[Part, asyncio.Lock] = {}
        self._signs: tuple[float, dict[str, SignState]] | None = None
        self._looking = asyncio.Lock()

    async def part(self, stack: Stack, name: Part) -> PartHealth:
        """Return the state of one part, at most a second old."""
        async with self._locks.setdefault(name, asyncio.Lock()):
            known = self._known.get(name)
            if known is None or monotonic() - known[0] > REMEMBER_SECONDS:
                health, why, limits = await _measure(stack, name)
                if why and (known is None or known[1].status == "healthy"):
                    _logger.warning("%s does not answer: %s", name, why)
                if name == "temporal":
                    self.temporal_limits = limits
                    health = self._patiently(health)
                known = self._known[name] = (monotonic(), health)
            return known[1]

    def _patiently(self, health: PartHealth) -> PartHealth:
        """Check Temporal's health; late answers count as those of a busy server for a while."""
        now = monotonic()
        if health.status == "healthy":
            self._temporal_answered = now
        is_late = health.milliseconds >= CHECK_SECONDS * 1000
        if is_late and now < self._temporal_answered + BUSY_SECONDS:
            return health.model_copy(update={"status": "healthy"})
        return health

    async def signs(self, stack: Stack) -> dict[str, SignState]:
        """Return the state of every sign that the database gives; empty while it gives none."""
        async with self._looking:
            known = self._signs
            if known is None or monotonic() - known[0] > REMEMBER_SIGNS_SECONDS:
                known = self._signs = (monotonic(), await _signs(stack.database))
            return known[1]


async def _signs(database: Database) -> dict[str, SignState]:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return {sign.name: sign.state for sign in await health.examine(database)}
    except (SQLAlchemyError, TimeoutError):
        return {}


async def _measure(stack: Stack, name: Part) -> tuple[PartHealth, str, bool]:
    """Return the state of a part, why it is unhealthy, and whether it limits our calls."""
    ask = {"postgres": _postgres, "temporal": _temporal, "stripe": _stripe}[name]
    started = monotonic()
    why, limits = "", False
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            limits = bool(await ask(stack))
    # The SDK's lazy client reports a failed first connection as a bare RuntimeError.
    except _UNWELL as error:
        why = database_words(error)
    milliseconds = round((monotonic() - started) * 1000)
    status: State = "unhealthy" if why else "healthy"
    return PartHealth(status=status, milliseconds=milliseconds), why, limits


async def _postgres(stack: Stack) -> None:
    # The check writes, because a server that cannot write is of no use to a caller. A heartbeat
    # goes where the one before was, so it passes on a full disk too.
    await stack.pulse.beat()
    async with stack.database.tenant() as connection:
        if not await has_room(connection):
            raise DiskIsFull("its disk is full")


async def _temporal(stack: Stack) -> bool:
    try:
        return await _ask_namespace(stack)
    except RPCError:
        # The server closes each connection after some minutes, and may cancel what it carries.
        return await _ask_namespace(stack)


async def _ask_namespace(stack: Stack) -> bool:
    """Return whether Temporal is up and limits our calls."""
    client = stack.temporal
    # The server's own health knows no namespace, and without ours nothing can be started.
    asked = DescribeNamespaceRequest(namespace=client.namespace, weak_consistency=True)
    try:
        await client.workflow_service.describe_namespace(asked)
    except RPCError as error:
        # A busy server puts this off before it refuses a start.
        if error.status is not RPCStatusCode.RESOURCE_EXHAUSTED:
            raise
        return True
    return False


async def ask_stripe(settings: Settings) -> None:
    """Check that Stripe responds and accepts our key. Errors: StripeUnwell with the reason."""
    key = settings.stripe_secret_key.get_secret_value()
    async with httpx2.AsyncClient(
        trust_env=False, timeout=CHECK_SECONDS, verify=trusted()
    ) as client:
        try:
            answer = await client.get(
                f"{settings.stripe_api_base or STRIPE}/v1/events?limit=1",
                headers={"Authorization": f"Bearer {key}"},
            )
        except httpx2.HTTPError as error:
            raise StripeUnwell("Stripe does not answer") from error
    if answer.status_code in (401, 403):
        raise StripeUnwell("Stripe does not accept our key")
    if answer.is_server_error:
        raise StripeUnwell(f"Stripe answers {answer.status_code}")


async def _stripe(stack: Stack) -> None:
    await ask_stripe(stack.settings)
