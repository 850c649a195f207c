"""The doctor asks the product service as a use does."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from cli.doctor_checks import Patient, products
from tests.integration.pricing.conftest import ProductService


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (404, "healthy"), ({"unit_price": "0.002"}, "healthy"), (500, "unhealthy"),
        (401, "unhealthy"), ({"price": "0.002"}, "unhealthy"),
    ],
)  # fmt: skip
async def test_a_service_whose_prices_fail_is_unhealthy_though_it_answers(
    product_service: ProductService, answer: Any, state: str
) -> None:
    product_service.answers["doctor"] = answer
    asked = SimpleNamespace(
        product_service_url=product_service.url, product_service_timeout_seconds=2
    )
    patient = Patient(cast(Any, asked), cast(Any, None), cast(Any, None), None)
    (sign,) = await products(patient)
    assert sign.state == state, sign.words
