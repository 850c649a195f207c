"""The app without a stack: whatever needs Postgres or Temporal finds nobody there."""

from collections.abc import AsyncIterator

import httpx2
import pytest
from fastapi import FastAPI

from api.app import create_app
from billing.core.settings import Settings

SECRET = "a-secret-of-the-unit-tests-" + "0123456789" * 5
NOBODY = "postgresql+psycopg://nobody@127.0.0.1:1/none"


def lonely_settings(**more: object) -> Settings:
    """Settings whose database and Temporal are not there."""
    values = {
        "jwt_secret": SECRET,
        "database_url": NOBODY,
        "temporal_address": "127.0.0.1:1",
        "BILLING_API_METRICS_PORT": 0,
        "BILLING_RATE_LIMIT": "100000/minute",
    }
    return Settings.model_validate(values | more)


@pytest.fixture
def app() -> FastAPI:
    return create_app(lonely_settings())


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://api") as open_client:
        yield open_client
