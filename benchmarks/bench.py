"""The stack a benchmark runs against, its clients, and the callers it acts as."""

import asyncio
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, LiteralString

import httpx2
import psycopg
from psycopg.rows import dict_row
from temporalio.client import Client

from benchmarks.callers import authorization
from benchmarks.noop import NoopWorkflow
from billing.core import ids
from billing.matters import store as matters
from billing.matters.kinds import INTERACTIVE
from devstack.launch import launch
from devstack.options import ROOT, Options
from devstack.process_specs import KEEP_ALIVE_SECONDS
from devstack.stack import StackInfo, dsn
from sandbox.control import SandboxControl
from workflows import start
from workflows.converter import CONVERTER

READY_SECONDS: Final = 30
MAX_CONNECTIONS: Final = 128
PAUSE_SECONDS: Final = 0.1


@dataclass(frozen=True)
class Bench:
    """Everything a measure needs."""

    stack: StackInfo
    http: httpx2.AsyncClient
    temporal: Client
    sandbox: SandboxControl
    rows: psycopg.AsyncConnection[tuple[Any, ...]]
    """Kept open: a new one for each look would cost Postgres more than what is looked at."""

    def headers(self, account: str, *roles: str) -> dict[str, str]:
        """Return a caller's authorization."""
        return authorization(self.stack, account, roles or ("billing",))

    async def account(self, **fields: Any) -> str:
        """Create an account; return its id."""
        body = {"external_id": f"bench-{secrets.token_hex(6)}", **fields}
        answer = await self.http.post(
            "/admin/accounts", json=body, headers=self.headers("*", "admin")
        )
        assert answer.is_success, answer.text
        return str(answer.json()["id"])

    async def noop(self) -> None:
        """Run an empty workflow to its end."""
        await self.temporal.execute_workflow(
            NoopWorkflow.run, 1, id=f"bench/{secrets.token_hex(8)}", task_queue=INTERACTIVE
        )

    async def ready(self) -> None:
        """Return when the API answers."""
        for _ in range(READY_SECONDS * 10):
            with suppress(httpx2.TransportError):
                await self.http.get("/meta/features")
                return
            await asyncio.sleep(0.1)
        raise TimeoutError("the API did not start")

    async def subscription(self, account: str) -> dict[str, Any]:
        """Return the account's subscription."""
        answer = await self.http.get("/billing/subscription", headers=self.headers(account))
        found: dict[str, Any] = answer.json()
        return found

    async def subscribe(self, account: str) -> dict[str, Any]:
        """Start a subscription; return the answer."""
        answer = await self.http.post(
            "/billing/subscription",
            json={"plan": "pro", "trial": False},
            headers=self.headers(account),
        )
        assert answer.is_success, answer.text
        begun: dict[str, Any] = answer.json()
        return begun

    async def subscribed(self, due: float | None = None, *, expires: bool = False) -> str:
        """Create an account with an active subscription and a card kept for its renewals; the first
        is at the monotonic time `due`, set before the payment: the workflow needs no notice.
        `expires`: its credits expire then, too, as with any plan that has credits.
        """
        account = await self.account()
        begun = await self.subscribe(account)
        while begun["next_action"]["type"] != "confirm_card":
            begun = await self.subscription(account)
        if due is not None:
            await self._end_period(account, timedelta(seconds=due - time.monotonic()))
        intent = begun["next_action"]["client_secret"].partition("_secret_")[0]
        await self.sandbox.confirm_as_client(intent, "pm_card_visa")
        while (await self.subscription(account))["status"] != "active":  # noqa: ASYNC110
            await asyncio.sleep(PAUSE_SECONDS)
        if due is not None and not expires:
            await self._keep_credits(account)
        return account

    async def _end_period(self, account: str, lead: timedelta) -> None:
        """Let the period of a subscription end after `lead`."""
        await self._set(
            "UPDATE subscriptions SET current_period_end = clock_timestamp() + %(lead)s,"
            " cycle_end = clock_timestamp() + %(lead)s,"
            " anchor_wall = (clock_timestamp() + %(lead)s) AT TIME ZONE 'UTC',"
            " period_number = -1, current_period_start = clock_timestamp() - interval '1 month'"
            " WHERE account_id = %(id)s",
            account,
            lead=lead,
        )

    async def _keep_credits(self, account: str) -> None:
        """Extend the credits of the short period by a month: otherwise the account's own
        workflow, which expires them, would run beside the renewal.
        """
        await self._set(
            "WITH lots AS (UPDATE credit_lots SET expires_at = expires_at + interval '1 month'"
            "  WHERE account_id = %(id)s),"
            " balance AS (UPDATE credit_balances"
            "  SET next_expiry = next_expiry + interval '1 month' WHERE account_id = %(id)s)"
            " UPDATE matters SET next_due = next_due + interval '1 month', status = 'resting'"
            " WHERE account_id = %(id)s AND kind = 'account'",
            account,
        )

    async def _set(self, statement: LiteralString, account: str, **values: object) -> None:
        """Change rows of one account, as only a benchmark may."""
        known = {"id": ids.decode(ids.ACCOUNT, account), **values}
        await self.rows.execute(statement, known)

    async def subscription_workflows(self, accounts: list[str]) -> list[str]:
        """Return the workflows of these accounts' subscriptions."""
        rows = await self._rows(
            "SELECT workflow_id FROM matters WHERE kind = 'subscription' AND account_id = ANY(%s)",
            [ids.decode(ids.ACCOUNT, one) for one in accounts],
        )
        return [str(row[0]) for row in rows]

    async def spend_beyond(self, account: str) -> None:
        """Use more than the plan includes, so that the next invoice has a usage line."""
        body = {"event_id": secrets.token_hex(8), "feature_type": "ai_responses",
                "usage_amount": 6_000}  # fmt: skip
        answer = await self.http.post("/usage/record", json=body, headers=self.headers(account))
        assert answer.is_success, answer.text

    async def decline_next(self, account: str) -> None:
        """Let the account's card be declined once."""
        rows = await self._rows(
            "SELECT stripe_customer_id FROM accounts WHERE id = %s",
            ids.decode(ids.ACCOUNT, account),
        )
        await self.sandbox.script(str(rows[0][0]), "insufficient_funds")

    async def undecided_renewals(self, accounts: list[str]) -> int:
        """Count the accounts whose second invoice, of two, is neither paid nor declined."""
        decided = await self._count(
            "SELECT count(*) FROM invoices i WHERE i.account_id = ANY(%s)"
            " AND (i.status = 'paid' OR EXISTS (SELECT FROM payment_attempts t"
            "      WHERE t.invoice_id = i.id AND t.status = 'declined'))",
            accounts,
        )
        return 2 * len(accounts) - decided

    async def start_accounts(self, accounts: list[str]) -> None:
        """Start the accounts' own workflows, as the sweep of each minute does."""
        found = await self.rows.cursor(row_factory=dict_row).execute(
            "SELECT * FROM matters WHERE account_id = ANY(%s) AND kind = 'account'",
            [[ids.decode(ids.ACCOUNT, one) for one in accounts]],
        )
        starts = [start.begin(self.temporal, matters.show(row)) async for row in found]
        await asyncio.gather(*starts)

    async def accounts_at_work(self, accounts: list[str]) -> int:
        """Count the accounts whose own matter does not rest, as their credits must expire."""
        return await self._count(
            "SELECT count(*) FROM matters WHERE account_id = ANY(%s) AND kind = 'account'"
            " AND status <> 'resting'",
            accounts,
        )

    async def _count(self, query: str, accounts: list[str]) -> int:
        rows = await self._rows(query, [ids.decode(ids.ACCOUNT, one) for one in accounts])
        return int(rows[0][0])

    async def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        cursor = await self.rows.execute(query.encode(), values)
        return await cursor.fetchall()


@asynccontextmanager
async def open_bench() -> AsyncIterator[Bench]:
    """Open a stack on free ports, with the yardstick in its worker; deleted afterwards."""
    for name in ("MONEY", "READS"):  # a few callers stand for many
        os.environ[f"BILLING_RATE_LIMIT_{name}"] = "100000000/minute"
    with tempfile.TemporaryDirectory(prefix="billing-bench-") as folder:
        options = Options(
            data=Path(folder) / "data",
            free_ports=True,
            ui=False,
            children=("postgres", "temporal", "sandbox"),
            owner=os.getpid(),
        )
        running = await asyncio.to_thread(launch, options)
        ours = [_start(running.info, *words) for words in (_WORKER, _api(running.info))]
        try:
            bench = await _connect(running.info)
            async with bench.rows:
                await bench.ready()
                yield bench
        finally:
            for process in ours:
                process.terminate()
                process.wait(READY_SECONDS)
            await asyncio.to_thread(running.stop)


_WORKER: Final = ("benchmarks.bench_worker",)


def _api(stack: StackInfo) -> tuple[str, ...]:
    where = ("--host", "127.0.0.1", "--port", str(stack.ports.api))
    kept = ("--timeout-keep-alive", str(KEEP_ALIVE_SECONDS))
    return ("uvicorn", "benchmarks.bench_api:app", *where, *kept, "--no-access-log")


def _start(stack: StackInfo, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        env={**os.environ, **stack.env},
        stdout=subprocess.DEVNULL,
    )


async def _connect(stack: StackInfo) -> Bench:
    http = httpx2.AsyncClient(
        base_url=f"{stack.api_url}/api/v1",
        timeout=30,
        trust_env=False,
        limits=httpx2.Limits(
            max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS
        ),
    )
    temporal = await Client.connect(
        stack.temporal_address,
        namespace=stack.temporal_namespace,
        data_converter=CONVERTER,
    )
    rows = await psycopg.AsyncConnection.connect(dsn(stack.superuser_url), autocommit=True)
    return Bench(stack, http, temporal, SandboxControl(stack.sandbox_url), rows)
