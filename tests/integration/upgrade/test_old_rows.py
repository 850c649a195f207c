"""The upgrade puts right what the release before wrote otherwise, and the daily job what a worker
of it lets go of meanwhile.
"""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import pytest
from temporalio.testing import ActivityEnvironment

from activities import earlier_release
from billing.core.database import open_database
from devstack.options import ROOT
from devstack.stack import StackInfo
from migrations.draft import releases
from tests.integration.actors import Actors, Customer, open_actors, wait_for
from tests.integration.dunning.dunning_setup import START
from tests.integration.upgrade.programs import Site, unpack
from tests.integration.upgrade.spending import defer
from tests.integration.upgrade.test_upgrade import books_agree, settings
from tests.integration.workflows.test_trial_ends import on_trial

pytestmark = pytest.mark.slow
NOT_SOLD: Final = "UPDATE plans SET is_active = false WHERE key = 'free' AND is_current"
"""As `catalog apply` of a file without it wrote."""
WATCHED: Final = "SELECT status FROM matters WHERE account_id = %(me)s AND kind = 'account'"


async def test_what_was_written_otherwise_is_put_right(bare: StackInfo, tmp_path: Path) -> None:
    [*_, release] = releases()
    old, new = Site(bare, unpack(release["commit"], tmp_path / "release")), Site(bare, ROOT)
    old.provision()
    async with AsyncExitStack() as programs:
        api = await programs.enter_async_context(old.api(bare.ports.api, bare.ports.api_metrics))
        actors = await programs.enter_async_context(open_actors(api))
        async with old.worker():
            paused = await _paused(actors)
            shopper = await actors.customer_on_clock(START)
            cards = [await shopper.save_card(card) for card in ("pm_card_visa", "pm_card_amex")]
            await _bar(shopper, cards[-1]["id"])
            strange = [await actors.customer(country=code) for code in ("UK", "EL")]
            owing = await actors.customer()
            await defer(owing)
            await actors.sql(NOT_SOLD)
            await _price(actors, "3")
            await asyncio.to_thread(new.provision)
            assert await _priced(actors) == 3
            await _price(actors, "4")
            assert await _priced(actors) == 4, "the release before goes on changing costs"
            await _until(owing, "closed")
        assert await _reason(paused) == "trial_ended"
        assert await _default_card(shopper) == cards[0]["id"], "one that can pay"
        assert [await _country(one) for one in strange] == ["GB", "GR"]
        assert await actors.sql("SELECT FROM default_plan") == [], "nobody has what is not sold"
        database = open_database(settings(new))
        await ActivityEnvironment().run(earlier_release.make_up, database)
        await database.close()
        await _until(owing, "open")
    await books_agree(new)


async def _paused(actors: Actors) -> Customer:
    """A customer whose trial ended so."""
    customer = await on_trial(actors, "pause")
    await customer.advance(to="2027-01-20T10:00:00Z")
    assert (await customer.subscription())["status"] == "paused"
    return customer


async def _price(actors: Actors, cost: str) -> None:
    """An operator of the release before sets what an operation costs."""
    await actors.operate("PUT", "/admin/credit-costs/draft", {"cost": cost})


async def _priced(actors: Actors) -> Any:
    [row] = await actors.sql("SELECT credit_cost('draft', '2026-01-01') AS cost")
    return row["cost"]


async def _bar(customer: Customer, card: str) -> None:
    """Its bank bars this card, and the default one was removed at Stripe."""
    await customer.rows(
        "UPDATE payment_methods SET is_default = false, barred_at ="
        " CASE public_id('mth', id) WHEN %(card)s THEN created_at END WHERE account_id = %(me)s",
        card=card,
    )


async def _until(customer: Customer, status: str) -> None:
    """The account's matter comes to this."""
    await wait_for(
        lambda: customer.rows(WATCHED), f"it is {status}",
        lambda found: [one["status"] for one in found] == [status],
    )  # fmt: skip


async def _reason(customer: Customer) -> Any:
    return await _one(customer, "pause_reason AS it FROM subscriptions WHERE account_id = %(me)s")


async def _country(customer: Customer) -> Any:
    return await _one(customer, "country AS it FROM accounts WHERE id = %(me)s")


async def _default_card(customer: Customer) -> Any:
    found = "public_id('mth', id) AS it FROM payment_methods WHERE account_id = %(me)s"
    return await _one(customer, f"{found} AND is_default")


async def _one(customer: Customer, found: str) -> Any:
    [row] = await customer.rows(f"SELECT {found}")
    return row["it"]
