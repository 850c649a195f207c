"""The thread that sends what the spool keeps, again and again, until the API has answered.

A thread rather than a task: platforms call from plain code and from event loops alike.
"""

import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from durable_billing import batches
from durable_billing.answers import Rejected, Verdict
from durable_billing.connection import Connection, pause_seconds
from durable_billing.errors import BillingClientError, ClientClosed
from durable_billing.spool import Refusal, Spool, Waiting

OnRejected = Callable[[Rejected], None]
SLOW_LOOK_SECONDS: Final = 0.05
_logger = logging.getLogger("durable_billing")


class Sender:
    """Sends a spool's events: every `delay_seconds`, and at once when a batch is full."""

    def __init__(
        self,
        spool: Spool,
        connection: Connection,
        *,
        delay_seconds: float,
        on_rejected: OnRejected | None,
    ) -> None:
        self.trouble: BillingClientError | None = None
        """Why nothing goes through just now; None while all is well."""
        self._spool = spool
        self._connection = connection
        self._delay = delay_seconds
        self._on_rejected = on_rejected
        self._added = 0
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._moved = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="durable-billing", daemon=True)
        self._thread.start()

    def added(self, events: int) -> None:
        """Events were kept; a full batch goes at once. A count lost to a race only waits."""
        self._added += events
        if self._added >= batches.MAX_ROWS:
            self._wake.set()

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until the API has answered for all that waits now; False if the time is up."""
        deadline = time.monotonic() + timeout_seconds
        last = self._spool.last()
        self._wake.set()
        with self._moved:
            while self._spool.waiting(last):
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                # Another process may be the one that sends: look again now and then.
                self._moved.wait(min(left, SLOW_LOOK_SECONDS))
        return True

    def stop(self, timeout_seconds: float) -> bool:
        """End the thread after the request under way; False if it does not end in time."""
        self._stopping.set()
        self._wake.set()
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            self._wake.wait(self._delay)
            self._wake.clear()
            self._added = 0
            try:
                self._drain()
            except ClientClosed:
                return
            except BillingClientError as error:
                self._tell(error)
                self._stopping.wait(pause_seconds(error, failures))
                self._wake.set()
                failures += 1
            except Exception as error:  # whatever it is: this thread ends only when told to
                _logger.exception("sending events failed")
                self._stopping.wait(pause_seconds(BillingClientError(str(error)), failures))
                failures += 1
            else:
                failures = 0

    def _drain(self) -> None:
        """Send batch after batch until nothing waits."""
        while not self._stopping.is_set() and self._spool.lease():
            events = self._spool.take(batches.MAX_ROWS, batches.MAX_BYTES)
            if not events:
                return
            verdicts = batches.send(self._connection, [event.body for event in events])
            self._settle(events, verdicts)
            self.trouble = None

    def _settle(self, events: list[Waiting], verdicts: list[Verdict]) -> None:
        refused = [
            Refusal(event.seq, verdict.code or "UNKNOWN", verdict.detail or "")
            for event, verdict in zip(events, verdicts, strict=True)
            if verdict.status == "rejected"
        ]
        numbers = {one.seq for one in refused}
        self._spool.settle([e.seq for e in events if e.seq not in numbers], refused)
        with self._moved:
            self._moved.notify_all()
        if self._on_rejected is not None and refused:
            bodies = {event.seq: event for event in events if event.seq in numbers}
            for one in refused:
                self._report(self._on_rejected, one, bodies[one.seq])

    def _report(self, tell: OnRejected, refusal: Refusal, event: Waiting) -> None:
        rejected = Rejected(
            event.seq, event.event_id, json.loads(event.body), refusal.code, refusal.detail
        )
        try:
            tell(rejected)
        except Exception:  # the caller's code must not stop the sending
            _logger.exception("on_rejected failed; the event is kept in the spool")

    def _tell(self, error: BillingClientError) -> None:
        if str(error) != str(self.trouble):
            _logger.warning("events wait in the spool: %s", error)
        self.trouble = error
