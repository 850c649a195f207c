"""Logs are JSON with a correlation id, and hold no secret, token, mail address or card number."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from opentelemetry.trace import NonRecordingSpan, SpanContext, use_span

from billing.core import context, logs
from billing.core.settings import Settings

CANARIES = [
    "sk_live_51Habcdefghijk",
    "sk_test_sandbox123",
    "rk_live_abcdefgh",
    "whsec_0123456789abcdef",
    "pi_3Abc_secret_XyZ123456",
    "seti_1Abc_secret_XyZ123456",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl",
    "Bearer abcdef0123456789",
    "BEARER ABCDEF0123456789",
    "alice@example.com",
    "4242 4242 4242 4242",
    "4000-0000-0000-9995",
    "378282246310005",
]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level = root.handlers, root.level
    out = io.StringIO()
    monkeypatch.setattr("sys.stdout", out)
    logs.configure(Settings(), process="test")
    yield out
    root.handlers, root.level = before, level
    structlog.reset_defaults()


def last(out: io.StringIO) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(out.getvalue().splitlines()[-1])
    return line


def test_a_line_says_when_where_who_and_under_which_id(lines: io.StringIO) -> None:
    mark, who = context.correlation_id.set("corr-1"), context.actor.set("admin:ops")
    logging.getLogger("api").info("paid %s", "inv_1")
    context.correlation_id.reset(mark)
    context.actor.reset(who)
    line = last(lines)
    assert line["event"] == "paid inv_1"
    assert line["correlation_id"] == "corr-1"
    assert line["actor"] == "admin:ops"
    assert line["level"] == "info"
    assert line["logger"] == "api"
    assert line["process"] == "test"
    assert line["timestamp"].endswith("Z")


def test_a_line_names_its_trace_where_traces_are_kept(
    lines: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout", lines)
    span = NonRecordingSpan(SpanContext(trace_id=0xABC, span_id=1, is_remote=True))
    with use_span(span):
        logging.getLogger("api").info("untraced")
        assert "trace_id" not in last(lines)
        logs.configure(Settings(BILLING_OTLP_ENDPOINT="http://collector:4318"), process="test")
        logging.getLogger("api").info("traced")
        assert last(lines)["trace_id"] == f"{0xABC:032x}"
    logging.getLogger("api").info("no more")
    assert "trace_id" not in last(lines)


def test_structlog_and_the_standard_library_end_in_the_same_place(lines: io.StringIO) -> None:
    structlog.get_logger("billing").warning("slow", seconds=2, account_id="acc_1")
    assert last(lines)["seconds"] == 2
    logging.getLogger("temporalio").warning("late", extra={"workflow_id": "purchase/1"})
    assert last(lines)["workflow_id"] == "purchase/1"


@pytest.mark.parametrize("canary", CANARIES)
def test_no_secret_reaches_a_line(lines: io.StringIO, canary: str) -> None:
    logger = logging.getLogger("leaky")
    logger.info("seen %s and %s.", canary, canary)
    logger.info("with fields", extra={"note": {"deep": [canary]}, "url": f"http://{canary}@x/"})
    try:
        raise ValueError(f"could not use {canary}") from KeyError(canary)
    except ValueError:
        logger.exception("broke")
    assert len(lines.getvalue().splitlines()) == 3
    assert canary not in lines.getvalue()


@pytest.mark.parametrize(
    "address",
    [
        "postgresql+psycopg://billing:hunter2@127.0.0.1/billing",
        "host=db password=hunter2 user=x",
        "host=db PASSWORD=hunter2 user=x",
        "host=db PA\u017fSWD=hunter2 user=x",
    ],
)
def test_a_database_address_is_shown_without_its_password(lines: io.StringIO, address: str) -> None:
    logging.getLogger("leaky").info("connecting to %s", address)
    assert "hunter2" not in lines.getvalue()
    assert "connecting to" in lines.getvalue()


def test_fields_named_like_secrets_are_never_shown(lines: io.StringIO) -> None:
    extra = {"jwt_secret": "plain", "client_secret": 7, "Authorization": "x", "email": "y"}
    logging.getLogger("leaky").info("fields", extra=extra)
    line = last(lines)
    assert {line[name] for name in extra} == {logs.REDACTED}


@pytest.mark.parametrize(
    "harmless",
    [
        "01a1f7f9a1c571e1a2e46b65738cd5be", "2026-11-20T08:00:00Z", "inv_01k3v9q2w7e8r",
        "1234567890123", "order 4242424242424241",
    ],
)  # fmt: skip
def test_ids_and_dates_stay_readable(harmless: str) -> None:
    assert logs.clean(harmless) == harmless


def test_a_line_cannot_be_broken_in_two(lines: io.StringIO) -> None:
    logging.getLogger("x").info('a\nb\r\n{"level":"forged"}')
    assert len(lines.getvalue().splitlines()) == 1


def test_an_endless_text_is_cut(lines: io.StringIO) -> None:
    logging.getLogger("x").info("y" * 100_000)
    assert len(lines.getvalue()) < 10_000


@pytest.mark.parametrize("text", [
    "session cs_test_a1B2c3D4e5F6g7H8i9J0 is open",
    "go to https://checkout.stripe.com/c/pay/cs_live_a1B2c3D4e5F6#fidkdWxOYHwnPyd1blppbHNg now",
])  # fmt: skip
def test_of_a_checkout_session_a_line_has_the_beginning(lines: io.StringIO, text: str) -> None:
    logging.getLogger("stripe").warning(text)
    shown = last(lines)["event"]
    assert "a1B2" in shown
    assert "c3D4" not in shown
    assert "fidk" not in shown
    assert shown.split()[-1] == text.rsplit(maxsplit=1)[-1], "the words behind it stay"
    assert logs.clean(shown) == shown


def test_what_postgres_shows_of_a_row_reaches_no_line(lines: io.StringIO) -> None:
    told = (
        '(psycopg.errors.NotNullViolation) null value in column "kind"\n'
        "DETAIL:  Failing row contains (7, Alice's own words,\n\nof two lines).\n"
        "CONTEXT:  SQL statement\n[SQL: INSERT INTO notes]"
    )
    before = "duplicate key\nDETAIL:  Key (name)=(Alice) already exists."
    try:
        raise ValueError(told) from ValueError(before)
    except ValueError:
        logging.getLogger("leaky").exception("broke")
    shown = last(lines)["exception"]
    assert "Alice" not in shown
    assert "two lines" not in shown
    assert "null value in column" in shown
    assert "CONTEXT:  SQL statement" in shown
