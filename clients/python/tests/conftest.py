"""Clients on a spool of the test's own, in front of a stand-in for the API."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clients.python.tests.stand_in import StandIn
from durable_billing import connection
from durable_billing.client import BillingClient

NewClient = Callable[..., BillingClient]


def until(seen: Callable[[], bool]) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + 10
    while not seen() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert seen()


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "FIRST_PAUSE_SECONDS", 0.002)


@pytest.fixture
def new_client(tmp_path: Path) -> Iterator[NewClient]:
    """Opens clients on one spool; each is closed with the test."""
    opened: list[BillingClient] = []

    def make(api: StandIn, **more: Any) -> BillingClient:
        settings: dict[str, Any] = {"spool": tmp_path / "spool.db", "send_delay_seconds": 0.01}
        settings |= more
        client = BillingClient(
            "http://billing.test", settings.pop("token", "t"), transport=api.transport, **settings
        )
        opened.append(client)
        return client

    yield make
    for client in opened:
        client.close(0.2)
