"""The client: usage is stored on disk at once and sent in the background; credits are spent
directly.

All calls are synchronous and thread-safe. `record` never waits for the network, so code in an event
loop may call it too.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, Unpack
from uuid import uuid4

import httpx2

from durable_billing import batches, events
from durable_billing.answers import (
    Balance,
    Bill,
    BillingRecord,
    Capture,
    HoldState,
    QuotaCheck,
    Quote,
    Rejected,
    Verdict,
)
from durable_billing.connection import TIMEOUT_SECONDS, Connection, Token, segment
from durable_billing.errors import BillingClientError
from durable_billing.events import Amount, Check, Use
from durable_billing.holds import Hold
from durable_billing.sender import Sender
from durable_billing.spool import Spool

MAX_SPOOL_BYTES: Final = 1_073_741_824
SEND_DELAY_SECONDS: Final = 0.5
CLOSE_SECONDS: Final = 5.0
REJECTED_PAGE: Final = 1_000
_HOLDS: Final = "/billing/credits/holds"


@dataclass(frozen=True, slots=True)
class SpoolStatus:
    """The state of the spool; `trouble` is the error that stops sending, if any."""

    waiting: int
    rejected: int
    size_bytes: int
    trouble: BillingClientError | None


class BillingClient:
    """The billing API, for one account or, with role service, for many.

    `spool` is a file that outlives the process; background recording needs one. `token` may be a
    function that returns a fresh token. Every method that calls the API raises BillingProblem (it
    refused) or BillingUnreachable (it did not answer).
    """

    def __init__(
        self,
        url: str,
        token: Token,
        *,
        account: str | None = None,
        spool: Path | str | None = None,
        on_rejected: Callable[[Rejected], None] | None = None,
        max_spool_bytes: int = MAX_SPOOL_BYTES,
        survives_power_loss: bool = False,
        send_delay_seconds: float = SEND_DELAY_SECONDS,
        timeout_seconds: float = TIMEOUT_SECONDS,
        trust_env: bool = True,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self._account = account
        self._sent: bool | None = None
        """The answer of `close`; None before it."""
        self._connection = Connection(
            url,
            token,
            account=account,
            timeout_seconds=timeout_seconds,
            trust_env=trust_env,
            transport=transport,
        )
        self._kept: tuple[Spool, Sender] | None = None
        if spool is not None:
            kept = Spool(
                Path(spool), max_bytes=max_spool_bytes, survives_power_loss=survives_power_loss
            )
            sender = Sender(
                kept,
                self._connection,
                delay_seconds=send_delay_seconds,
                on_rejected=on_rejected,
            )
            self._kept = kept, sender

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self, timeout_seconds: float = CLOSE_SECONDS) -> bool:
        """Send waiting events for at most this long, then stop; False if some are left for the next
        start. A second call returns the first answer.
        """
        if self._sent is not None:
            return self._sent
        self._sent, sent = False, True
        if self._kept is not None:
            spool, sender = self._kept
            sent = sender.flush(timeout_seconds)
            if not sender.stop(timeout_seconds):
                return False  # a request is under way: its thread ends with the process
            spool.close()
        self._connection.close()
        self._sent = sent
        return sent

    # -- usage, in the background ---------------------------------------------------------------

    def record(self, usage_amount: Amount, **use: Unpack[Use]) -> str:
        """Store one use on disk and return its event id; it is sent within half a second.

        Without an `event_id` each call is a new use at the present time. With your own, a repeated
        call is the same use; give `occurred_at` too if its time must be exact during an outage.
        Use a token of role `billing` or `service`: a member's events are too old after 5 minutes.
        Errors: InvalidEvent; SpoolFull; no network errors.
        """
        event = events.build(usage_amount, use, account=self._account)
        spool, sender = self._spooled
        spool.add([event])
        sender.added(1)
        return event[0]

    def record_many(self, uses: Iterable[tuple[Amount, Use]]) -> list[str]:
        """Store many uses in one step, all or none. Errors: as `record`."""
        built = [events.build(amount, use, account=self._account) for amount, use in uses]
        spool, sender = self._spooled
        spool.add(built)
        sender.added(len(built))
        return [event_id for event_id, _ in built]

    def flush(self, timeout_seconds: float = 30.0) -> bool:
        """Wait until the API has answered for everything recorded so far; False on timeout."""
        return self._spooled[1].flush(timeout_seconds)

    def status(self) -> SpoolStatus:
        """Count waiting and rejected events; report the error that stops sending, if any."""
        spool, sender = self._spooled
        return SpoolStatus(spool.waiting(), spool.rejections(), spool.size(), sender.trouble)

    def rejected(self, *, after: int = 0, limit: int = REJECTED_PAGE) -> list[Rejected]:
        """Return rejected events, oldest first; `after` is the number of the last one seen."""
        return self._spooled[0].rejected(after, limit)

    def send_again(self, numbers: Sequence[int]) -> int:
        """Send rejected events again, for example after buying credits; return how many."""
        return self._spooled[0].requeue(numbers)

    def forget(self, numbers: Sequence[int]) -> int:
        """Delete rejected events; return how many."""
        return self._spooled[0].forget(numbers)

    # -- usage, while the caller waits ----------------------------------------------------------

    def record_now(self, usage_amount: Amount, **use: Unpack[Use]) -> Bill:
        """Record one use without the spool and return its bill.

        Errors also: INSUFFICIENT_CREDITS, QUOTA_EXCEEDED, BUDGET_EXCEEDED,
        PRODUCT_PRICING_NOT_FOUND, NOT_INCLUDED.
        """
        row = json.loads(events.build(usage_amount, use)[1])
        account = events.take_account(row)
        answer = self._connection.ask("POST", "/usage/record", row, account=account)
        return Bill.model_validate(answer)

    def record_rows(
        self, rows: Sequence[Mapping[str, Any] | bytes], *, apart: bool = False
    ) -> list[Verdict]:
        """Record rows with the API's own fields, unchecked and without the spool; a verdict for
        each.

        A row may already be JSON. Give each an `event_id`: then the same rows may be sent again
        after any error, and later those whose verdict has `retry`. Pass `apart` if the API failed
        on these rows repeatedly: a row that it fails on alone then does not block the others.
        """
        verdicts: list[Verdict] = []
        send = batches.send_apart if apart else batches.send
        encoded = (row if isinstance(row, bytes) else events.encode(row) for row in rows)
        for batch in batches.split(encoded):
            verdicts += send(self._connection, batch)
        return verdicts

    def calculate(self, product_id: str, usage_amount: Amount) -> Quote:
        """Return the current cost of a use; nothing is written."""
        body = {"product_id": product_id, "usage_amount": events.amount_text(usage_amount)}
        return Quote.model_validate(self._connection.ask("POST", "/billing/calculate", body))

    def check_quota(
        self, requested_amount: Amount, *, consume: bool = False, **use: Unpack[Check]
    ) -> QuotaCheck:
        """Check a use against every limit; an exceeded limit is an answer, not an error.

        With `consume` and an `event_id` the use counts at once, and its later record does not count
        again.
        """
        asked: dict[str, Any] = {name: value for name, value in use.items() if value is not None}
        asked["requested_amount"] = events.amount_text(requested_amount, name="requested_amount")
        asked["consume"] = consume
        account = events.take_account(asked)
        answer = self._connection.ask("POST", "/quota/check", asked, account=account)
        return QuotaCheck.model_validate(answer)

    def process(
        self, billing_id: str, *, billing_method: str | None = None, key: str | None = None
    ) -> BillingRecord:
        """Pay a deferred or failed record; a paid one is returned unchanged.

        If a card pays, pass your own `key`: a call repeated with it after a lost answer charges
        the card only once. Without a key each call is a new charge attempt.
        """
        body = {"billing_id": billing_id}
        if billing_method is not None:
            body["billing_method"] = billing_method
        answer = self._connection.ask("POST", "/billing/process", body, key=key or uuid4().hex)
        return BillingRecord.model_validate(answer)

    # -- credits --------------------------------------------------------------------------------

    def balance(self) -> Balance:
        """Return the account's credits."""
        return Balance.model_validate(self._connection.ask("GET", "/billing/credits/balance"))

    def hold(
        self,
        amount: Amount,
        *,
        reason: str = "hold",
        expires_in_seconds: int | None = None,
        scope: str | None = None,
        paid_only: bool = False,
        subject: str | None = None,
        key: str | None = None,
    ) -> Hold:
        """Hold credits: capture or release the hold, or leave its `with` block, which releases it.

        Errors also: INSUFFICIENT_CREDITS with `required` and `available` in its `fields`.
        """
        optional = {
            "expires_in_seconds": expires_in_seconds,
            "scope": scope,
            "subject": subject,
        }
        body: dict[str, Any] = {name: one for name, one in optional.items() if one is not None}
        body |= {
            "amount": events.amount_text(amount, name="amount"),
            "reason": reason,
            "paid_only": paid_only,
        }
        answer = self._connection.ask("POST", _HOLDS, body, key=key or uuid4().hex)
        return Hold(self, HoldState.model_validate(answer))

    def capture_hold(
        self,
        hold_id: str,
        amount: Amount | None = None,
        *,
        reason: str = "capture",
        detail: Mapping[str, str] | None = None,
    ) -> Capture:
        """Spend all or part of a hold. Repeating it with the same amount, reason and detail returns
        the first capture.
        """
        body: dict[str, Any] = {"reason": reason, "detail": dict(detail or {})}
        if amount is not None:
            body["amount"] = events.amount_text(amount, name="amount")
        path = f"{_HOLDS}/{segment(hold_id)}/capture"
        return Capture.model_validate(self._connection.ask("POST", path, body))

    def release_hold(self, hold_id: str) -> HoldState:
        """Release a hold; a second call returns the first answer."""
        path = f"{_HOLDS}/{segment(hold_id)}/release"
        return HoldState.model_validate(self._connection.ask("POST", path))

    @property
    def _spooled(self) -> tuple[Spool, Sender]:
        if self._kept is None:
            raise BillingClientError("give the client a spool: BillingClient(..., spool='file')")
        return self._kept
