"""Platforms that use the Python client and the import on the run's own stack."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from billing.core import setting_names
from devstack.options import ROOT
from devstack.stack import StackInfo
from durable_billing.client import BillingClient
from tests.integration.actors import Actors, Customer

CLIENT_SOURCE = ROOT / "clients" / "python" / "src"
Connect = Callable[..., BillingClient]
Run = Callable[..., subprocess.CompletedProcess[str]]


def token_of(actors: Actors, account: str, role: str) -> str:
    return actors.headers(account, role)["Authorization"].removeprefix("Bearer ")


async def recorded(customer: Customer) -> dict[str, int]:
    """Times that each event of an account is recorded, by event id."""
    rows = await customer.rows(
        "SELECT event_id, count(*) AS n FROM billing_records WHERE account_id = %(me)s"
        " GROUP BY event_id"
    )
    return {row["event_id"]: row["n"] for row in rows}


@pytest.fixture
def connect(actors: Actors, stack: StackInfo, tmp_path: Path) -> Iterator[Connect]:
    """Opens clients of a customer's billing staff; each is closed with the test."""
    opened: list[BillingClient] = []

    def make(customer: Customer, role: str = "billing", **more: Any) -> BillingClient:
        settings: dict[str, Any] = {"spool": tmp_path / "spool.db", "send_delay_seconds": 0.02}
        settings |= {"token": token_of(actors, customer.id, role), "trust_env": False} | more
        client = BillingClient(stack.api_url, **settings)
        opened.append(client)
        return client

    yield make
    for client in opened:
        client.close(1)


@pytest.fixture
def billing(stack: StackInfo, tmp_path: Path) -> Run:
    """The command line, in a folder of the test's own."""

    def run(*words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        names = setting_names.names()
        environment = {name: value for name, value in os.environ.items() if name not in names}
        environment |= {"STACK_DATA": str(stack.data), "PYTHONPATH": str(CLIENT_SOURCE)}
        return subprocess.run(
            [sys.executable, "-m", "cli", *words],
            cwd=tmp_path,
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )

    return run
