"""A filled database of the release before is upgraded, and both releases serve it side by side."""

import asyncio
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Final

import pytest
from temporalio.client import Client
from temporalio.service import RPCError

from billing.core.database import open_database
from billing.core.settings import Settings
from billing.insight.integrity import service as integrity
from cli import step_back
from devstack.options import ROOT
from devstack.ports import free_ports
from devstack.stack import StackInfo
from migrations.draft import releases
from tests.integration.actors import Customer, open_actors, wait_for
from tests.integration.upgrade.programs import Site, unpack
from tests.integration.upgrade.spending import capture, defer, hold, spend, use_held

pytestmark = pytest.mark.slow
ADDED: Final = """
    DO $$ DECLARE name text; BEGIN
        FOR name IN SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace
            AND relkind IN ('r', 'p') AND NOT relispartition LOOP
            EXECUTE format('ALTER TABLE %%I ADD COLUMN later_text text,'
                ' ADD COLUMN later_flag boolean NOT NULL DEFAULT false', name);
        END LOOP;
    END $$
"""


async def test_both_releases_serve_the_upgraded_database(bare: StackInfo, tmp_path: Path) -> None:
    """Filled by the old one; upgraded under its running API; then each does what it always did."""
    [*_, release] = releases()
    old = Site(bare, unpack(release["commit"], tmp_path / "release"))
    new = Site(bare, ROOT)
    old.provision()
    second = free_ports()
    async with AsyncExitStack() as programs:
        before = await programs.enter_async_context(old.api(bare.ports.api, bare.ports.api_metrics))
        async with old.worker():
            by_old = await programs.enter_async_context(open_actors(before))
            customer = await by_old.customer()
            await customer.bought()
            await spend(customer)
            kept = [await hold(customer) for _ in range(4)]
            unpaid = await customer.buy()
            shopper = await by_old.customer()
            put_off = await defer(shopper)
            cards = [await shopper.save_card(card) for card in ("pm_card_visa", "pm_card_amex")]
            await shopper.rows(
                "UPDATE payment_methods SET is_default = false WHERE account_id = %(me)s"
            )
        await asyncio.gather(asyncio.to_thread(new.provision), *(spend(customer) for _ in range(3)))
        await spend(customer)  # on connections from before the upgrade

        after = await programs.enter_async_context(new.api(second.api, second.api_metrics))
        by_new = await programs.enter_async_context(open_actors(after))
        same = Customer(by_new, customer.account)
        await asyncio.gather(*(spend(who) for who in (customer, same) * 3))
        # What one release began, the other ends.
        await capture(same, kept[0])
        await use_held(same, kept[1])
        begun = await hold(same)
        await capture(customer, begun)
        await use_held(customer, kept[2])
        async with new.worker():
            for who in (customer, same):  # begun by either API, ended by this release's worker
                await who.bought()
            await customer.pay(unpaid)
            await same.until_purchase(unpaid["purchase_id"], "completed")
            kept_cards = (await shopper.ask("GET", "/billing/payment-methods"))["data"]
            chosen = [one["id"] for one in kept_cards if one["is_default"]]
            assert chosen == [cards[-1]["id"]], "none was, after one was removed at Stripe"
            # What the release before put off has credits at last.
            await shopper.bought()
            await wait_for(
                lambda: shopper.ask("GET", f"/billing/records/{put_off}"), "it is paid",
                lambda seen: seen["billing_status"] == "completed",
            )  # fmt: skip
    await books_agree(new)


async def test_after_a_step_back_the_release_before_ends_what_this_one_began(
    bare: StackInfo, tmp_path: Path
) -> None:
    """It reads no run of this release; once those are ended, the rows are all that it needs."""
    [*_, release] = releases()
    old = Site(bare, unpack(release["commit"], tmp_path / "release"))
    new = Site(bare, ROOT)
    new.provision()
    ports = (bare.ports.api, bare.ports.api_metrics)
    async with new.api(*ports) as later, open_actors(later) as by_new:
        customer = await by_new.customer()
        clocked = await by_new.customer_on_clock()
        async with new.worker():
            unpaid = await customer.buy()
            await clocked.subscribed()
    assert await step_back.unknown(settings(new)) == [], "that release knows all of it"
    async with old.api(*ports) as before, open_actors(before) as by_old, old.worker():
        await _end_all(by_old.temporal)
        await asyncio.to_thread(old.rebuild)
        customer = Customer(by_old, customer.account)
        clocked = Customer(by_old, clocked.account)
        await customer.pay(unpaid)
        await customer.until_purchase(unpaid["purchase_id"], "completed")
        await clocked.advance(days=32)
        # Its charge is another matter: the stand-in refuses what that release asks of a saved card.
        assert len(await clocked.invoices()) == 2, "it is renewed"
    await books_agree(new)


async def _end_all(temporal: Client) -> None:
    """Terminate every run, as `temporal workflow terminate --query` does."""
    running = "ExecutionStatus = 'Running'"

    async def ended() -> bool:
        async for one in temporal.list_workflows(running):
            with suppress(RPCError):  # it has ended meanwhile
                await temporal.get_workflow_handle(one.id).terminate("a step back")
        return (await temporal.count_workflows(running)).count == 0

    await wait_for(ended, "no run is left")


async def test_a_column_that_a_later_release_adds_is_in_nobody_s_way(bare: StackInfo) -> None:
    """A nullable and a NOT NULL DEFAULT column in every table, then what customers do."""
    new = Site(bare, ROOT)
    new.provision()
    async with AsyncExitStack() as programs:
        async with (
            new.api(bare.ports.api, bare.ports.api_metrics) as first,
            open_actors(first) as actors,
        ):
            clocked = await actors.customer_on_clock()
            shop = await actors.customer()
            async with new.worker():
                await clocked.subscribed()
                await shop.bought()
            await spend(shop)
            await actors.sql(ADDED)
            await spend(shop)  # on connections that knew the tables without them
        again = await programs.enter_async_context(new.api(bare.ports.api, bare.ports.api_metrics))
        await programs.enter_async_context(new.worker())
        actors = await programs.enter_async_context(open_actors(again))
        shop, clocked = Customer(actors, shop.account), Customer(actors, clocked.account)
        await spend(shop)
        await shop.bought()
        fresh = await actors.customer()
        await fresh.bought()
        await spend(fresh)
        await clocked.advance(days=32)
        assert [one["status"] for one in await clocked.invoices()] == ["paid", "paid"]
        await spend(clocked)
    await books_agree(new)


def settings(site: Site) -> Settings:
    urls = {
        "database_url": site.stack.app_url,
        "database_operator_url": site.stack.operator_url,
    }
    return Settings.model_validate(urls)


async def books_agree(site: Site) -> None:
    async with open_database(settings(site)) as database:
        report = await integrity.examine(database)
    assert report.ok, report.wrong
