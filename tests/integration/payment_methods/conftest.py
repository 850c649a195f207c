"""Customers who save cards over the running API, with the sandbox playing their browser."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID, uuid4

import httpx2
import pytest
from sqlalchemy import Row, text

from billing.core import ids
from billing.core.database import Database, open_database
from billing.core.settings import Settings
from embedded.stack import StackInfo
from embedded.tokens import mint_token
from sandbox.control import SandboxControl

API: Final = "/api/v1"
METHODS: Final = "/billing/payment-methods"
PATIENCE_SECONDS: Final = 15
Json = dict[str, Any]


@dataclass(frozen=True)
class Customer:
    """A fresh account, whoever may act for it, and its things at the sandbox."""

    client: httpx2.AsyncClient
    stack: StackInfo
    database: Database
    sandbox: SandboxControl
    account: Json

    @property
    def account_id(self) -> UUID:
        """The row id of the account."""
        return ids.decode(ids.ACCOUNT, self.account["id"])

    async def call(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        role: str = "billing",
        key: str | None = None,
    ) -> httpx2.Response:
        """One request; admins name the account in the path."""
        account = "*" if role == "admin" else self.account["id"]
        headers = bearer(self.stack, account, role)
        if key is not None:
            headers["Idempotency-Key"] = key
        return await self.client.request(method, f"{API}{path}", json=body, headers=headers)

    async def begin(self, **body: Any) -> Json:
        """Ask to save a card: the setup intent with its secret."""
        answer = await self.call("POST", f"{METHODS}/setup-intent", body)
        assert answer.status_code == 201, answer.text
        begun: Json = answer.json()
        return begun

    async def save(self, card: str = "pm_card_visa", **body: Any) -> Json:
        """Save a card as a person does, and let the product know at once."""
        begun = await self.begin(**body)
        reference = begun["provider_reference"]
        assert (await self.sandbox.confirm_as_client(reference, card)).status == 200
        answer = await self.call("POST", METHODS, {"setup_intent_id": reference})
        assert answer.status_code == 201, answer.text
        saved: Json = answer.json()
        return saved

    async def methods(self) -> list[Json]:
        """The stored methods, newest first."""
        answer = await self.call("GET", METHODS, role="member")
        assert answer.status_code == 200, answer.text
        listed: list[Json] = answer.json()["data"]
        return listed

    async def eventually(self, wanted: Callable[[list[Json]], bool]) -> list[Json]:
        """The stored methods, as soon as they are as wanted."""
        seen: list[Json] = await until(self.methods, wanted)
        return seen

    async def rows(self, sql: str, **values: Any) -> list[Row[Any]]:
        """What the database says of this account."""
        async with self.database.tenant(self.account_id) as connection:
            return list(await connection.execute(text(sql), values))

    async def stripe_customer(self) -> str:
        """The account's customer at the sandbox."""
        rows = await self.rows("SELECT stripe_customer_id FROM accounts")
        return str(rows[0][0])

    async def stripe(self, method: str, path: str, **form: str) -> Json:
        """One call of Stripe's own API, as its dashboard would make it."""
        headers = {"Authorization": f"Bearer {self.stack.stripe_secret_key}"}
        url = f"{self.stack.sandbox_url}{path}"
        if method == "GET":
            answer = await self.client.get(url, params=form, headers=headers)
        else:
            answer = await self.client.post(url, data=form, headers=headers)
        assert answer.status_code == 200, answer.text
        told: Json = answer.json()
        return told


async def until(look: Callable[[], Awaitable[Any]], wanted: Callable[[Any], bool]) -> Any:
    """What `look` sees once it is as wanted; fails with the last look when it never is."""
    seen = await look()
    for _ in range(PATIENCE_SECONDS * 20):
        if wanted(seen):
            return seen
        await asyncio.sleep(0.05)
        seen = await look()
    raise AssertionError(f"never as wanted, at last: {seen}")


def bearer(stack: StackInfo, account: str, role: str) -> dict[str, str]:
    """The headers of a caller."""
    token = mint_token(
        secret=stack.jwt_secret,
        account=account,
        roles=[role],
        subject=f"tester-{uuid4()}",
        audience=stack.jwt_audience,
        issuer=stack.jwt_issuer,
    )
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="session")
async def browser(stack: StackInfo) -> AsyncIterator[httpx2.AsyncClient]:
    """One HTTP client for the whole run."""
    async with httpx2.AsyncClient(base_url=stack.api_url, timeout=30, trust_env=False) as client:
        yield client


@pytest.fixture(scope="session")
async def sandbox(stack: StackInfo) -> AsyncIterator[SandboxControl]:
    """The control plane of the run's sandbox."""
    async with SandboxControl(stack.sandbox_url) as control:
        yield control


@pytest.fixture(scope="session")
async def database(stack: StackInfo) -> AsyncIterator[Database]:
    """The run's database, by the product's own roles."""
    opened = open_database(
        Settings.model_validate(
            {"database_url": stack.app_url, "database_operator_url": stack.operator_url}
        )
    )
    yield opened
    await opened.close()


@pytest.fixture
def new_customer(
    browser: httpx2.AsyncClient, stack: StackInfo, database: Database, sandbox: SandboxControl
) -> Callable[..., Awaitable[Customer]]:
    """Makes a fresh account; fields such as `is_test` and `clock_at` go to its birth."""

    async def make(**fields: Any) -> Customer:
        body = {"external_id": f"cards-{uuid4()}"} | fields
        answer = await browser.post(
            f"{API}/admin/accounts", json=body, headers=bearer(stack, "*", "admin")
        )
        assert answer.status_code == 201, answer.text
        return Customer(browser, stack, database, sandbox, answer.json())

    return make


@pytest.fixture
async def customer(new_customer: Callable[..., Awaitable[Customer]]) -> Customer:
    """A fresh account in real time."""
    return await new_customer()
