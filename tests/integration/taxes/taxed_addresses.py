"""Jurisdictions that tax is collected for, and customers who move there."""

from typing import Any

from tests.integration.actors import Actors, Customer

CLOCK = "2027-01-01T10:00:00Z"
ADDRESS = {"line1": "Am Hof 1", "city": "Wien", "country": "AT"}


async def collect(actors: Actors, key: str, name: str, **terms: Any) -> None:
    await actors.operate("PUT", f"/admin/taxes/{key}", {"name": name} | terms, status=200)


async def moved_to(customer: Customer, **address: Any) -> None:
    body = ADDRESS | address | {"is_default": True}
    await customer.ask("POST", "/billing/addresses", body, status=201)
