"""A page of `billing steer` that had no answer in time is sent again with its key."""

from collections.abc import Sequence
from typing import Any

import httpx2
import pytest

from cli import steer_command
from cli.errors import StackError

BUSY = (503, {"code": "UNAVAILABLE", "detail": "later"})
RUNS = (409, {"code": "IDEMPOTENCY_IN_FLIGHT", "detail": "it runs"})
STATE = (409, {"code": "CONFLICT", "detail": "no"})


def page(name: str, behind: str | None) -> tuple[int, dict[str, Any]]:
    return 200, {"data": [{"name": name}], "pagination": {"next_cursor": behind}}


def steered(
    answers: Sequence[tuple[int, Any]], monkeypatch: pytest.MonkeyPatch
) -> tuple[list[str], list[str]]:
    """The rows that all pages bring, and the key of each request."""
    monkeypatch.setattr(steer_command, "AGAIN_AFTER_SECONDS", (0.0, 0.0))
    sent, left = list[str](), list(answers)

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent.append(request.headers["Idempotency-Key"])
        status, body = left.pop(0)
        return httpx2.Response(status, json=body)

    transport = httpx2.MockTransport(answer)
    with httpx2.Client(transport=transport, base_url="http://api") as client:
        rows = list(steer_command._all(client, {"act": "retry"}, dry_run=False, key="k"))
    assert not left, "every answer was asked for"
    return [one["name"] for one in rows], sent


def test_a_page_without_an_answer_is_sent_again_with_its_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows, sent = steered([page("a", "2"), BUSY, RUNS, page("b", None)], monkeypatch)
    assert rows == ["a", "b"]
    assert sent == ["k/", "k/2", "k/2", "k/2"]


@pytest.mark.parametrize("answers", [[BUSY, BUSY, BUSY], [STATE]])
def test_what_stays_unanswered_or_is_refused_ends_it(
    answers: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StackError):
        steered(answers, monkeypatch)
