"""Batches of events: the rows of one request, each with its verdict.

A request that is refused for its rows is halved until the invalid row is alone. A request on which
the API keeps failing is halved too: a row that fails alone waits, and the others are recorded.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, get_args

from durable_billing.answers import Status, Verdict
from durable_billing.connection import Connection
from durable_billing.errors import BillingClientError, BillingProblem, BillingUnreachable

MAX_ROWS: Final = 1_000
MAX_BYTES: Final = 1_000_000
"""Slightly below the API's limit of 1 MiB."""

FAILURES: Final = 3
"""Number of API failures on the same rows after which they are sent apart."""
_MOST_FAILURES: Final = 50
"""After more failures in a row than this while sending rows apart, rows are not divided further:
the API itself must be broken."""
_FAULTS: Final = frozenset({"INVALID_JSON", "VALIDATION_FAILED", "BODY_TOO_LARGE"})
"""Codes of a refusal for the rows sent; any other is of the request, such as of its host."""
_STATUSES: Final = frozenset(get_args(Status))


def send(connection: Connection, rows: Sequence[bytes]) -> list[Verdict]:
    """Record JSON rows, at most 1,000 and 1 MB; return the verdicts in their order.

    Errors: BillingProblem and BillingUnreachable when the outcome is unknown: the same rows may be
    sent again.
    """
    content = b'{"events":[' + b",".join(rows) + b"]}"
    try:
        answer = connection.once("POST", "/usage/batch", content)
    except BillingProblem as problem:
        if problem.code not in _FAULTS:
            raise
        if len(rows) == 1:
            return [Verdict("rejected", problem.code, problem.detail)]
        middle = len(rows) // 2
        return send(connection, rows[:middle]) + send(connection, rows[middle:])
    return _verdicts(answer, len(rows))


def send_apart(connection: Connection, rows: Sequence[bytes]) -> list[Verdict]:
    """Record rows that the API has failed on; those that it fails on at the end get `retry`.

    Errors: as `send`, but for failures that rows may cause.
    """
    verdicts: list[Verdict] = []
    parts = [list(rows)]
    failures = 0
    while parts:
        part = parts.pop()
        try:
            verdicts += send(connection, part)
        except BillingProblem as problem:
            if not fails(problem):
                raise
            failures += 1
            middle = len(part) // 2
            if middle and failures <= _MOST_FAILURES:
                parts += [part[middle:], part[:middle]]
            else:
                failed = Verdict("rejected", problem.code, problem.detail, retry=True)
                verdicts += [failed] * len(part)
        else:
            failures = 0
    return verdicts


def fails(error: BillingClientError) -> bool:
    """True for a failure that these rows may cause; an unavailable part (503) is not one."""
    return isinstance(error, BillingProblem) and error.status >= 500 and error.status != 503


def split(rows: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Yield the rows in batches of at most 1,000 and 1 MB."""
    batch: list[bytes] = []
    size = 0
    for row in rows:
        if batch and (len(batch) == MAX_ROWS or size + len(row) >= MAX_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += len(row) + 1
    if batch:
        yield batch


def _verdicts(answer: Any, rows: int) -> list[Verdict]:
    results = answer.get("results") if isinstance(answer, dict) else None
    if (
        not isinstance(results, list)
        or len(results) != rows
        or not all(isinstance(one, dict) and "status" in one for one in results)
    ):
        raise BillingUnreachable("the answer is not the API's: no verdict for each row")
    return [_verdict(one) for one in results]


def _verdict(one: dict[str, Any]) -> Verdict:
    """Return a row's verdict. One of a later API that this client does not know is no answer: the
    row is kept and sent again.
    """
    if one["status"] not in _STATUSES:
        return Verdict("rejected", "UNKNOWN_STATUS", f"the API says {one['status']}", retry=True)
    return Verdict(one["status"], one.get("code"), one.get("detail"), one.get("retry") is True)
