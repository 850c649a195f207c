"""A route that takes no body says so of one: its fields would do nothing."""

from uuid import uuid4

import pytest

from tests.integration.actors import Customer

ROUTES = [
    "/billing/trials",
    "/billing/subscription/reactivate",
    "/billing/credits/holds/hold_01kb4x7d4ce1n8dk8jxq4rmz5n/release",
]


@pytest.mark.parametrize("path", ROUTES)
async def test_a_field_that_no_route_takes_is_refused(customer: Customer, path: str) -> None:
    problem = await customer.refused("VALIDATION_FAILED", "POST", path, {"bogus": 1})
    assert problem["errors"] == [{"field": "bogus", "message": "this route takes no body"}]


async def test_an_empty_body_is_none(customer: Customer) -> None:
    begun = await customer.ask("POST", "/billing/trials", {}, status=201, key=str(uuid4()))
    assert begun["status"] == "active"
