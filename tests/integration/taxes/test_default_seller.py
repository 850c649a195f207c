"""Accounts that name no seller are billed by the default one: by that of now, at each invoice."""

from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.clock import real_now
from billing.ledger.credits import service as credits
from billing.money.purchases import service as purchases
from billing.money.purchases.schemas import NewPurchase
from billing.money.subscriptions import reading
from billing.money.taxation.reading import taxation
from billing.platform.accounts import issuers, service
from billing.platform.accounts.schemas import Account, AccountFields
from billing.platform.decisions.service import Read
from devstack.stack import StackInfo
from tests.integration.actors import Actors
from tests.integration.api_app import stack_settings


async def sells(
    connection: AsyncConnection, country: str, *, is_default: bool = True
) -> dict[str, Any]:
    """A new seller in this country."""
    fields = {
        "name": f"Seller of {country}",
        "address": {"line1": "1", "city": "X", "country": country},
        "is_default": is_default,
    }
    found = await issuers.put(connection, f"seller-{uuid4().hex[:8]}", fields, real_now())
    return {"id": found.id, "key": found.key}


async def opened(connection: AsyncConnection, **fields: Any) -> Account:
    wanted = AccountFields(external_id=f"shop-{uuid4()}", country="AT", **fields)
    return (await credits.open_account(connection, wanted))[0]


async def seller_of(connection: AsyncConnection, account: Account) -> tuple[UUID | None, Any]:
    """The account's seller, and the country that its taxes know it in."""
    known = await taxation(connection, account.id)
    return await issuers.seller(connection, account.id), known.seller


async def test_who_was_there_before_the_default_seller_is_billed_by_it(
    superuser: AsyncConnection, stack: StackInfo
) -> None:
    account = await opened(superuser)
    assert await seller_of(superuser, account) == (None, None)
    default = await sells(superuser, "DE")
    assert await seller_of(superuser, account) == (default["id"], "DE")
    wanted = NewPurchase(pack="small", flow="manual")
    await purchases.start(
        superuser, account.id, wanted, purchase_id=uuid4(), settings=stack_settings(stack)
    )  # fmt: skip
    drafted = await superuser.execute(
        text("SELECT issuer_id FROM invoices WHERE account_id = :me"), {"me": account.id}
    )
    assert list(drafted.scalars()) == [default["id"]]


async def test_a_subscription_goes_on_with_the_default_seller(
    actors: Actors, superuser: AsyncConnection
) -> None:
    customer = await actors.customer()
    await customer.subscribe_by_transfer()
    found = await customer.rows("SELECT id FROM subscriptions WHERE account_id = %(me)s")
    subject = Read(found[0]["id"], locked=False)
    for country in ("DE", "FR"):
        default = await sells(superuser, country)
        _, facts = await reading.read(superuser, subject)
        assert facts.issuer_id == default["id"]


async def test_another_default_seller_takes_over_but_for_those_who_name_theirs(
    superuser: AsyncConnection,
) -> None:
    first = await sells(superuser, "DE")
    own = await sells(superuser, "ES", is_default=False)
    unnamed, named = await opened(superuser), await opened(superuser, issuer=own["key"])
    assert await seller_of(superuser, unnamed) == (first["id"], "DE")
    second = await sells(superuser, "FR")
    assert await seller_of(superuser, unnamed) == (second["id"], "FR")
    assert await seller_of(superuser, named) == (own["id"], "ES")
    # Who names none any more is billed as all the others.
    wanted = AccountFields(external_id=named.external_id, issuer=None)
    await service.upsert(superuser, wanted)
    assert await seller_of(superuser, named) == (second["id"], "FR")


async def test_an_invoice_without_a_seller_shows_the_default_one(
    superuser: AsyncConnection,
) -> None:
    default, other = await sells(superuser, "DE"), await sells(superuser, "FR", is_default=False)
    assert await issuers.name(superuser, None) == "Seller of DE"
    assert await issuers.name(superuser, default["id"]) == "Seller of DE"
    assert await issuers.name(superuser, other["id"]) == "Seller of FR"
