"""The deliverer: posts signed events, at least once, in order per customer, eight at a time.

An event wakes it, so the first try goes out within milliseconds of the commit.
"""

import asyncio
import hashlib
import hmac
import logging

from sandbox import clock, deliveries
from sandbox.bells import Bells
from sandbox.deliveries import Delivery
from sandbox.poster import Poster
from sandbox.settings import Settings
from sandbox.store import Store

AT_ONCE = 8
TIMEOUT_SECONDS = 20.0

logger = logging.getLogger(__name__)


def signature(body: str, secret: str, timestamp: int) -> str:
    """Return the Stripe-Signature header: `t=…,v1=…` over "timestamp.body"."""
    signed = f"{timestamp}.{body}".encode()
    return f"t={timestamp},v1={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}"


class Deliverer:
    """Sends what is due; one per process, its state is the table of deliveries."""

    def __init__(self, store: Store, settings: Settings, bells: Bells) -> None:
        self._store = store
        self._settings = settings
        self._bells = bells
        self._poster = Poster(settings.webhook_url, TIMEOUT_SECONDS)
        self._busy: dict[str, asyncio.Task[None]] = {}
        """One running delivery per lane."""

    async def run_forever(self) -> None:
        """The background task; ends when cancelled; unfinished deliveries stay open."""
        try:
            while True:
                self._start_due()
                due = None if self._busy else deliveries.next_due(self._store)
                waits = None if due is None else due - clock.real()
                await self._bells.wait(self._bells.deliveries, waits)
        finally:
            for task in self._busy.values():
                task.cancel()
            await asyncio.gather(*self._busy.values(), return_exceptions=True)
            await self._poster.close()

    def _start_due(self) -> None:
        if len(self._busy) >= AT_ONCE:
            return
        for delivery in deliveries.due(self._store, clock.real(), self._busy, 2 * AT_ONCE):
            if delivery.lane not in self._busy and len(self._busy) < AT_ONCE:
                self._busy[delivery.lane] = asyncio.create_task(self._deliver(delivery))

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            answer, arrived = await self._post(delivery)
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

    async def _post(self, delivery: Delivery) -> tuple[str, bool]:
        found = self._store.row("SELECT body FROM objects WHERE id = ?", delivery.event)
        if found is None:
            return "the event is gone", True
        body: str = found["body"]
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": signature(body, self._settings.webhook_secret, int(clock.real())),
            "User-Agent": "Stripe/1.0 (sandbox)",
        }
        try:
            status = await self._poster.post(body.encode(), headers)
        except (OSError, TimeoutError) as error:
            return type(error).__name__, False
        return str(status), 200 <= status < 300
