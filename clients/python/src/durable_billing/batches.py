"""Events sent together: rows of one request, each with its verdict.

A request that is refused as a whole is halved until the wrong row is alone. So is one that the API
fails on again and again: a row that it fails on alone waits, and the others are recorded.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from durable_billing.answers import Verdict
from durable_billing.connection import Connection
from durable_billing.errors import (
    UNKNOWN_CODE,
    BillingClientError,
    BillingProblem,
    BillingUnreachable,
)

MAX_ROWS: Final = 1_000
MAX_BYTES: Final = 1_000_000
"""A little under the API's limit of 1 MiB."""

FAILURES: Final = 3
"""After so many failures of the API on the same rows they are sent apart."""
_MOST_FAILURES: Final = 50
"""An API that fails on more requests than this while rows are sent apart is broken altogether."""
_FAULTS: Final = frozenset({400, 413, 422})


def send(connection: Connection, rows: Sequence[bytes]) -> list[Verdict]:
    """Record rows of JSON, at most 1,000 and 1 MB; the verdicts in their order.

    Errors: BillingProblem and BillingUnreachable when the outcome is unknown: the same rows may be
    sent again.
    """
    content = b'{"events":[' + b",".join(rows) + b"]}"
    try:
        answer = connection.once("POST", "/usage/batch", content)
    except BillingProblem as problem:
        if problem.status not in _FAULTS or problem.code == UNKNOWN_CODE:
            raise
        if len(rows) == 1:
            return [Verdict("rejected", problem.code, problem.detail)]
        middle = len(rows) // 2
        return send(connection, rows[:middle]) + send(connection, rows[middle:])
    return _verdicts(answer, len(rows))


def send_apart(connection: Connection, rows: Sequence[bytes]) -> list[Verdict]:
    """As `send`, for rows that the API has failed on: those it fails on alone are to be sent again.

    Errors: as `send`; the last failure where the API fails on nearly everything.
    """
    verdicts: list[Verdict] = []
    parts = [list(rows)]
    failures = 0
    while parts:
        part = parts.pop()
        try:
            verdicts += send(connection, part)
        except BillingProblem as problem:
            failures += 1
            if not fails(problem) or failures > _MOST_FAILURES:
                raise
            middle = len(part) // 2
            if middle:
                parts += [part[middle:], part[:middle]]
            else:
                verdicts.append(Verdict("rejected", problem.code, problem.detail, retry=True))
    return verdicts


def fails(error: BillingClientError) -> bool:
    """True for a failure that these very rows may be the cause of: a part away is none."""
    return isinstance(error, BillingProblem) and error.status >= 500 and error.status != 503


def split(rows: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Rows in batches of at most 1,000 and 1 MB."""
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
    if not isinstance(results, list) or len(results) != rows:
        raise BillingUnreachable("the answer is not the API's: no verdict for each row")
    return [
        Verdict(one["status"], one.get("code"), one.get("detail"), one.get("retry") is True)
        for one in results
    ]
