"""The upgrade puts right what the release before wrote otherwise."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from devstack.options import ROOT
from devstack.stack import StackInfo
from migrations.draft import releases
from tests.integration.actors import Actors, Customer, open_actors
from tests.integration.upgrade.programs import Site, unpack
from tests.integration.upgrade.test_upgrade import books_agree
from tests.integration.workflows.test_trial_ends import on_trial

pytestmark = pytest.mark.slow
NOT_SOLD: Final = "UPDATE plans SET is_active = false WHERE key = 'free' AND is_current"
"""As `catalog apply` of a file without it wrote."""


async def test_what_was_written_otherwise_is_put_right(bare: StackInfo, tmp_path: Path) -> None:
    [*_, release] = releases()
    old, new = Site(bare, unpack(release["commit"], tmp_path / "release")), Site(bare, ROOT)
    old.provision()
    async with AsyncExitStack() as programs:
        api = await programs.enter_async_context(old.api(bare.ports.api, bare.ports.api_metrics))
        actors = await programs.enter_async_context(open_actors(api))
        async with old.worker():
            paused = await _paused(actors)
            await actors.sql(NOT_SOLD)
            await asyncio.to_thread(new.provision)
        assert await _reason(paused) == "trial_ended"
        assert await actors.sql("SELECT FROM default_plan") == [], "nobody has what is not sold"
    await books_agree(new)


async def _paused(actors: Actors) -> Customer:
    """A customer whose trial ended so."""
    customer = await on_trial(actors, "pause")
    await customer.advance(to="2027-01-20T10:00:00Z")
    assert (await customer.subscription())["status"] == "paused"
    return customer


async def _reason(customer: Customer) -> Any:
    return await _one(customer, "pause_reason AS it FROM subscriptions WHERE account_id = %(me)s")


async def _one(customer: Customer, found: str) -> Any:
    [row] = await customer.rows(f"SELECT {found}")
    return row["it"]
