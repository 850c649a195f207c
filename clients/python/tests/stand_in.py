"""A stand-in for the API behind httpx2's own transport, with scripted answers.

It keeps every request, so that tests can count what arrived how often.
"""

import json
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx2

Answer = Callable[[httpx2.Request], httpx2.Response | None]


def problem(status: int, code: str, **headers: str) -> httpx2.Response:
    body = {"status": status, "code": code, "detail": "told so", "correlation_id": "corr-1"}
    return httpx2.Response(status, json=body, headers=headers)


class StandIn:
    """Answers `scripted` first, one each; then records every row that `refuse` lets pass."""

    def __init__(self, *scripted: Answer | httpx2.Response | Exception) -> None:
        self.scripted = list(scripted)
        self.requests: list[httpx2.Request] = []
        self.rows: Counter[str] = Counter()
        """Times each event id was recorded: once, whatever happens."""
        self.refuse: Callable[[dict[str, Any]], str | None] = lambda row: None
        self.passing: set[str] = set()
        """Codes of refusals that the API marks as temporary (`retry`)."""
        self._lock = threading.Lock()
        self.transport = httpx2.MockTransport(self)

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        with self._lock:
            self.requests.append(request)
            step = self.scripted.pop(0) if self.scripted else None
            if isinstance(step, Exception):
                raise step
            if isinstance(step, httpx2.Response):
                return step
            answer = step(request) if step is not None else None
            return answer if answer is not None else self.record(request)

    def record(self, request: httpx2.Request) -> httpx2.Response:
        results = []
        for place, row in enumerate(json.loads(request.content)["events"]):
            code = self.refuse(row)
            known = row["event_id"] in self.rows
            if code is None and not known:
                self.rows[row["event_id"]] += 1
            status = "rejected" if code else "duplicate" if known else "recorded"
            told: dict[str, Any] = {"row": place, "status": status}
            if code:
                told |= {"code": code, "detail": "so it is", "retry": code in self.passing}
            results.append(told)
        return httpx2.Response(200, json={"results": results})

    def record_then_drop(self, request: httpx2.Request) -> httpx2.Response:
        """Record the rows and lose the answer."""
        self.record(request)
        raise httpx2.ReadError("cut", request=request)

    @property
    def sizes(self) -> list[int]:
        return [len(json.loads(request.content)["events"]) for request in self.requests]
