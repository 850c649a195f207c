"""The deliverer: posts signed events, at least once, in order per customer, eight at a time.

An event wakes it, so the first try goes out within milliseconds of the commit.
"""

import asyncio
import hashlib
import hmac
import logging

import httpx2

from sandbox import clock, deliveries
from sandbox.bells import Bells
from sandbox.deliveries import Delivery
from sandbox.settings import Settings
from sandbox.store import Store, dump

AT_ONCE = 8
LOOK_AHEAD = 64
TIMEOUT_SECONDS = 20.0

logger = logging.getLogger(__name__)


def signature(body: str, secret: str, timestamp: int) -> str:
    """The Stripe-Signature header: `t=…,v1=…` over "timestamp.body"."""
    signed = f"{timestamp}.{body}".encode()
    return f"t={timestamp},v1={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}"


class Deliverer:
    """Sends what is due; one per process, its state is the table of deliveries."""

    def __init__(self, store: Store, settings: Settings, bells: Bells) -> None:
        self._store = store
        self._settings = settings
        self._bells = bells
        self._busy: dict[str, asyncio.Task[None]] = {}
        """One running delivery per lane."""

    async def run_forever(self) -> None:
        """The background task; ends when cancelled, with what was under way still open."""
        limits = httpx2.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
        async with httpx2.AsyncClient(
            timeout=TIMEOUT_SECONDS, limits=limits, trust_env=False
        ) as client:
            try:
                while True:
                    self._start_due(client)
                    due = deliveries.next_due(self._store)
                    waits = None if due is None or self._busy else due - clock.real()
                    await self._bells.wait(self._bells.deliveries, waits)
            finally:
                for task in self._busy.values():
                    task.cancel()
                await asyncio.gather(*self._busy.values(), return_exceptions=True)

    def _start_due(self, client: httpx2.AsyncClient) -> None:
        if len(self._busy) >= AT_ONCE:
            return
        limit = LOOK_AHEAD + len(self._busy)
        for delivery in deliveries.due(self._store, clock.real(), limit):
            if delivery.lane in self._busy:
                continue
            task = asyncio.create_task(self._deliver(client, delivery))
            self._busy[delivery.lane] = task
            if len(self._busy) >= AT_ONCE:
                return

    async def _deliver(self, client: httpx2.AsyncClient, delivery: Delivery) -> None:
        try:
            answer, arrived = await self._post(client, delivery)
            with self._store.transaction():
                if arrived:
                    deliveries.delivered(self._store, delivery, answer)
                else:
                    deliveries.failed(self._store, delivery, answer)
        except Exception:
            logger.exception("the delivery of %s broke off; it stays open", delivery.event)
        finally:
            self._busy.pop(delivery.lane, None)
            self._bells.deliveries.set()

    async def _post(self, client: httpx2.AsyncClient, delivery: Delivery) -> tuple[str, bool]:
        event = self._store.get("event", delivery.event)
        if event is None:
            return "the event is gone", True
        body = dump(event)
        stamp = int(clock.real())
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": signature(body, self._settings.webhook_secret, stamp),
            "User-Agent": "Stripe/1.0 (sandbox)",
        }
        try:
            answer = await client.post(
                self._settings.webhook_url, content=body.encode(), headers=headers
            )
        except httpx2.HTTPError as error:
            return type(error).__name__, False
        return str(answer.status_code), 200 <= answer.status_code < 300
