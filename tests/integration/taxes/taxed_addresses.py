"""Jurisdictions that tax is collected for, and customers who move there."""

from typing import Any

from tests.integration.actors import Actors, Customer
from tests.integration.on_sale import put_in_turn

CLOCK = "2027-01-01T10:00:00Z"
ADDRESS = {"line1": "Am Hof 1", "city": "Wien", "country": "AT"}


async def collect(actors: Actors, key: str, name: str, **terms: Any) -> None:
    await put_in_turn(actors, f"/admin/taxes/{key}", {"name": name} | terms)


async def moved_to(customer: Customer, **address: Any) -> None:
    body = ADDRESS | address | {"is_default": True}
    await customer.ask("POST", "/billing/addresses", body, status=201)
