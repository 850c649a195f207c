"""Browsers of other origins may call the API: those of BILLING_CORS_ORIGINS, with bearer tokens."""

from collections.abc import Sequence
from typing import Final

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
# What a token of one account may send; the other headers are for backends.
HEADERS: Final = (
    "Authorization", "Content-Type", "Idempotency-Key", "If-None-Match", "X-Confirm",
    "X-Correlation-Id", "traceparent",
)  # fmt: skip
EXPOSED: Final = (
    "Content-Disposition", "ETag", "Idempotent-Replayed", "RateLimit-Limit", "RateLimit-Remaining",
    "RateLimit-Reset", "Retry-After", "X-Correlation-Id",
)  # fmt: skip


def install(app: FastAPI, origins: Sequence[str]) -> None:
    """Let these origins call and read; without any no other origin may. Cookies are never sent."""
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=METHODS,
            allow_headers=HEADERS,
            expose_headers=EXPOSED,
        )
