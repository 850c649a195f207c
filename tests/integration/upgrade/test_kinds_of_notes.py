"""Credit notes of the release before, which names no kind, have theirs after an upgrade."""

import asyncio
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import create_engine

from devstack.options import ROOT
from devstack.stack import StackInfo
from migrations.draft import NEXT, releases
from migrations.prepare import prepare
from tests.integration.actors import open_actors
from tests.integration.upgrade.programs import Site, unpack

pytestmark = pytest.mark.slow
# As the release before writes them, which names no kind.
NOTES: Final = """
    WITH billed AS (
        INSERT INTO invoices (id, account_id, workflow_id, fact_key, status, currency,
            subtotal_minor, total_minor, amount_due_minor, created_at)
        SELECT gen_random_uuid(), id, 'purchase/' || %(of)s, %(of)s, 'draft', 'USD', 5, 5, 5, now()
        FROM accounts LIMIT 1
        RETURNING id, account_id)
    INSERT INTO credit_notes (id, account_id, invoice_id, fact_key, series, number, reason,
        amount_minor, currency, issued_on, created_at)
    SELECT gen_random_uuid(), account_id, id, public_id('inv', id) || '/' || made, made, %(of)s,
        made, 1, 'USD', now(), now()
    FROM billed CROSS JOIN unnest(ARRAY['forgiven', 'unserved']) AS made
    RETURNING reason
"""
KINDS: Final = "SELECT kind FROM credit_notes ORDER BY kind"


async def test_notes_of_before_have_their_kinds(bare: StackInfo, tmp_path: Path) -> None:
    [*_, release] = releases()
    old, new = Site(bare, unpack(release["commit"], tmp_path / "release")), Site(bare, ROOT)
    old.provision()
    engine = create_engine(bare.owner_url).execution_options(isolation_level="AUTOCOMMIT")
    async with (
        old.api(bare.ports.api, bare.ports.api_metrics) as before,
        open_actors(before) as by_old,
    ):
        await by_old.customer()
        for count, of in ((1, "first"), (2, "second")):
            await by_old.sql(NOTES, of=of)
            with engine.connect() as connection:
                prepare(connection, {"0001": NEXT})
            kinds = [one["kind"] for one in await by_old.sql(KINDS)]
            assert kinds == ["forgiven"] * count + ["unserved"] * count
        await asyncio.to_thread(new.provision)
        await by_old.sql(NOTES, of="later")
        kinds = [one["kind"] for one in await by_old.sql(KINDS)]
        assert kinds == ["forgiven"] * 3 + ["unserved"] * 3
        [kept] = await by_old.sql(
            "SELECT to_regclass('unserved_of_before') AS index, relforcerowsecurity AS is_forced,"
            " (SELECT tgenabled::text FROM pg_trigger"
            "  WHERE tgrelid = 'credit_notes'::regclass AND tgname = 'append_only') AS is_kept"
            " FROM pg_class WHERE oid = 'credit_notes'::regclass"
        )
        assert kept == {"index": None, "is_forced": True, "is_kept": "O"}
