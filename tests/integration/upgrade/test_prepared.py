"""Most of an upgrade is done before its transaction, which locks all accounts."""

import asyncio
from pathlib import Path
from time import monotonic
from typing import Final

import pytest
from sqlalchemy import create_engine, text

from devstack.options import ROOT
from devstack.stack import StackInfo
from migrations import prepare as preparing
from migrations.draft import NEXT, releases
from migrations.prepare import prepare
from tests.integration.actors import Actors, Customer, open_actors, wait_for
from tests.integration.upgrade.programs import Site, unpack
from tests.integration.upgrade.spending import capture, hold, spend, use, use_held

pytestmark = pytest.mark.slow
READS_SECONDS: Final = 8
WAITS: Final = """
    SELECT pid FROM pg_stat_activity
    WHERE wait_event_type = 'Lock' AND query LIKE 'ALTER TABLE plans%%'
"""
UNLOGGED: Final = """
    SELECT t.id FROM credit_transactions AS t LEFT JOIN capture_logs AS c
        ON c.transaction_id = t.id AND c.account_id = t.account_id AND c.credits = -t.amount
        AND c.operation = t.reason AND c.created_at = t.at
    WHERE t.kind = 'capture' AND t.detail ->> 'billing_id' IS NULL AND c.account_id IS NULL
"""
# Older ones, of a time in which nobody has anything left to commit.
OLDER: Final = """
    INSERT INTO credit_transactions SELECT r.* FROM credit_transactions AS t
    CROSS JOIN generate_series(1, 25000) AS n
    CROSS JOIN LATERAL jsonb_populate_record(NULL::credit_transactions, to_jsonb(t)
        || jsonb_build_object('id', uuidv7(interval '-1 day'), 'key', 'older/' || n)) AS r
    WHERE t.id = (SELECT id FROM credit_transactions WHERE kind = 'capture'
        AND detail ->> 'billing_id' IS NULL LIMIT 1)
"""


async def logs(actors: Actors) -> int:
    [found] = await actors.sql("SELECT count(*) AS logs FROM capture_logs")
    return int(found["logs"])


async def _upgrade_while_plans_are_read(customer: Customer, site: Site) -> None:
    """Somebody reads for longer than a request waits. The upgrade, which has the accounts by then,
    waits for that, and its callers for moments only. It wants no balances: uses of the release
    before hold these while they wait for the accounts.
    """
    engine = create_engine(site.stack.owner_url)
    with engine.connect() as dump, engine.connect() as uses:
        uses.execute(text("SELECT FROM credit_balances"))
        dump.execute(text("SELECT FROM plans"))
        upgrading = asyncio.create_task(asyncio.to_thread(site.provision))
        await wait_for(lambda: customer.actors.sql(WAITS), "it waits", patience=60)
        ends, slowest = monotonic() + READS_SECONDS, 0.0
        while (began := monotonic()) < ends:
            await use(customer)
            slowest = max(slowest, monotonic() - began)
            await asyncio.sleep(0.1)
        dump.rollback()
        await upgrading
    assert 1 < slowest < 4, "uses wait for the upgrade, and are recorded"


async def test_an_index_is_not_given_up_while_an_older_transaction_is_open(
    bare: StackInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "new_large").mkdir()
    (tmp_path / "new_large" / "prepare.sql").write_text(
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_dumped ON dumped (n);\n"
    )
    monkeypatch.setattr(preparing, "VERSIONS", tmp_path)
    monkeypatch.setattr(preparing, "LOCK_TIMEOUT_MS", 50)
    monkeypatch.setattr(preparing, "TRIES", 1)
    options = {"connect_args": {"options": "-c search_path=dumps"}}
    engine = create_engine(bare.owner_url, **options).execution_options(
        isolation_level="AUTOCOMMIT"
    )

    def prepared() -> None:
        with engine.connect() as connection:
            prepare(connection, {"old": "new"})

    with engine.connect() as owner, engine.connect() as dump:
        for statement in (
            "CREATE SCHEMA dumps", "CREATE TABLE alembic_version AS SELECT 'old' AS version_num",
            "CREATE TABLE dumped AS SELECT 1 AS n",
        ):  # fmt: skip
            owner.execute(text(statement))
        for statement in ("BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT FROM alembic_version"):
            dump.execute(text(statement))
        building = asyncio.create_task(asyncio.to_thread(prepared))
        await asyncio.sleep(0.3)
        assert not building.done()
        dump.execute(text("COMMIT"))
        await building
        is_valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix_dumped'::regclass"
        assert owner.scalar(text(is_valid))
        owner.execute(text("DROP SCHEMA dumps CASCADE"))


async def test_captures_have_their_logs_before_anybody_is_locked_out(
    bare: StackInfo, tmp_path: Path
) -> None:
    [*_, release] = releases()
    old, new = Site(bare, unpack(release["commit"], tmp_path / "release")), Site(bare, ROOT)
    old.provision()
    engine = create_engine(bare.owner_url).execution_options(isolation_level="AUTOCOMMIT")
    async with (
        old.api(bare.ports.api, bare.ports.api_metrics) as before,
        open_actors(before) as by_old,
    ):
        customer = await by_old.customer()
        async with old.worker():
            await customer.bought()
        await capture(customer, await hold(customer))
        await use_held(customer, await hold(customer))
        await by_old.sql(OLDER)
        for known in (25_001, 25_002):
            with engine.connect() as connection:
                prepare(connection, {"0001": NEXT})
            assert await logs(by_old) == known
            assert await by_old.sql(UNLOGGED) == []
            await capture(customer, await hold(customer))
        await _upgrade_while_plans_are_read(customer, new)
        assert (await by_old.sql(UNLOGGED), await logs(by_old)) == ([], 25_003)
        await spend(customer)
        assert await by_old.sql(UNLOGGED) == []
        [left] = await by_old.sql(
            "SELECT to_regclass('captures_of_before') AS index, relforcerowsecurity AS is_forced"
            " FROM pg_class WHERE oid = 'credit_transactions'::regclass"
        )
        assert left == {"index": None, "is_forced": True}
