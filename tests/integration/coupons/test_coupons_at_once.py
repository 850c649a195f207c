"""A coupon that many use at once: nobody waits for another's preview or checkout [L1]."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.coupons import store as coupons
from billing.core import ids
from billing.core.clock import real_now
from billing.core.database import Database
from billing.core.errors import Invalid
from billing.money.discounts import service, store
from billing.money.discounts.service import Redeeming
from billing.platform.accounts import store as accounts
from tests.integration.actors import Actors, Customer, Json
from tests.integration.coupons.coupons_made import CLOCK, COUPON, coupon, redeemed
from tests.integration.locked import other_session

PATH = "/billing/subscription"
ROW = "SELECT FROM coupons WHERE code = %s FOR NO KEY UPDATE"
PREVIEWS: list[tuple[str, str, Json]] = [
    ("POST", f"{COUPON}?dry_run=true", {}),
    ("PUT", f"{PATH}?dry_run=true", {"plan": "pro"}),
    ("POST", f"{PATH}/preview", {"plan": "pro"}),
]


@asynccontextmanager
async def checking_out(
    customer: Customer, database: Database, code: str
) -> AsyncIterator[AsyncConnection]:
    """An order of a pack with the coupon, which is not committed yet."""
    begun = await customer.buy("small")
    async with database.tenant(customer.uuid) as connection:
        asked = Redeeming(
            code=code,
            product="small",
            currency="USD",
            purchase_id=ids.decode(ids.PURCHASE, begun["purchase_id"]),
        )
        account = await accounts.get(connection, customer.uuid)
        discount = await service.redeem(connection, account, asked, ids.new(), real_now())
        await store.add(connection, discount)
        yield connection


async def test_a_preview_waits_for_no_checkout_with_the_same_coupon(actors: Actors) -> None:
    code = await coupon(actors, percent="50", max_redemptions=1)
    subscriber, orderer = await actors.customer_on_clock(CLOCK), await actors.customer()
    await subscriber.subscribed("basic")
    async with other_session(actors.stack) as checkout:
        await checkout.execute(ROW, [code])
        for method, path, body in PREVIEWS:
            sent = {"code": code} if path.startswith(COUPON) else body | {"coupon": code}
            async with asyncio.timeout(4):
                await subscriber.ask(method, path, sent, status=200)
        order = {"plan": "pro", "coupon": code, "trial": False}
        async with asyncio.timeout(4):
            seen = await orderer.ask("POST", f"{PATH}?dry_run=true", order, status=200)
    assert seen["due_now_cents"] == 2450
    assert await redeemed(actors, code) == 0


async def test_a_preview_has_the_coupon_that_its_unpaid_order_gives_back(actors: Actors) -> None:
    code = await coupon(actors, percent="50", max_redemptions=1)
    customer = await actors.customer()
    begun = await customer.subscribe("pro", coupon=code)
    assert (begun["status"], await redeemed(actors, code)) == ("incomplete", 1)
    order = {"plan": "pro", "coupon": code, "trial": False}
    async with other_session(actors.stack) as checkout:
        await checkout.execute(ROW, [code])
        async with asyncio.timeout(4):
            seen = await customer.ask("POST", f"{PATH}?dry_run=true", order, status=200)
    assert seen["due_now_cents"] == 2450
    assert await redeemed(actors, code) == 1


async def test_a_checkout_waits_for_no_other_with_the_same_coupon(
    actors: Actors, database: Database
) -> None:
    code = await coupon(actors, percent="50", max_redemptions=2)
    slow, fast = await actors.customer(), await actors.customer()
    async with checking_out(slow, database, code):
        async with asyncio.timeout(4):
            await fast.buy("small", coupon=code)
        assert await redeemed(actors, code) == 1
    assert await redeemed(actors, code) == 2


async def test_who_comes_first_has_the_last_redemption(actors: Actors, database: Database) -> None:
    code = await coupon(actors, percent="50", max_redemptions=1)
    slow, fast = await actors.customer(), await actors.customer()
    with pytest.raises(Invalid) as refused:
        async with checking_out(slow, database, code):
            await fast.buy("small", coupon=code)
    assert (refused.value.code, refused.value.fields["reason"]) == ("INVALID_COUPON", "used_up")
    assert await redeemed(actors, code) == 1
    assert await slow.rows("SELECT FROM discounts WHERE account_id = %(me)s") == []


async def test_two_who_use_two_coupons_the_other_way_round_do_not_wait_for_each_other(
    actors: Actors, database: Database
) -> None:
    codes = [await coupon(actors, percent="10") for _ in range(2)]
    rows = [UUID(str((await actors.sql("SELECT id FROM coupons WHERE code = %(code)s", code=one))
            [0]["id"])) for one in codes]  # fmt: skip
    both_have_one = asyncio.Barrier(2)

    async def count(first: UUID, second: UUID) -> None:
        async with database.operator() as connection:
            await coupons.count(connection, first, 1)
            await both_have_one.wait()
            await coupons.count(connection, second, 1)

    async with asyncio.timeout(4):
        await asyncio.gather(count(*rows), count(*reversed(rows)))
    assert [await redeemed(actors, one) for one in codes] == [2, 2]
    async with database.operator() as connection:
        for one in rows:
            await coupons.count(connection, one, -2)
