"""Import of a usage file through the public API, batch by batch; a second run continues.

The state file is written after each batch. Rows of a batch sent twice answer "duplicate".
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

from cli.errors import StackError
from cli.usage_file import Line, UsageFile
from durable_billing.answers import Verdict
from durable_billing.batches import FAILURES, MAX_BYTES, MAX_ROWS, fails
from durable_billing.client import BillingClient
from durable_billing.connection import passes, pause_seconds
from durable_billing.errors import BillingClientError, EventsPutOff, InvalidEvent
from durable_billing.events import encode

UNREADABLE: Final = "ROW_UNREADABLE"
"""The code of a row that was not sent to the API."""


NAMELESS: Final = "ACCOUNT_REQUIRED"
"""Neither the row nor the caller names an account."""


class Unfinished(StackError):
    """The API accepts no more rows now; repeating the command continues from here."""


@dataclass
class Tally:
    """The progress of an import, as the state file stores it.

    `rows` counts sent rows. Those in `waiting`, each with its line, are sent again: the API refused
    them for a temporary reason.
    """

    source: str
    target: str
    rows: int = 0
    waiting: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    recorded: int = 0
    duplicate: int = 0
    rejected: int = 0
    rejected_bytes: int = 0
    finished: bool = False


class Ready(NamedTuple):
    """A row encoded for sending; `fault` where it cannot be sent."""

    line: Line
    body: bytes
    fault: str | None


def read_tally(path: Path | None, source: str, target: str) -> Tally:
    """The stored progress of a source. Errors: StackError when the file or the target differs."""
    if path is None or not path.exists():
        return Tally(source, target)
    try:
        known = Tally(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise StackError(
            f"{path} is not the state of an import: remove it to start again"
        ) from error
    if known.source != source:
        raise StackError(
            f"the file has changed since {path} was written: use --restart to import all of it;"
            " rows without their own event_id are then recorded as new"
        )
    if known.target != target:
        raise StackError(
            f"{path} is of an import to {known.target}: use --restart to send all rows to"
            f" {target}, or keep both imports apart by --state and --rejected"
        )
    return known


def fingerprint(path: Path) -> str:
    """A hash of the file, part of the event id of rows without one."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:24]


class Import:
    """One import; `tally` may be read at any time."""

    def __init__(
        self,
        client: BillingClient,
        tally: Tally,
        *,
        state: Path | None,
        rejected: Path,
        patience_seconds: float,
    ) -> None:
        self.tally = tally
        self._client = client
        self._state = state
        self._rejected = rejected
        self._patience = patience_seconds
        self._waiting_bytes = 0
        self._put_off = EventsPutOff()

    def run(self, file: UsageFile, progress: Callable[[], None]) -> None:
        """Send the remaining rows. Errors: Unfinished; StackError when a request is refused."""
        if self.tally.finished:
            return
        self._cut_rejected()
        rest = islice(iter(file), self.tally.rows, None)
        for batch in _batches(self._ready(line) for line in rest):
            self._send_waiting(all_of_it=False)
            verdicts = self._send([one.body for one in batch if one.fault is None])
            self.tally.rows += len(batch)
            self._take(batch, verdicts)
            progress()
        self._send_waiting(all_of_it=True)
        self.tally.finished = True
        self._save()

    def _ready(self, line: Line) -> Ready:
        if line.fault is not None:
            return Ready(line, b"", line.fault)
        row = {name: value for name, value in line.row.items() if value is not None}
        if "event_id" not in row:
            if not self.tally.source:
                raise StackError(f"line {line.number} has no event_id: give the input a --name")
            row["event_id"] = f"import-{self.tally.source}-{line.number}"
        try:
            return Ready(line, encode(row), None)
        except InvalidEvent as error:
            return Ready(line, b"", str(error))

    def _send(self, rows: list[bytes]) -> Iterator[Verdict]:
        deadline, failures, broken = time.monotonic() + self._patience, 0, 0
        while rows:
            try:
                return iter(self._client.record_rows(rows, apart=broken >= FAILURES))
            except BillingClientError as error:
                if not passes(error):
                    raise StackError(f"the API refuses the import: {error}") from error
                self._pause(error, failures, deadline)
                failures += 1
                broken += fails(error)
        return iter(())

    def _send_waiting(self, *, all_of_it: bool) -> None:
        """Send waiting rows until there is room for more, or all of them. Errors: Unfinished."""
        deadline, failures = time.monotonic() + self._patience, 0
        while self._is_full() or (all_of_it and self.tally.waiting):
            if failures:
                self._pause(self._put_off, failures - 1, deadline)
            batch = [self._ready(Line(*one)) for one in self.tally.waiting]
            verdicts = list(self._send([one.body for one in batch]))
            self.tally.waiting.clear()
            self._waiting_bytes = 0
            self._take(batch, iter(verdicts))
            failures += 1

    def _is_full(self) -> bool:
        return len(self.tally.waiting) >= MAX_ROWS or self._waiting_bytes >= MAX_BYTES

    def _pause(self, error: BillingClientError, failures: int, deadline: float) -> None:
        """Wait before the next try. Errors: Unfinished when the time is up."""
        pause = pause_seconds(error, failures)
        if time.monotonic() + pause > deadline:
            waiting = len(self.tally.waiting)
            left = f", {waiting} of them to be sent again" if waiting else ""
            raise Unfinished(
                f"stopped after {self.tally.rows} rows{left}: {error}; run it again to go on"
            ) from error
        time.sleep(pause)

    def _take(self, batch: list[Ready], verdicts: Iterator[Verdict]) -> None:
        """Count a batch: write rejected rows, then the state; a crash between repeats the batch."""
        refused: list[bytes] = []
        for one in batch:
            verdict = next(verdicts) if one.fault is None else _unreadable(one.fault)
            if verdict.code == NAMELESS:
                raise StackError(
                    f"line {one.line.number} names no account: give --account, or a field"
                    " account_id or external_id"
                )
            if verdict.retry:
                self.tally.waiting.append((one.line.number, one.line.row))
                self._waiting_bytes += len(one.body)
                self._put_off = EventsPutOff(f"{verdict.code}: {verdict.detail}")
            elif verdict.status == "rejected":
                self.tally.rejected += 1
                refused.append(_rejected_line(one.line, verdict))
            elif verdict.status == "duplicate":
                self.tally.duplicate += 1
            else:
                self.tally.recorded += 1
        if refused:
            with self._rejected.open("ab") as file:
                file.write(b"".join(refused))
                self.tally.rejected_bytes = file.tell()
        self._save()

    def _cut_rejected(self) -> None:
        """Remove rejected rows that the state lacks: the previous run ended in between."""
        if self.tally.rejected_bytes == 0:
            self._rejected.unlink(missing_ok=True)
        elif self._rejected.exists():
            os.truncate(self._rejected, self.tally.rejected_bytes)

    def _save(self) -> None:
        if self._state is None:
            return
        beside = self._state.with_name(self._state.name + ".new")
        beside.write_text(json.dumps(vars(self.tally)) + "\n")
        beside.replace(self._state)


def _batches(rows: Iterator[Ready]) -> Iterator[list[Ready]]:
    batch: list[Ready] = []
    size = 0
    for row in rows:
        if batch and (len(batch) == MAX_ROWS or size + len(row.body) >= MAX_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += len(row.body) + len(row.line.text) + 1
    if batch:
        yield batch


def _unreadable(fault: str) -> Verdict:
    return Verdict("rejected", UNREADABLE, fault)


def _rejected_line(line: Line, verdict: Verdict) -> bytes:
    entry: dict[str, Any] = {
        "line": line.number,
        "code": verdict.code,
        "detail": verdict.detail,
        "row": line.row,
    }
    if line.text:
        entry["text"] = line.text
    return json.dumps(entry).encode() + b"\n"
