"""A month of uses is written to a file, taken out of the table and read back: nothing is lost, the
books agree all the while, and nobody is told that a use never was.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Column, MetaData, Text, text

from billing.core import ids
from billing.insight.integrity import service as integrity
from billing.insight.integrity import store
from billing.metering.usage import counter_rebuild
from billing.metering.usage.tables import billing_records
from cli import doctor_checks, month_files, month_parquet, months, owner_connection
from cli.errors import StackError
from devstack.options import ROOT
from devstack.stack import StackInfo
from tests.integration.scratch import scratch_database
from tests.integration.usage.conftest import V1
from tests.integration.usage.month_site import BEYOND, CLAIM, FILE, HOLD, NAME, PERIOD, Site, opened
from tests.integration.usage.test_voids import void


@pytest.fixture(scope="module")
def env(stack: StackInfo) -> Iterator[dict[str, str]]:
    with scratch_database(stack) as env:
        done = subprocess.run(
            [sys.executable, "-m", "cli.provision"],
            cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        yield env


@pytest.fixture
async def site(place: Site) -> AsyncIterator[Site]:
    """The month is in the table when a test begins, whatever the one before did."""
    yield place
    (kept,) = place.rows("SELECT to_regclass('billing_records_2026_01') IS NOT NULL")
    if not kept[0]:
        with owner_connection.connected(place.settings) as owner:
            file = next(one for one in month_files.files(owner) if one.is_away)
        await place.run(months.bring_back, Path(file.file))


@pytest.fixture(scope="module")
async def place(stack: StackInfo, env: dict[str, str]) -> AsyncIterator[Site]:
    async with opened(stack, env) as place:
        yield place


async def test_a_month_goes_and_comes_back_and_the_books_agree_all_the_while(
    site: Site, tmp_path: Path
) -> None:
    assert await site.broken() == []
    before, sums = site.rows(), await site.shop.get("/billing/credits/transactions")
    assert sum(row["month"] == "2026-01-01" for (row,) in before) == 10
    await site.run(months.export, NAME, tmp_path)
    assert site.rows() == before
    await site.run(months.detach, NAME)
    assert {row["month"] for (row,) in site.rows()} == {row["month"] for (row,) in before} - {
        "2026-01-01"
    }
    assert await site.broken() == []
    assert await counter_rebuild.compare(site.api.database, site.shop.id) == []
    assert await site.shop.get("/billing/credits/transactions") == sums
    path = tmp_path / FILE
    assert str(path) in "".join(" ".join(line) for line in months.listing(site.settings))
    assert "alone" in await site.run(months.detach, NAME), "repeated it says the same"
    await site.run(months.bring_back, path)
    assert "back" in await site.run(months.bring_back, path), "repeated it does nothing"
    assert site.rows() == before
    assert await site.broken() == []
    told = site.rows("SELECT action FROM billing_audit WHERE action LIKE 'month.%' ORDER BY id")
    assert told == [("month.exported",), ("month.detached",), ("month.imported",)]
    (rights,) = site.rows(
        "SELECT relrowsecurity, has_table_privilege('billing_app', oid, 'SELECT')"
        " FROM pg_class WHERE relname = 'billing_records_2026_01'"
    )
    assert rights == (True, False)


@asynccontextmanager
async def away(site: Site, folder: Path) -> AsyncIterator[Path]:
    """The month is in a file meanwhile."""
    await site.run(months.export, NAME, folder)
    await site.run(months.detach, NAME)
    yield folder / FILE
    await site.run(months.bring_back, folder / FILE)


async def test_the_file_of_a_month_that_is_away_is_held_against_what_was_written(
    site: Site, tmp_path: Path
) -> None:
    assert await site.run(months.verify, tmp_path) == ([], [])
    async with away(site, tmp_path) as path:
        written, line = path.read_bytes(), f"{NAME}: {path} is as it was written"
        for folder in (None, tmp_path):
            assert await site.run(months.verify, folder) == ([line], [])
        path.write_bytes(written[:-1])
        assert "MONTH_FILE_DAMAGED" in site.command("verify").stderr
        assert site.command("verify").returncode == 1
        path.write_bytes(written)
        missing = tmp_path / "nowhere"
        (wrong,) = (await site.run(months.verify, missing))[1]
        assert wrong.startswith(f"MONTH_FILE_MISSING: {missing / FILE}")
        assert line in site.command("verify", "--in", str(tmp_path)).stdout


async def test_what_was_changed_on_purpose_is_found_while_the_month_is_away(
    site: Site, tmp_path: Path
) -> None:
    counter = """UPDATE usage_counters SET quantity = quantity {} 1
        WHERE account_id = '{}' AND bucket < '2026-02-01' AND owner = '' AND facet <> ''"""
    entry = """SET session_replication_role = replica;
        UPDATE credit_transactions SET amount = amount {} 1
        WHERE id = (SELECT min(id::text)::uuid FROM credit_transactions WHERE kind = 'debit');
        SET session_replication_role = origin"""
    async with away(site, tmp_path):
        site.owner.execute(counter.format("+", site.shop.id))
        assert {"usage_counted", "usage_cycles"} <= set(await site.broken())
        assert await counter_rebuild.rebuild(site.api.database, site.shop.id)
        assert await site.broken() == []
        site.owner.execute(entry.format("+"))
        assert "usage_paid" in await site.broken()
        site.owner.execute(entry.format("-"))
        assert await site.broken() == []
    assert await site.broken() == []


async def test_uses_go_on_and_a_check_that_has_begun_sees_the_month_that_is_about_to_go(
    site: Site, tmp_path: Path
) -> None:
    await site.run(months.export, NAME, tmp_path)
    async with site.api.database.operator() as connection:
        await store.freeze(connection)
        await connection.scalar(text("SELECT count(*) FROM accounts"))
        going = asyncio.create_task(site.run(months.detach, NAME))
        for _ in range(8):
            async with asyncio.timeout(4):
                await site.shop.record("1", event_id=f"beside-{uuid4()}")
            await asyncio.sleep(0.4)
        assert not going.done()
        report = await integrity.evaluate(connection, site.shop.id)
        assert report.ok, report.wrong
    await asyncio.wait_for(going, 60)
    assert await site.broken() == []


async def test_a_fault_of_before_is_found_as_well_while_the_month_is_away(
    site: Site, tmp_path: Path
) -> None:
    async def found() -> dict[str, tuple[str, ...]]:
        report = await integrity.examine(site.api.database, site.shop.id)
        return {one.name: one.examples for one in report.checks if not one.ok}

    site.owner.execute(BEYOND)
    try:
        before = await found()
        assert {"usage_billed", "usage_counted_beyond", "usage_counted"} <= before.keys()
        async with away(site, tmp_path):
            assert await found() == before
        assert await found() == before
    finally:
        site.owner.execute("DELETE FROM billing_records WHERE currency = 'USD'")


async def test_all_of_before_the_months_can_go_as_well_and_one_command_at_a_time(
    site: Site, tmp_path: Path
) -> None:
    await site.run(months.export, "before", tmp_path)
    with owner_connection.connected(site.settings) as owner:
        month_files.take_turn(owner)
        with pytest.raises(StackError, match="MONTH_BUSY"):
            await site.run(months.detach, "before")
    await site.run(months.detach, "before")
    old = ids.encode(ids.BILLING_RECORD, uuid4())
    assert (await site.asked("GET", f"/billing/records/{old}")).status_code == 410
    assert await site.broken() == []
    path = tmp_path / "billing_records_before.parquet"
    assert path.stat().st_mode & 0o777 == 0o600
    await site.run(months.bring_back, path)
    assert (await site.asked("GET", f"/billing/records/{old}")).status_code == 404


async def test_who_asks_for_a_use_that_is_away_is_told_so(site: Site, tmp_path: Path) -> None:
    one = site.uses[1]["billing_id"]
    list_ = "/billing/records?limit=100"
    assert (await site.asked("GET", f"/billing/records/{one}")).status_code == 200
    async with away(site, tmp_path):
        read = await site.asked("GET", f"/billing/records/{one}")
        assert (read.status_code, read.json()["code"]) == (410, "BILLING_RECORD_AWAY")
        assert (await void(site.shop, site.uses[1], 410))["code"] == "BILLING_RECORD_AWAY"
        body = {"billing_id": one}
        paid = await site.asked("POST", "/billing/process", json=body)
        assert (paid.status_code, paid.json()["code"]) == (410, "BILLING_RECORD_AWAY")
        never = ids.encode(ids.BILLING_RECORD, ids.new())
        assert (await site.asked("GET", f"/billing/records/{never}")).status_code == 404
        listed = (await site.asked("GET", list_)).json()["data"]
        assert one not in {row["billing_id"] for row in listed}
        await site.shop.record("1", event_id=f"meanwhile-{uuid4()}")
    assert (await site.asked("GET", f"/billing/records/{one}")).json()["billing_id"] == one


async def test_a_member_learns_nothing_of_others_while_their_uses_are_away(
    site: Site, tmp_path: Path
) -> None:
    member = site.api.token(site.shop.account["id"], ["member"], "bob")

    async def seen() -> list[Any]:
        path = f"{V1}/billing/credits/transactions?limit=100&kind=debit"
        answer = await site.api.client.get(path, headers=member)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["data"])

    before = await seen()
    assert before
    theirs = f"{V1}/billing/credits/transactions/{before[0]['transaction_id']}"
    async with away(site, tmp_path):
        assert await seen() == before
        for path in (theirs, f"{theirs}/explain"):
            assert (await site.api.client.get(path, headers=member)).status_code == 404, path


@pytest.mark.parametrize("point", ["proven", "frozen", "detached"])
async def test_a_command_that_is_killed_is_repeated_and_nothing_is_lost(
    site: Site, tmp_path: Path, point: str
) -> None:
    before, points = site.rows(), tmp_path / "points"
    points.mkdir()
    (points / f"month.{point}").write_text("kill")
    export = ("export", NAME, "--to", str(tmp_path))
    killed = {"BILLING_PROFILE": "test", "BILLING_FAILPOINTS": str(points)}
    if point != "proven":
        await site.run(months.export, NAME, tmp_path)
    words = export if point == "proven" else ("detach", NAME)
    done = await asyncio.to_thread(site.command, *words, **killed)
    assert done.returncode == -9, done.stdout + done.stderr
    assert (len(site.rows()) < len(before)) == (point == "detached")
    if point == "frozen":
        refused = await void(site.shop, site.uses[1], 503)
        assert refused["code"] == "UNAVAILABLE"
    assert await site.broken() == []
    for repeated in (*([export] if point == "proven" else []), ("detach", NAME)):
        done = await asyncio.to_thread(site.command, *repeated)
        assert done.returncode == 0, done.stderr
    assert await site.broken() == []
    file = str(tmp_path / FILE)
    assert site.rows(
        f"SELECT action FROM billing_audit WHERE detail ->> 'file' = '{file}'"
        " AND action = 'month.detached'"
    ) == [("month.detached",)]
    done = await asyncio.to_thread(site.command, "import", file)
    assert done.returncode == 0, done.stderr
    assert site.rows() == before


async def test_a_detaching_that_was_killed_is_named_until_a_command_ends_it(
    site: Site, tmp_path: Path
) -> None:
    async def told() -> tuple[str, str]:
        patient: Any = SimpleNamespace(database=site.api.database)
        (sign,) = await doctor_checks.walls(patient)
        (line,) = (one[-1] for one in months.listing(site.settings) if one[0] == NAME)
        return sign.state, line.rpartition("; ")[2]

    await site.run(months.export, NAME, tmp_path)
    with owner_connection.connected(site.settings) as owner:
        month_files.take_turn(owner)
        with suppress(RuntimeError), month_files.frozen(owner, "billing_records_2026_01"):
            assert (await told())[0] == "healthy", "somebody is at it"
            owner.close()
            raise RuntimeError("killed")
    assert await told() == ("unhealthy", month_files.LEFT.format(NAME))
    await site.run(months.export, NAME, tmp_path)
    assert (await told())[0] == "healthy"


async def test_a_later_release_with_more_columns_and_digits_reads_a_month_back(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = site.rows()
    alter = "ALTER TABLE billing_records {}, ALTER COLUMN unit_price TYPE numeric({})"
    later = billing_records.to_metadata(MetaData())
    later.append_column(Column("later_text", Text))
    await site.run(months.export, NAME, tmp_path)
    await site.run(months.detach, NAME)
    site.owner.execute(alter.format("ADD COLUMN later_text text", "30, 14"))
    try:
        with monkeypatch.context() as patch:
            patch.setattr(month_parquet, "billing_records", later)
            patch.setattr(month_parquet, "COLUMNS", (*month_parquet.COLUMNS, "later_text"))
            await site.run(months.bring_back, tmp_path / FILE)
        assert {row.pop("later_text") for (row,) in site.rows()} == {None}
    finally:
        site.owner.execute(alter.format("DROP COLUMN later_text", "27, 12"))
    assert site.rows() == before


async def test_a_file_that_is_damaged_is_refused_and_the_month_stays_as_it_is(
    site: Site, tmp_path: Path
) -> None:
    await site.run(months.export, NAME, tmp_path)
    path, before = tmp_path / FILE, site.rows()
    whole = path.read_bytes()
    path.write_bytes(whole[:-100] + bytes([whole[-100] ^ 1]) + whole[-99:])
    with pytest.raises(StackError, match="MONTH_FILE_DAMAGED"):
        await site.run(months.detach, NAME)
    assert site.rows() == before
    with pytest.raises(StackError, match="MONTH_FILE_EXISTS"):
        await site.run(months.export, NAME, tmp_path)
    moved = tmp_path / "moved.parquet"
    moved.write_bytes(whole)
    assert str(moved) in await site.run(months.detach, NAME, moved)
    assert str(moved) in "".join(" ".join(line) for line in months.listing(site.settings))
    with pytest.raises(StackError, match="MONTH_FILE_DAMAGED"):
        await site.run(months.bring_back, path)
    with pytest.raises(StackError, match="MONTH_AWAY"):
        await site.run(months.export, NAME, tmp_path)
    await site.run(months.bring_back, moved)
    assert site.rows() == before


@pytest.mark.parametrize(
    ("change", "back"),
    [
        (
            "UPDATE billing_records SET billing_status = 'failed' WHERE event_id = 'free'",
            "UPDATE billing_records SET billing_status = 'completed' WHERE event_id = 'free'",
        ),
        (PERIOD.format("+"), PERIOD.format("-")),
        (CLAIM, "UPDATE quota_claims SET expires_at = '2026-01-10' WHERE event_id = 'claimed'"),
        (HOLD, "DELETE FROM credit_holds WHERE key = 'of-then'"),
    ],
    ids=["not paid", "open period", "open claim", "open hold"],
)
async def test_a_month_that_is_still_read_stays(
    site: Site, tmp_path: Path, change: str, back: str
) -> None:
    await site.run(months.export, NAME, tmp_path)
    site.owner.execute(change)
    for verb, *words in ((months.export, NAME, tmp_path), (months.detach, NAME)):
        with pytest.raises(StackError, match=r"MONTH_IN_USE.*acc_"):
            await site.run(verb, *words)
    site.owner.execute(back)
    await site.run(months.export, NAME, tmp_path)


async def test_a_month_that_is_not_over_or_not_written_or_changed_since_stays(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (this,) = site.rows("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM')")
    with pytest.raises(StackError, match="MONTH_NOT_OVER"):
        await site.run(months.export, this[0], tmp_path)
    with pytest.raises(StackError, match="MONTH_UNKNOWN"):
        await site.run(months.export, "2019-12", tmp_path)
    site.owner.execute(
        "UPDATE usage_months SET ends_at = now() - interval '34 days' WHERE month = '2026-01-01'"
    )
    with pytest.raises(StackError, match="MONTH_NOT_OVER"):
        await site.run(months.export, NAME, tmp_path)
    site.owner.execute("UPDATE usage_months SET ends_at = '2026-02-01' WHERE month = '2026-01-01'")
    with pytest.raises(StackError, match="MONTH_NOT_WRITTEN"):
        await site.run(months.detach, "before")
    await site.run(months.export, NAME, tmp_path)
    await void(site.shop, site.uses[2])
    before = site.rows()
    with pytest.raises(StackError, match="MONTH_CHANGED"):
        await site.run(months.detach, NAME)
    assert site.rows() == before
    site.owner.execute("UPDATE billing_records SET detail = detail WHERE event_id = 'free'")
    async with away(site, tmp_path):
        assert await site.broken() == []
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(StackError, match=r"requirements-months\.lock"):
        await site.run(months.export, NAME, tmp_path)


async def test_a_month_that_is_missing_is_made_by_the_command(site: Site) -> None:
    assert await site.run(months.make) == "every month is there"
    ((name,),) = site.rows(
        "SELECT inhrelid::regclass::text FROM pg_inherits"
        " WHERE inhparent = 'billing_records'::regclass"
        " AND inhrelid::regclass::text < 'billing_records_before' ORDER BY 1 DESC LIMIT 1"
    )
    site.owner.execute(f"DROP TABLE {name}")
    assert await site.run(months.make) == "1 month was made"
    ((kind,),) = site.rows(f"SELECT relkind FROM pg_class WHERE oid = '{name}'::regclass")
    assert (kind, await site.run(months.make)) == ("r", "every month is there")
