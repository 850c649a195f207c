"""The stage of the tales: a running stack, people who act on it, and checks that count.

Checks read the sandbox's journal and SQL, not only the API's word.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID, uuid4

import httpx2
import psycopg
from psycopg.rows import dict_row
from rich.console import Console

from billing.core import ids
from cli.tokens import mint_token
from devstack.control import StackControl
from devstack.stack import StackInfo, dsn
from sandbox.control import SandboxControl

API: Final = "/api/v1"
PATIENCE_SECONDS: Final = 45.0
Json = dict[str, Any]


class DemoError(Exception):
    """A step that the tale needs did not happen."""


@dataclass
class Stage:
    """The stack with its clients, and the score of checks."""

    stack: StackInfo
    console: Console
    http: httpx2.AsyncClient
    sandbox: SandboxControl
    control: StackControl
    passed: int = 0
    failed: list[str] = field(default_factory=list)

    def title(self, words: str) -> None:
        """Begin a tale."""
        self.console.print(f"\n[bold]{words}[/]")

    def say(self, words: str) -> None:
        """Print one line of the story."""
        self.console.print(f"  [dim]·[/] {words}", highlight=False)

    def check(self, what: str, holds: bool, seen: object = "") -> None:
        """Count a claim; a false one shows what was seen instead."""
        if holds:
            self.passed += 1
            self.console.print(f"  [green]✓[/] {what}", highlight=False)
        else:
            self.failed.append(what)
            self.console.print(f"  [red]✗ {what}[/] — seen: {seen}", highlight=False)

    async def operate(
        self, method: str, path: str, body: Json | None = None, **headers: str
    ) -> Json:
        """Send a request as an administrator."""
        return await self.request(method, path, body, self.token("*", "admin"), **headers)

    async def customer(self, name: str, clock_at: str | None = None) -> "Customer":
        """Create an account; with `clock_at` a test account on its own frozen clock."""
        fields: Json = {"external_id": f"demo-{name}-{uuid4().hex[:8]}", "name": name.title()}
        if clock_at is not None:
            fields |= {"is_test": True, "clock_at": clock_at}
        made = await self.operate("POST", "/admin/accounts", fields)
        return Customer(self, str(made["id"]))

    async def sql(self, query: str, **values: Any) -> list[Json]:
        """Return rows as the superuser, without the API and row-level security."""
        url = dsn(self.stack.superuser_url)
        async with (
            await psycopg.AsyncConnection.connect(url, autocommit=True) as connection,
            connection.cursor(row_factory=dict_row) as cursor,
        ):
            await cursor.execute(query.encode(), values)
            return await cursor.fetchall()

    async def until(self, look: Callable[[], Awaitable[Any]], what: str) -> Any:
        """Wait until `look` returns a truthy value, and return it."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                seen = await look()
            except (httpx2.HTTPError, psycopg.OperationalError):
                seen = None  # a part of the stack is down on purpose
            if seen:
                return seen
            if time.monotonic() > deadline:
                raise DemoError(f"{what}: not within {PATIENCE_SECONDS:.0f} s")
            await asyncio.sleep(0.05)

    def token(self, account: str, role: str) -> str:
        """Return a bearer token."""
        return mint_token(
            secret=self.stack.jwt_secret,
            account=account,
            roles=[role],
            subject="demo",
            audience=self.stack.jwt_audience,
            issuer=self.stack.jwt_issuer,
        )

    async def request(
        self, method: str, path: str, body: Json | None, token: str, **headers: str
    ) -> Json:
        """Send a request with this token; the answer includes `http_status`."""
        answer = await self.http.request(
            method,
            f"{API}{path}",
            json=body,
            headers={"Authorization": f"Bearer {token}", **headers},
        )
        found: Json = answer.json()
        return found | {"http_status": answer.status_code}


@dataclass(frozen=True)
class Customer:
    """One account, its browser, and what is written about it."""

    stage: Stage
    id: str

    @property
    def uuid(self) -> UUID:
        """The id inside the database."""
        return ids.decode(ids.ACCOUNT, self.id)

    async def ask(self, method: str, path: str, body: Json | None = None, **headers: str) -> Json:
        """Send a request as the account's staff; the answer includes `http_status`."""
        token = self.stage.token(self.id, "billing")
        return await self.stage.request(method, path, body, token, **headers)

    async def download(self, path: str) -> bytes:
        """Return a document of the account."""
        headers = {"Authorization": f"Bearer {self.stage.token(self.id, 'billing')}"}
        answer = await self.stage.http.get(path, headers=headers)
        if answer.status_code != 200:
            raise DemoError(f"{path} answered {answer.status_code}: {answer.text}")
        return answer.content

    async def confirm(self, begun: Json, card: str = "pm_card_visa") -> None:
        """Confirm the card as a browser does."""
        secret = begun["next_action"]["client_secret"]
        await self.stage.sandbox.confirm_as_client(secret.partition("_secret_")[0], card)

    async def save_card(self, card: str, *, make_default: bool = False) -> Json:
        """Save a card by a setup intent, browser included."""
        fields: Json = {"make_default": True, "confirm": "DEFAULT"} if make_default else {}
        begun = await self.ask("POST", "/billing/payment-methods/setup-intent", fields)
        reference = begun["provider_reference"]
        await self.stage.sandbox.confirm_as_client(reference, card)
        body = fields | {"setup_intent_id": reference}
        return await self.ask("POST", "/billing/payment-methods", body)

    async def subscription(self) -> Json:
        """Return the account's subscription."""
        return await self.ask("GET", "/billing/subscription")

    async def until_status(self, path: str, status: str) -> Json:
        """Wait for a status of a resource; return the resource."""

        async def look() -> Json | None:
            seen = await self.ask("GET", path)
            return seen if seen.get("status") == status else None

        found: Json = await self.stage.until(look, f"{path} to be {status}")
        return found

    async def advance(self, *, days: int) -> Json:
        """Advance the account's clock; return it."""
        path = f"/admin/accounts/{self.id}/clock"
        await self.stage.operate("POST", path, {"advance_days": days})

        async def look() -> Json | None:
            seen = await self.stage.operate("GET", path)
            return seen if seen["status"] != "advancing" else None

        clock: Json = await self.stage.until(look, "the clock to arrive")
        if clock["status"] != "ready":
            raise DemoError(f"the clock is {clock['status']}: {clock['blocked']}")
        return clock

    async def charges(self) -> list[Json]:
        """Return charges from the sandbox's journal, including failed ones."""
        return [one for one in await self._effects() if one["name"].startswith("charge.")]

    async def moved(self, name: str) -> list[int]:
        """Return amounts from the sandbox's journal for effects of this name."""
        return [one["amount"] for one in await self._effects() if one["name"] == name]

    async def bank_is_slow(self) -> None:
        """Have the bank answer the next charge with "still processing"."""
        customer = await self._stripe_customer()
        await self.stage.sandbox.script(str(customer), "processing")

    async def bank_says_yes(self) -> None:
        """The charge that the bank was processing succeeds."""
        found = await self.rows(
            "SELECT stripe_payment_intent_id AS id FROM payments WHERE account_id = %(me)s"
            " ORDER BY created_at DESC LIMIT 1"
        )
        await self.stage.sandbox.settle(found[0]["id"])

    async def _effects(self) -> list[Json]:
        customer = await self._stripe_customer()
        return await self.stage.sandbox.effects(customer=customer) if customer else []

    async def _stripe_customer(self) -> str | None:
        found = await self.rows("SELECT stripe_customer_id AS id FROM accounts WHERE id = %(me)s")
        name: str | None = found[0]["id"]
        return name

    async def rows(self, query: str, **values: Any) -> list[Json]:
        """Return rows of this account; `%(me)s` is its id."""
        return await self.stage.sql(query, me=self.uuid, **values)

    async def count(self, query: str, **values: Any) -> int:
        """Return the first column of the first row."""
        return int(next(iter((await self.rows(query, **values))[0].values())))
