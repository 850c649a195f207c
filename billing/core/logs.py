"""Logs as JSON lines on stdout, for API, worker and CLI: correlation id, actor, no secrets [T8]."""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from functools import lru_cache
from typing import Any, Final

import structlog

from billing.core import context, ids
from billing.core.settings import VERSION, Settings
from billing.core.tracing import add_trace

REDACTED: Final = "[redacted]"
MAX_TEXT: Final = 8_000
_SECRET_NAMES: Final = re.compile(
    r"secret|token|password|passwd|authorization|cookie|api[_-]?key|client_secret|signature|dsn"
    r"|database_url|e[-_]?mail",
    re.IGNORECASE,
)
# Each with a part that every match contains, case folded: most texts need no pattern to be tried.
_PATTERNS: Final = (
    ("k_", re.compile(r"\b(?:sk|rk|pk)_(?:test|live)_\w+")),
    ("whsec_", re.compile(r"\bwhsec_\w+")),
    ("_secret_", re.compile(r"\b(?:pi|seti|cs)_\w+_secret_\w+")),
    ("eyj", re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*")),
    ("bearer", re.compile(r"(?i)\bbearer\s+[\w.~+/=-]{8,}")),
    ("://", re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)")),
    ("passw", re.compile(r"(?i)(?<=password=)\S+|(?<=passwd=)\S+")),
    ("@", re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b")),
    # Postgres shows the row that it refuses; a text in it may contain line breaks.
    (
        "detail:  ",
        re.compile(
            r"(?<=DETAIL:  ).+?(?=\n(?:CONTEXT:|HINT:|\[SQL:|\nThe above|\nDuring handling)|\Z)",
            re.DOTALL,
        ),
    ),
)
_CHECKOUT: Final = re.compile(r"\b(cs_(?:test|live)_\w{4})\w+(?:#\S*)?")
"""A Stripe Checkout session, by itself or in a URL: anybody who knows it can open the page."""
_CARD: Final = re.compile(r"(?<![\w-])\d(?:[ -]?\d){12,18}(?![\w-])")
_NOISY: Final = ("uvicorn.access", "httpx", "httpx2", "httpcore", "httpcore2", "stripe")


def configure(settings: Settings, process: str) -> None:
    """Route structlog and the standard library through one JSON formatter on stdout."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        _add_call(process, VERSION),
        *([add_trace] if settings.otlp_endpoint else []),
        redact,
    ]
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(default=str),
            ],
        )
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    _take_over(handler, settings.log_level)


def redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace secrets, tokens, mail addresses and card-like numbers, by name and by shape."""
    for name, value in event.items():
        event[name] = _clean(name, value)
    return event


def clean(text: str) -> str:
    """Return the text without secrets, tokens, mail addresses and card-like numbers, and with the
    ids of payment pages shortened.
    """
    folded = text.casefold()
    for part, pattern in _PATTERNS:
        if part in folded:
            text = pattern.sub(REDACTED, text)
    if "cs_" in folded:
        text = _CHECKOUT.sub(r"\1…", text)
    text = _CARD.sub(_card, text)
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}… ({len(text)} characters)"


def _clean(name: str, value: Any) -> Any:
    if value is not None and _is_secret(name):
        return REDACTED
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {str(key): _clean(str(key), item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_clean("", item) for item in value]
    if isinstance(value, (int, float, bool)) or value is None:
        return value
    return clean(str(value))


@lru_cache(maxsize=1_000)
def _is_secret(name: str) -> bool:
    return _SECRET_NAMES.search(name) is not None


def _card(match: re.Match[str]) -> str:
    digits = [int(char) for char in match[0] if char.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return match[0] if (sum(digits[-1::-2]) + sum(doubled)) % 10 else REDACTED


def _add_call(process: str, version: str) -> Any:
    def add(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["process"] = process
        event["version"] = version
        correlation_id = context.correlation_id.get()
        if correlation_id is not None:
            event.setdefault("correlation_id", correlation_id)
        event.setdefault("actor", context.actor.get())
        account = context.account.get()
        if account is not None:
            event.setdefault("account", ids.encode(ids.ACCOUNT, account))
        return event

    return add


def _take_over(handler: logging.Handler, level: str) -> None:
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi"):
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.propagate = True
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
