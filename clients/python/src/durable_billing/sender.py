"""The thread that sends the events of a spool until the API has answered for each.

A thread and not a task, because plain code and event loops both use the client.
"""

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from durable_billing import batches
from durable_billing.answers import Rejected, Verdict
from durable_billing.connection import Connection, pause_seconds
from durable_billing.errors import BillingClientError, ClientClosed, EventsPutOff
from durable_billing.spool import Refusal, Spool, Waiting

OnRejected = Callable[[Rejected], None]
SLOW_LOOK_SECONDS: Final = 0.05
FAST_CLOCK: Final = timedelta(days=1)
"""An event further ahead of this machine's clock has a wrong date: it would wait for too long."""
_logger = logging.getLogger("durable_billing")


class _Turn:
    """Progress of one pass through a spool; events that were put off are skipped.

    They are retried from the oldest on, after a pause, once the newest has been tried.
    """

    def __init__(self) -> None:
        self.after = 0
        """Events up to this number were tried, and some were put off."""
        self._again: float | None = None
        self._failures = 0

    def begin(self) -> None:
        """Go back to the oldest event once the pause is over."""
        if self._again is not None and time.monotonic() >= self._again:
            self.after, self._again = 0, None

    def put_off(self, last: int) -> None:
        """Leave put-off events up to this number for the next pass."""
        self.after = last

    def end(self) -> None:
        """End the pass; retry put-off events after a pause that grows each time."""
        if not self.after:
            self._failures = 0
        elif self._again is None:
            pause = pause_seconds(EventsPutOff(), self._failures)
            self._again = time.monotonic() + pause
            self._failures += 1


class Sender:
    """Sends a spool's events every `delay_seconds`, and at once when a batch is full."""

    def __init__(
        self,
        spool: Spool,
        connection: Connection,
        *,
        delay_seconds: float,
        on_rejected: OnRejected | None,
    ) -> None:
        self.trouble: BillingClientError | None = None
        """The error that currently holds up events; None if there is none."""
        self._spool = spool
        self._connection = connection
        self._delay = delay_seconds
        self._on_rejected = on_rejected
        self._added = 0
        self._turn = _Turn()
        self._failed = (0, 0)
        """(first event, failures in a row) of the batch that the API last failed on."""
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._moved = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="durable-billing", daemon=True)
        self._thread.start()

    def added(self, events: int) -> None:
        """Count stored events; a full batch is sent at once. A count lost in a race only delays."""
        self._added += events
        if self._added >= batches.MAX_ROWS:
            self._wake.set()

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until the API has answered for all waiting events; False on timeout."""
        deadline = time.monotonic() + timeout_seconds
        last = self._spool.last()
        self._wake.set()
        with self._moved:
            while self._spool.waits(last):
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                # Another process may be the one that sends: look again now and then.
                self._moved.wait(min(left, SLOW_LOOK_SECONDS))
        return True

    def stop(self, timeout_seconds: float) -> bool:
        """Stop the thread after its present request; False on timeout."""
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
            except Exception as error:  # this thread must survive any error
                _logger.exception("sending events failed")
                trouble = BillingClientError(f"{type(error).__name__}: {error}")
                self._tell(trouble)
                self._stopping.wait(pause_seconds(trouble, failures))
                failures += 1
            else:
                failures = 0

    def _drain(self) -> None:
        """Send batch after batch until only put-off events wait."""
        self._turn.begin()
        while not self._stopping.is_set() and self._spool.lease():
            events = self._spool.take(batches.MAX_ROWS, batches.MAX_BYTES, self._turn.after)
            if not events:
                if not self._turn.after:
                    self.trouble = None
                self._turn.end()
                return
            verdicts = self._send(events)
            put_off = [verdict for verdict in verdicts if verdict.retry]
            if put_off:
                self._turn.put_off(events[-1].seq)
                self._tell(EventsPutOff(f"{put_off[0].code}: {put_off[0].detail}"))
            elif not self._turn.after:
                self.trouble = None
            self._record_answers(events, verdicts)

    def _send(self, events: list[Waiting]) -> list[Verdict]:
        """Send a batch, apart if the API has failed on it repeatedly."""
        first, failures = self._failed
        if first != events[0].seq:
            failures = 0
        send = batches.send_apart if failures >= batches.FAILURES else batches.send
        try:
            verdicts = send(self._connection, [event.body for event in events])
        except BillingClientError as error:
            self._failed = (events[0].seq, failures + batches.fails(error))
            raise
        self._failed = (0, 0)
        return [_in_time(event, one) for event, one in zip(events, verdicts, strict=True)]

    def _record_answers(self, events: list[Waiting], verdicts: list[Verdict]) -> None:
        """Record the verdicts; events that may be retried stay unchanged."""
        answered = [
            (event, verdict)
            for event, verdict in zip(events, verdicts, strict=True)
            if not verdict.retry
        ]
        refused = [
            Refusal(event.seq, verdict.code or "UNKNOWN", verdict.detail or "")
            for event, verdict in answered
            if verdict.status == "rejected"
        ]
        numbers = {one.seq for one in refused}
        self._spool.record_answers([e.seq for e, _ in answered if e.seq not in numbers], refused)
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


def _in_time(event: Waiting, verdict: Verdict) -> Verdict:
    """Put off an event that is in the future for the API: it is recorded once its time has come."""
    if verdict.code != "EVENT_IN_FUTURE":
        return verdict
    at = json.loads(event.body).get("occurred_at")
    comes = at is not None and datetime.fromisoformat(at) < datetime.now(UTC) + FAST_CLOCK
    return replace(verdict, retry=comes)
