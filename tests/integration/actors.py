"""Everybody in a story: operators, customers and the browsers in front of them, on one stack.

Tests speak to the running API as strangers would; what really happened to money they ask the
sandbox, and what is written down they ask the database as its superuser.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any, Final
from uuid import UUID, uuid4

import httpx2
from temporalio.client import Client

from billing.core import ids
from cli.tokens import mint_token
from devstack.control import StackControl
from devstack.stack import StackInfo, dsn
from sandbox.control import Json, Outcome, SandboxControl
from tests.integration.superuser import Superuser
from tests.integration.waiting import PATIENCE_SECONDS, Unexpected, body_of, wait_for
from workflows.converter import CONVERTER

__all__ = [
    "API",
    "PATIENCE_SECONDS",
    "Actors",
    "Customer",
    "Json",
    "Unexpected",
    "instant",
    "intent_of",
    "open_actors",
    "wait_for",
]  # fmt: skip

API: Final = "/api/v1"


@dataclass(frozen=True)
class Actors:
    """One running stack and the ways to act on it; use `open_actors`."""

    stack: StackInfo
    client: httpx2.AsyncClient
    sandbox: SandboxControl
    control: StackControl
    temporal: Client
    superuser: Superuser

    def headers(self, account: str, role: str, key: str | None = None) -> dict[str, str]:
        """Headers of a caller: a role of one account, or of `*`; each call is another person."""
        token = mint_token(
            secret=self.stack.jwt_secret,
            account=account,
            roles=[role],
            subject=f"somebody-{uuid4()}",
            audience=self.stack.jwt_audience,
            issuer=self.stack.jwt_issuer,
        )
        held = {"Authorization": f"Bearer {token}"}
        return held | ({"Idempotency-Key": key} if key else {})

    async def operate(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        status: int | None = None,
        account: str | None = None,
        key: str | None = None,
    ) -> Json:
        """An operator's request, for an account, and its JSON; any 2xx unless `status` is given."""
        headers = self.headers("*", "admin", key)
        headers |= {"X-Account-Id": account} if account else {}
        answer = await self.client.request(method, f"{API}{path}", json=body, headers=headers)
        return body_of(answer, status)

    async def customer(self, **fields: Any) -> "Customer":
        """A fresh account in real time; fields go to `POST /admin/accounts`."""
        made = await self.operate(
            "POST", "/admin/accounts", {"external_id": f"shop-{uuid4()}"} | fields, status=201
        )
        return Customer(self, made)

    async def customer_on_clock(
        self, at: str = "2027-01-01T10:00:00Z", **fields: Any
    ) -> "Customer":
        """A fresh test account whose clock stands at `at` until it is advanced."""
        return await self.customer(is_test=True, clock_at=at, **fields)

    async def sql(self, query: str, **values: Any) -> list[Json]:
        """Rows as the superuser sees them, behind every wall; values as `%(name)s`."""
        return await self.superuser.rows(query, values)


@dataclass(frozen=True)
class Customer:
    """One account: its own staff, its buyers' browsers, and what is written about it."""

    actors: Actors
    account: Json = field(repr=False)

    @property
    def id(self) -> str:
        """`acc_…`"""
        return str(self.account["id"])

    @property
    def uuid(self) -> UUID:
        """The id inside the database."""
        return ids.decode(ids.ACCOUNT, self.id)

    # -- the API ---------------------------------------------------------------------------

    async def call(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        role: str = "billing",
        key: str | None = None,
    ) -> httpx2.Response:
        """One request of the account's own staff, whatever comes back."""
        return await self.actors.client.request(
            method, f"{API}{path}", json=body, headers=self.actors.headers(self.id, role, key)
        )

    async def ask(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        status: int | None = None,
        key: str | None = None,
    ) -> Json:
        """The same, answering the JSON; any 2xx will do unless `status` is given."""
        return body_of(await self.call(method, path, body, key=key), status)

    async def refused(
        self, code: str, method: str, path: str, body: Json | None = None, **more: Any
    ) -> Json:
        """The same, for a request that must be refused with this code."""
        answer = await self.call(method, path, body, **more)
        problem: Json = answer.json()
        assert problem.get("code") == code, f"{method} {path}: {answer.status_code} {answer.text}"
        return problem

    async def buy(
        self, pack: str = "small", flow: str = "card", *, key: str | None = None, **more: Any
    ) -> Json:
        """Start a purchase; the answer holds `purchase_id` and `next_action`."""
        key = key or (str(uuid4()) if flow == "saved_card" else None)
        body = {"pack": pack, "payment_method": flow} | more
        return await self.ask("POST", "/billing/purchases", body, key=key)

    async def purchase(self, purchase_id: str) -> Json:
        """One purchase as the API shows it."""
        return await self.ask("GET", f"/billing/purchases/{purchase_id}", status=200)

    async def subscribe(self, plan: str = "pro", **more: Any) -> Json:
        """Subscribe, without a trial unless asked for."""
        return await self.ask(
            "POST", "/billing/subscription", {"plan": plan, "trial": False} | more
        )

    async def subscribe_by_transfer(self, plan: str = "basic", **more: Any) -> Json:
        """The same, as an operator does it for a customer who is sent invoices."""
        body = {"plan": plan, "trial": False, "collection": "send_invoice"} | more
        return await self.actors.operate("POST", "/billing/subscription", body, account=self.id)

    async def subscription(self) -> Json:
        """The open subscription, else the newest that ended."""
        return await self.ask("GET", "/billing/subscription", status=200)

    async def credits(self) -> Decimal:
        """The balance of credits."""
        shown = await self.ask("GET", "/billing/credits/balance", status=200)
        return Decimal(shown["credits"])

    async def restored_as_expired(self, purchase_id: str) -> None:
        """Our books say "expired" while Stripe still takes money: as after a restored backup."""
        await self.rows(
            "WITH p AS (UPDATE purchases SET status = 'expired', closed_at = created_at"
            "           WHERE id = %(purchase)s RETURNING invoice_id),"
            " v AS (UPDATE invoices SET status = 'void' WHERE id = (SELECT invoice_id FROM p))"
            " UPDATE payments SET status = 'canceled'"
            " WHERE invoice_id = (SELECT invoice_id FROM p)",
            purchase=ids.decode(ids.PURCHASE, purchase_id),
        )
        workflow = self.actors.temporal.get_workflow_handle(f"purchase/{purchase_id}")
        await workflow.signal("changed")
        await workflow.result()

    # -- the browser in front of the buyer ---------------------------------------------------

    async def confirm(self, begun: Json, card: str = "pm_card_visa") -> Outcome:
        """Confirm what `next_action` asks for (or a client secret), as a browser does."""
        return await self.actors.sandbox.confirm_as_client(intent_of(begun), card)

    async def pay(self, begun: Json, card: str = "pm_card_visa") -> None:
        """The same with a card that pays."""
        outcome = await self.confirm(begun, card)
        assert outcome.status == 200, outcome.body

    async def save_card(self, card: str = "pm_card_visa", **fields: Any) -> Json:
        """Save a card as the default one, as a browser and the API do it together."""
        begun = await self._decided("/billing/payment-methods/setup-intent", fields)
        reference = begun["provider_reference"]
        assert (await self.actors.sandbox.confirm_as_client(reference, card)).status == 200
        return await self._decided("/billing/payment-methods", {"setup_intent_id": reference})

    async def _decided(self, path: str, body: Json) -> Json:
        """Create something; while the answer is 202, ask again with the same key."""
        key, what = str(uuid4()), f"POST {path} is decided"
        ask = partial(self.call, "POST", path, body, key=key)
        return body_of(await wait_for(ask, what, lambda seen: seen.status_code != 202), 201)

    async def subscribed(self, plan: str = "pro", card: str = "pm_card_visa", **more: Any) -> Json:
        """An active subscription, paid by a card that is kept for the renewals."""
        await self.pay(await self.subscribe(plan, **more), card)
        return await self.until_subscription("active")

    async def bought(self, pack: str = "small", **more: Any) -> Json:
        """A purchase that is paid and granted."""
        begun = await self.buy(pack, **more)
        await self.pay(begun)
        return await self.until_purchase(begun["purchase_id"], "completed")

    async def top_up(self, pack: str = "small", threshold: str = "100000") -> Json:
        """Credits bought by themselves, once; afterwards nothing more is."""
        path, body = "/billing/credits/auto-top-up", {"threshold": threshold, "pack": pack}
        await self.ask("PUT", path, body, status=200)

        async def newest() -> Json:
            (top_up, *_) = (await self.ask("GET", "/billing/credits/top-ups"))["data"]
            return dict(top_up)

        done = await wait_for(
            newest, f"{self.id} is topped up", lambda seen: seen["status"] == "completed"
        )
        await self.ask("PUT", path, body | {"is_enabled": False}, status=200)
        return done

    async def stripe_customer(self) -> str:
        """The account's customer at the sandbox; there once a payment was opened."""
        rows = await self.rows("SELECT stripe_customer_id AS id FROM accounts WHERE id = %(me)s")
        assert rows[0]["id"], f"{self.id} has no customer at the sandbox yet"
        return str(rows[0]["id"])

    async def script(self, *outcomes: str, then: str = "normal") -> None:
        """Script the next charges of this account, whatever card is used."""
        await self.actors.sandbox.script(await self.stripe_customer(), *outcomes, then=then)

    @asynccontextmanager
    async def unheard(self) -> AsyncIterator[None]:
        """Meanwhile no webhook of this account arrives, and nobody can ask for missed events."""
        sandbox = self.actors.sandbox
        drop = await sandbox.webhooks("drop", metadata={"account": self.id})
        poll = await sandbox.fault("error_429", method="GET", path="/v1/events", times=None)
        try:
            yield
        finally:
            await sandbox.clear("webhooks", drop)
            await sandbox.clear("faults", poll)

    # -- waiting, and time -------------------------------------------------------------------

    async def until_purchase(
        self, purchase_id: str, status: str, patience: float = PATIENCE_SECONDS
    ) -> Json:
        """The purchase as soon as it has this status."""
        return await wait_for(
            lambda: self.purchase(purchase_id),
            f"{purchase_id} becomes {status}",
            lambda seen: seen["status"] == status,
            patience=patience,
        )

    async def until_subscription(self, status: str) -> Json:
        """The subscription as soon as it has this status."""
        return await wait_for(
            self.subscription,
            f"the subscription of {self.id} becomes {status}",
            lambda seen: seen["status"] == status,
        )

    async def until_handled(self, type: str) -> None:
        """Somebody has looked into the account's provider events of this type."""
        rows = "SELECT status FROM stripe_webhook_events WHERE account_id = %(me)s AND type = %(t)s"
        await wait_for(
            lambda: self.rows(rows, t=type),
            f"{type} is looked into",
            lambda seen: seen and all(row["status"] == "handled" for row in seen),
        )

    async def aim_clock(self, *, days: int | None = None, to: str | None = None) -> None:
        """Let the test clock walk, without waiting until it has arrived."""
        body = {"advance_days": days} if to is None else {"advance_to": to}
        await self.actors.operate("POST", f"/admin/accounts/{self.id}/clock", body, status=202)

    async def clock(self) -> Json:
        """The test clock's state."""
        return await self.actors.operate("GET", f"/admin/accounts/{self.id}/clock")

    async def advance(self, *, days: int | None = None, to: str | None = None) -> Json:
        """Let the test clock walk, and wait until it has arrived."""
        await self.aim_clock(days=days, to=to)

        arrived = await wait_for(
            self.clock,
            f"the clock of {self.id} arrives",
            lambda seen: seen["status"] != "advancing",
            patience=60,
        )
        assert arrived["status"] == "ready", f"the clock is {arrived['status']}: {arrived}"
        return arrived

    # -- what really happened ----------------------------------------------------------------

    async def effects(self, name: str | None = "charge.succeeded") -> list[Json]:
        """Movements of money at the sandbox: the oracle for "charged once"; None: of every kind."""
        return await self.actors.sandbox.effects(name=name, metadata={"account": self.id})

    async def requests(self, name: str | None = None) -> list[Json]:
        """Requests that reached the sandbox about this account, oldest first."""
        return await self.actors.sandbox.requests(name=name, customer=await self.stripe_customer())

    async def rows(self, query: str, **values: Any) -> list[Json]:
        """Rows behind every wall; `%(me)s` is this account."""
        return await self.actors.sql(query, me=self.uuid, **values)

    async def invoices(self) -> list[Json]:
        """The account's invoices, oldest first."""
        return await self.rows(
            "SELECT * FROM invoices WHERE account_id = %(me)s ORDER BY created_at, id"
        )

    async def steps(self) -> dict[str, str]:
        """Steps that the account's matters did: the end of each step's key, and its result."""
        rows = await self.rows(
            "SELECT key, result FROM steps WHERE account_id = %(me)s ORDER BY real_ran_at"
        )
        return {row["key"].partition("/")[2]: row["result"] for row in rows}

    async def grants(self, kind: str = "purchase") -> list[Json]:
        """The lots of credits of one kind, oldest first."""
        return await self.rows(
            "SELECT * FROM credit_lots WHERE account_id = %(me)s AND kind = %(kind)s"
            " ORDER BY granted_seq",
            kind=kind,
        )

    async def published(self) -> list[str]:
        """The types of the account's outbox events, in order."""
        rows = await self.rows("SELECT type FROM events WHERE account_id = %(me)s ORDER BY seq")
        return [row["type"] for row in rows]


def intent_of(begun: Json) -> str:
    """The provider's intent behind an answer's `next_action`."""
    secret: str = begun["next_action"]["client_secret"]
    return secret.partition("_secret")[0]


def instant(text: str) -> datetime:
    """An instant as the API writes it."""
    return datetime.fromisoformat(text)


@asynccontextmanager
async def open_actors(stack: StackInfo) -> AsyncIterator[Actors]:
    """Act on a running stack; connections are closed at the end."""
    limits = httpx2.Limits(max_connections=100, max_keepalive_connections=100)
    temporal = await Client.connect(
        stack.temporal_address,
        namespace=stack.temporal_namespace,
        data_converter=CONVERTER,
    )
    async with (
        httpx2.AsyncClient(
            base_url=stack.api_url, timeout=PATIENCE_SECONDS, trust_env=False, limits=limits
        ) as client,
        SandboxControl(stack.sandbox_url) as sandbox,
        Superuser(dsn(stack.superuser_url)) as superuser,
    ):
        control = StackControl(stack.control)
        yield Actors(stack, client, sandbox, control, temporal, superuser)
