"""A product service of our own: a small real server whose answers each test sets."""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from sqlalchemy import text

from api.app import create_app
from api.pricing import Prices
from billing.core.database import open_database
from devstack.stack import StackInfo
from gateways.pricing import HttpPrices
from tests.integration.api_app import Api, stack_settings
from tests.integration.usage.conftest import Shop
from workflows.client import connect

TIMEOUT_SECONDS = 30.0
FRESH_SECONDS = 60.0
TERMS: dict[str, Any] = {"unit_price": "0.01", "service_type": "model_inference"}


@dataclass
class ProductService:
    """A product service: its answers by product (terms, a status, or bytes), and its callers."""

    url: str = ""
    answers: dict[str, Any] = field(default_factory=dict)
    slow_seconds: float = 0
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)

    traces: list[str | None] = field(default_factory=list)

    async def answer(self, product: str, request: Request) -> Response:
        self.traces.append(request.headers.get("traceparent"))
        self.asked[product, request.query_params["user_id"]] += 1
        await asyncio.sleep(self.slow_seconds)
        told = self.answers.get(product, 404)
        if isinstance(told, int):
            return Response(status_code=told)
        return Response(told) if isinstance(told, bytes) else JSONResponse(told)


@pytest.fixture
async def product_service() -> AsyncIterator[ProductService]:
    served, app = ProductService(), FastAPI()
    app.add_api_route("/api/v1/products/{product:path}/pricing", served.answer)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        served.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        running = asyncio.create_task(server.serve(sockets=[listening]))
        yield served
        server.should_exit = True
        await running


@dataclass
class Priced:
    """An API that asks the product service; `seconds` is the time of its memory."""

    api: Api
    service: ProductService
    seconds: float = 0
    timeout_seconds: float = TIMEOUT_SECONDS
    """After which `forget` has it give the service up."""

    def forget(self) -> None:
        """As after a restart of the process."""
        services = self.api.app.state.services
        services.prices = Prices(
            services.database,
            HttpPrices(self.service.url, self.timeout_seconds),
            fresh_seconds=FRESH_SECONDS,
            stale=timedelta(days=1),
            time=lambda: self.seconds,
        )

    async def shop(self, credits: str = "100") -> Shop:
        made = Shop(self.api, await self.api.new_account())
        await made.opened_before(timedelta(days=400))
        await made.grant(credits)
        return made


@pytest.fixture
async def priced(stack: StackInfo, product_service: ProductService) -> AsyncIterator[Priced]:
    settings = stack_settings(stack, product_service_url=product_service.url)
    database = open_database(settings)
    app = create_app(settings, database, await connect(settings))
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://api") as client:
        made = Priced(Api(app, client, stack), product_service)
        assert app.state.services.prices.are_external, "the setting is heard"
        await app.state.services.prices.close()
        made.forget()
        yield made
        await app.state.services.prices.close()
    await database.close()


def named() -> str:
    """A product nobody has heard of yet."""
    return f"llm-{uuid4().hex[:12]}"


async def cost(shop: Shop, product: str) -> str:
    return str((await shop.record("100", product_id=product))["total_cost"])


async def age(shop: Shop, product: str, by: timedelta) -> None:
    """Let the product service's last word on the product be older."""
    async with shop.api.database.operator() as connection:
        await connection.execute(
            text(
                "UPDATE price_overrides SET checked_at = checked_at - :by"
                " WHERE account_id = :id AND product = :product"
            ),
            {"by": by, "id": shop.id, "product": product},
        )
