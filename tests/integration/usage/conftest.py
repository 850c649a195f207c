"""Shops that use things: fresh accounts with credits, plans and quotas, over the app's routes."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import httpx2
import psycopg
import pytest
from sqlalchemy import text

from billing.core import ids
from billing.ledger.credits import service as credits
from devstack.stack import StackInfo, dsn
from tests.integration.api_app import Api
from tests.integration.catalog.subscribing import START, subscribe

V1 = "/api/v1"


@dataclass(frozen=True)
class Shop:
    """One account and those who call for it."""

    api: Api
    account: dict[str, Any]

    @property
    def id(self) -> UUID:
        return ids.decode(ids.ACCOUNT, self.account["id"])

    def headers(self, role: str = "billing") -> dict[str, str]:
        return self.api.token(self.account["id"], [role])

    async def post(
        self, path: str, body: Any, role: str = "billing", **headers: str
    ) -> httpx2.Response:
        return await self.api.client.post(
            f"{V1}{path}", json=body, headers=self.headers(role) | headers
        )

    async def get(self, path: str, **query: Any) -> Any:
        answer = await self.api.client.get(f"{V1}{path}", params=query, headers=self.headers())
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def limits(self, **query: Any) -> list[dict[str, Any]]:
        """The plan's limits and the quotas, with what counts against them."""
        return list((await self.get("/usage/limits", **query))["data"])

    async def record(self, amount: str = "1000", status: int = 201, **fields: Any) -> Any:
        """One use of gpt-4, unless something else is named."""
        named = {"product_id", "feature_type", "service_type"} & fields.keys()
        body = {"usage_amount": amount} | ({} if named else {"product_id": "gpt-4"}) | fields
        answer = await self.post("/usage/record", body)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def batch(self, *rows: dict[str, Any]) -> Any:
        answer = await self.post("/usage/batch", {"events": list(rows)})
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def sell(
        self,
        product: str,
        prices: dict[str, Any],
        meter: str = "mcp_service",
        service: str = "mcp_service",
    ) -> str:
        """Put a product on sale, or this one at new prices; its key."""
        path = f"{V1}/admin/products/{product}?allow_large_change=true"
        body = {"name": "A product", "meter": meter, "service_type": service, "prices": prices}
        answer = await self.api.client.put(path, json=body, headers=self.api.admin())
        assert answer.status_code == 200, answer.text
        return product

    async def grant(self, amount: str, *, paid: bool = True, scope: str | None = None) -> None:
        async with self.api.database.tenant(self.id) as connection:
            await credits.grant(
                connection,
                account_id=self.id,
                amount=Decimal(amount),
                kind="purchase" if paid else "adjustment",
                key=f"usage-test/{uuid4()}",
                is_paid=paid,
                scope=scope,
                reason="test",
            )

    async def opened_before(self, ago: timedelta) -> None:
        """Date its opening back: so far back its staff may date uses."""
        async with self.api.database.operator() as connection:
            opened = text("UPDATE accounts SET created_at = created_at - :ago WHERE id = :id")
            await connection.execute(opened, {"ago": ago, "id": self.id})

    async def balance(self) -> Decimal:
        return Decimal((await self.get("/billing/credits/balance"))["credits"])

    async def subscribe(self, plan: str, **times: datetime) -> None:
        async with self.api.database.operator() as connection:
            await subscribe(connection, self.id, plan, "active", **times)

    async def quota(self, limit: str, **fields: Any) -> Any:
        body = {"account_id": self.account["id"], "limit": limit}
        named = {} if "service_type" in fields else {"feature_type": "chat_messages"}
        answer = await self.api.client.put(
            f"{V1}/admin/quotas", json=body | named | fields, headers=self.api.admin()
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def rows(self, query: str) -> list[Any]:
        """Rows of the account: `:id` is its id."""
        async with self.api.database.tenant(self.id) as connection:
            return [tuple(row) for row in await connection.execute(text(query), {"id": self.id})]


NewShop = Callable[..., Awaitable[Shop]]


@pytest.fixture(scope="module")
def plain(stack: StackInfo) -> Iterator[psycopg.Connection[Any]]:
    """A connection of the app's role, without SQLAlchemy and asyncio."""
    with psycopg.connect(dsn(stack.app_url), autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def new_shop(api: Api) -> NewShop:
    """Makes a shop that was opened long ago; `credits` are bought ones."""
    return shop_maker(api)


@pytest.fixture(scope="module")
async def basic_shop(new_shop: NewShop) -> Shop:
    """A test shop whose clock stands still as its month of the plan `basic` begins."""
    made = await new_shop(is_test=True, clock_at=START.isoformat())
    await made.subscribe("basic")
    return made


def shop_maker(api: Api) -> NewShop:
    """Returns what makes such shops over this app."""

    async def make(
        credits: str | None = None, opened: timedelta = timedelta(days=400), **fields: Any
    ) -> Shop:
        shop = Shop(api, await api.new_account(**fields))
        await shop.opened_before(opened)
        if credits:
            await shop.grant(credits)
        return shop

    return make
