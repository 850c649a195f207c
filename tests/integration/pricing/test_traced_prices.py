"""The product service hears of the trace in which it is asked."""

from typing import Any

import httpx2
import pytest

from api.app import create_app
from billing.core.database import open_database
from devstack.stack import StackInfo
from tests.collector import collecting
from tests.integration.api_app import Api, stack_settings
from tests.integration.pricing.conftest import ProductService
from workflows.client import connect

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize("is_traced", [True, False])
async def test_the_product_service_is_asked_in_the_trace_of_the_caller(
    stack: StackInfo, product_service: ProductService, is_traced: bool
) -> None:
    product_service.answers["llm"] = {"unit_price": "0.01", "service_type": "model_inference"}
    with collecting() as collector:
        more: dict[str, Any] = {"BILLING_OTLP_ENDPOINT": collector.address} if is_traced else {}
        settings = stack_settings(stack, product_service_url=product_service.url, **more)
        async with open_database(settings) as database:
            app = create_app(settings, database, await connect(settings))
            transport = httpx2.ASGITransport(app=app)
            async with httpx2.AsyncClient(transport=transport, base_url="http://api") as client:
                api = Api(app, client, stack)
                account = await api.new_account()
                answer = await client.post(
                    "/api/v1/billing/calculate",
                    json={"product_id": "llm", "usage_amount": "100"},
                    headers=api.token(account["id"], ["billing"])
                    | {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"},
                )
            assert answer.status_code == 200, answer.text
            await app.state.services.prices.close()
            if app.state.services.tracing is not None:
                await app.state.services.tracing.close()
    (heard,) = product_service.traces
    assert (TRACE in (heard or "")) is is_traced
