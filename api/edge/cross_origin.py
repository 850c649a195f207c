"""Cross-origin calls of browsers: from BILLING_CORS_ORIGINS, with bearer tokens."""

from collections.abc import Sequence
from typing import Final

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
# Headers that a browser with one account's token may send; the others are for backends.
HEADERS: Final = (
    "Authorization", "Content-Type", "Idempotency-Key", "If-None-Match", "X-Confirm",
    "X-Correlation-Id", "traceparent",
)  # fmt: skip
EXPOSED: Final = (
    "Content-Disposition", "ETag", "Idempotent-Replayed", "RateLimit-Limit", "RateLimit-Remaining",
    "RateLimit-Reset", "Retry-After", "X-As-Of", "X-Correlation-Id",
)  # fmt: skip


def install(app: FastAPI, origins: Sequence[str]) -> None:
    """Allow these origins; with an empty list none is allowed. Cookies are never sent."""
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=METHODS,
            allow_headers=HEADERS,
            expose_headers=EXPOSED,
        )
