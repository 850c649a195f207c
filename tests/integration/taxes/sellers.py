"""Customers whose seller changes."""

from billing.core import ids
from tests.integration.actors import Customer


async def sold_from(customer: Customer, country: str) -> str:
    """A new seller in this country bills the customer from now on: its key."""
    issuer = ids.new()
    await customer.actors.sql(
        "INSERT INTO issuers (id, key, name, address)"
        " VALUES (%(id)s, %(key)s, 'Seller', jsonb_build_object('country', %(country)s::text))",
        id=issuer, key=str(issuer), country=country,
    )  # fmt: skip
    await customer.actors.sql(
        "UPDATE accounts SET issuer_id = %(issuer)s WHERE id = %(me)s",
        issuer=issuer, me=customer.uuid,
    )  # fmt: skip
    return str(issuer)
