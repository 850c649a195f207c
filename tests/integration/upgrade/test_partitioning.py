"""A filled table of uses is partitioned under load, by an upgrade that is killed on its way."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest

from devstack.options import ROOT
from devstack.ports import free_ports
from devstack.stack import StackInfo
from migrations.draft import releases
from tests.integration.actors import Actors, Customer, open_actors
from tests.integration.upgrade.programs import Site, unpack
from tests.integration.upgrade.spending import USE, spend
from tests.integration.upgrade.test_upgrade import books_agree

pytestmark = pytest.mark.slow
PATIENCE: Final = 60.0
ROWS: Final = 150_000
LITTLE: Final = USE | {"usage_amount": "1"}
# As many rows as make each step last; they go before the books are looked at.
FILL: Final = """
    INSERT INTO billing_records SELECT r.* FROM billing_records AS b
    CROSS JOIN generate_series(1, %(rows)s) AS n
    CROSS JOIN LATERAL jsonb_populate_record(NULL::billing_records, to_jsonb(b)
        || jsonb_build_object('id', gen_random_uuid(), 'event_id', 'fill-' || n)) AS r
"""
LONG_AGO: Final = (
    "UPDATE usage_months SET ends_at = ends_at - interval '50 days' WHERE month = '1970-01-01'"
)
EMPTY: Final = "DELETE FROM billing_records WHERE event_id LIKE 'fill-%%'"
INDEX: Final = "SELECT FROM pg_index WHERE indexrelid = to_regclass('{}') AND {}"
# When the upgrade is killed, each time it is run: its backend with it, amid a statement.
KILLED: Final = {
    "a column is there": "SELECT FROM pg_attribute WHERE attrelid = 'billing_records'::regclass"
    " AND attname = 'month'",
    "a check reads the rows": "SELECT FROM pg_stat_activity"
    " WHERE query ~ 'VALIDATE CONSTRAINT of_before' AND state = 'active'"
    " AND pid <> pg_backend_pid()",
    "the key is half made": INDEX.format("pk_billing_records_before", "NOT indisvalid"),
    "the key is there": INDEX.format("pk_billing_records_before", "indisvalid"),
}
KILL: Final = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'billing_owner'"
)


async def test_an_upgrade_that_is_killed_goes_on_and_no_use_is_lost_or_counted_twice(
    bare: StackInfo, tmp_path: Path
) -> None:
    [*_, release] = releases()
    old, new = Site(bare, unpack(release["commit"], tmp_path / "release")), Site(bare, ROOT)
    old.provision()
    second = free_ports()
    async with (
        old.api(bare.ports.api, bare.ports.api_metrics) as before,
        open_actors(before) as by_old,
    ):
        customer = await by_old.customer()
        async with old.worker():
            await customer.bought()
        told = {"early": await _use(customer, "early")}
        await by_old.sql(FILL, rows=ROWS)
        async with _uses(customer, told):
            for moment, seen in KILLED.items():
                await _killed(new, by_old, moment, seen)
            await asyncio.to_thread(new.provision)
        await spend(customer)
        # It records for longer than it was expected to, as after a step back.
        await by_old.sql(LONG_AGO)
        told["much-later"] = await _use(customer, "much-later")
        await by_old.sql("SELECT usage_make_months(6)")
        async with (
            new.api(second.api, second.api_metrics) as after,
            open_actors(after) as by_new,
        ):
            same = Customer(by_new, customer.account)
            late = {name: await _use(same, name) for name in (f"late-{uuid4()}", "later")}
            for who in (customer, same):
                again = {name: await _use(who, name) for name in told | late}
                assert again == told | late, "sent again it is the first one, to either release"
        await by_old.sql(EMPTY)
        found = await by_old.sql(
            "SELECT event_id, count(*) AS records FROM billing_records WHERE event_id IS NOT NULL"
            " GROUP BY 1"
        )
    assert {row["event_id"]: row["records"] for row in found} == dict.fromkeys(told | late, 1)
    await books_agree(new)


async def _use(customer: Customer, event: str) -> str:
    """The id of a use's record; sent again while the service says that it is away."""
    async with asyncio.timeout(PATIENCE):
        while True:
            answer = await customer.call("POST", "/usage/record", LITTLE | {"event_id": event})
            if answer.status_code != 503:
                assert answer.status_code == 201, answer.text
                return str(answer.json()["billing_id"])
            await asyncio.sleep(0.1)


@asynccontextmanager
async def _uses(customer: Customer, told: dict[str, str]) -> AsyncIterator[None]:
    """Meanwhile uses are sent, one after the other; by event, the ids that were told."""
    over = asyncio.Event()

    async def send() -> None:
        while not over.is_set():
            event = f"under-way-{len(told)}"
            told[event] = await _use(customer, event)
            await asyncio.sleep(0.05)

    async with asyncio.TaskGroup() as group:
        group.create_task(send())
        yield
        over.set()


async def _killed(site: Site, actors: Actors, moment: str, seen: str) -> None:
    """Begin the upgrade, and kill it as soon as `seen` finds something."""
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli.provision", cwd=site.code, env=site.env,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(PATIENCE):
            while not await actors.sql(f"SELECT 1 AS one WHERE EXISTS ({seen})"):
                if program.returncode is not None:
                    _, said = await program.communicate()
                    pytest.fail(f"it was over before {moment}: {said.decode()[-500:]}")
    finally:
        if program.returncode is None:
            program.kill()
        await program.wait()
    await actors.sql(KILL)
