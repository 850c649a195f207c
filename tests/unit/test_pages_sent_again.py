"""A page of an act on many that had no answer in time is sent again, with its key if it has one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner

from api.edge.slow_handlers import ANSWER_SECONDS
from billing.core.settings import load_settings
from cli import operator_client
from cli.__main__ import app

BUSY = (503, {"code": "UNAVAILABLE", "detail": "later"})
RUNS = (409, {"code": "IDEMPOTENCY_IN_FLIGHT", "detail": "it runs"})
STATE = (409, {"code": "CONFLICT", "detail": "no"})
WHY = ("--reason", "a bad hour")
ACTS: dict[str, tuple[str, ...]] = {
    "steer": ("steer", "retry", *WHY, "--key", "k"),
    "undo": (
        "subscription", "undo-price", "pro", *WHY, "--key", "k",
        "--currency", "USD", "--wrong-version", "2", "--right-version", "1",
    ),
    "move": ("subscription", "move-prices", "pro", *WHY),
}  # fmt: skip
MOVED = {
    "subscription_id": "sub_1", "price_cents_before": 4900, "price_cents": 5900, "currency": "USD",
    "effective_at": "2027-02-01T10:00:00Z",
}  # fmt: skip

GIVEN = {
    "invoice_number": "A-1", "account_id": "acc_1", "currency": "USD", "refused": None,
    "is_repeated": False, "given_back_cents": 100, "charged_cents": 5900,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _servers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", "postgresql+psycopg://billing_app@nowhere/billing")
    monkeypatch.setenv("BILLING_PUBLIC_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("BILLING_TOKEN", "theirs")
    monkeypatch.setattr(operator_client, "AGAIN_AFTER_SECONDS", (0.0, 0.0))
    load_settings.cache_clear()


def page(behind: str | None) -> tuple[int, dict[str, Any]]:
    """A page without rows, as each of the commands reads it."""
    return 200, {
        "data": [], "moves": [], "pagination": {"next_cursor": behind}, "next_cursor": behind,
        "moves_cursor": "end", "moves_left": False,
    }  # fmt: skip


def done(
    act: str, answers: Sequence[tuple[int, Any]], monkeypatch: pytest.MonkeyPatch
) -> tuple[int, str, list[tuple[str, str]]]:
    """The exit code, the words, and the cursor and key of each request."""
    sent, left = list[tuple[str, str]](), list(answers)

    def answer(_: httpx2.Client, request: httpx2.Request, **__: object) -> httpx2.Response:
        cursor = request.url.params.get("cursor", "")
        sent.append((cursor, request.headers.get("Idempotency-Key", "")))
        status, body = left.pop(0)
        return httpx2.Response(status, json=body, request=request)

    monkeypatch.setattr(httpx2.Client, "send", answer)
    ended = CliRunner().invoke(app, list(ACTS[act]))
    assert not left, "every answer was asked for"
    return ended.exit_code, ended.output, sent


def test_the_503_of_a_slow_handler_comes_before_the_client_gives_up() -> None:
    assert operator_client.TIMEOUT_SECONDS >= ANSWER_SECONDS + 10, "and the way there and back"


@pytest.mark.parametrize(
    ("act", "first", "second"),
    [("steer", "k/", "k/2"), ("undo", "k/0", "k/1"), ("move", "", "")],
)
def test_a_page_without_an_answer_is_sent_again_with_its_key(
    act: str, first: str, second: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, said, sent = done(act, [page("2"), BUSY, RUNS, page(None)], monkeypatch)
    assert code == 0, said
    assert sent == [("", first), ("2", second), ("2", second), ("2", second)]


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("answers", [[BUSY, BUSY, BUSY], [STATE]], ids=["busy", "refused"])
def test_what_stays_unanswered_or_is_refused_ends_it(
    act: str, answers: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, said, _ = done(act, answers, monkeypatch)
    assert code == 1
    assert answers[-1][1]["code"] in said


@pytest.mark.parametrize(
    ("act", "sum"),
    [
        ("move", "1 move to the current price"),
        ("undo", "1.00 USD given back; 1 done before, 0 refused"),
    ],
)
def test_a_sum_says_that_it_lacks_what_a_page_did_before_it_was_sent_again(
    act: str, sum: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The repeat leaves out who moved at first, and marks what was given back then."""
    status, rows = page(None)
    rows |= {"moves": [MOVED], "data": [GIVEN | {"is_repeated": True}, GIVEN]}
    code, said, _ = done(act, [(status, rows)], monkeypatch)
    assert (code, said.splitlines()[-1]) == (0, sum)

    code, said, _ = done(act, [BUSY, (status, rows)], monkeypatch)

    assert code == 0, said
    last = said.splitlines()[-1]
    assert last.startswith(f"at least {sum}. A page had no answer in time and was sent again: who")


def test_an_invoice_that_was_refused_is_told_by_the_exit_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    status, rows = page(None)
    refused = GIVEN | {"refused": "CREDITED_BEFORE", "detail": "look at it"}
    code, said, _ = done("undo", [(status, rows | {"data": [GIVEN, refused]})], monkeypatch)
    assert code == 1
    assert "A-1 of acc_1: refused, CREDITED_BEFORE: look at it" in said
    assert said.splitlines()[-1] == "1.00 USD given back; 0 done before, 1 refused"
