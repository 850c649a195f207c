"""A database of its own with the app on it, and one shop that used things in January 2026."""

import asyncio
import dataclasses
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import httpx2
import psycopg
import pytest

from api.app import create_app
from billing.core.clock import real_now
from billing.core.database import open_database
from billing.core.settings import Settings
from billing.insight.integrity import service as integrity
from billing.metering.usage import rules
from billing.metering.usage.rules import record_key
from devstack.options import ROOT
from devstack.stack import StackInfo, dsn
from tests.integration.api_app import Api, stack_settings
from tests.integration.scratch import url_of
from tests.integration.usage.conftest import V1, Shop
from tests.integration.usage.test_voids import void
from workflows.client import connect

NAME: Final = "2026-01"
MONTH: Final = datetime(2026, 1, 1, tzinfo=UTC)
FILE: Final = "billing_records_2026_01.parquet"
ANN: Final = 'ann, "a" \\N'
USE: Final = {"product_id": "gpt-4", "usage_amount": "7"}
CHAT: Final[dict[str, Any]] = {"feature_type": "chat_messages"}
# The first month ends where this one begins, which is there as if it had been made in its time.
MAKE: Final = """
    ALTER TABLE billing_records DETACH PARTITION billing_records_before;
    CREATE TABLE billing_records_2026_01
        (LIKE billing_records INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
    ALTER TABLE billing_records_2026_01 ENABLE ROW LEVEL SECURITY;
    REVOKE ALL ON billing_records_2026_01 FROM PUBLIC, billing_app, billing_operator;
    ALTER TABLE billing_records ATTACH PARTITION billing_records_before
        FOR VALUES FROM (MINVALUE) TO ('2026-01-01');
    ALTER TABLE billing_records ATTACH PARTITION billing_records_2026_01
        FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
    INSERT INTO usage_months (month, ends_at) VALUES ('2026-01-01', '2026-02-01');
"""
_NOW: Final = real_now()
AGO: Final = (_NOW.year - MONTH.year) * 12 + _NOW.month - MONTH.month
# All that was used then is of a period of then.
PAST: Final = f"""
    UPDATE usage_periods SET start_at = start_at - interval '{AGO} months',
        end_at = end_at - interval '{AGO} months';
    UPDATE billing_records SET period_start = period_start - interval '{AGO} months',
        day_at = day_at - interval '{AGO} months',
        occurred_at = occurred_at - interval '{AGO} months'
    WHERE month = '2026-01-01';
    UPDATE usage_counters SET period_start = period_start - interval '{AGO} months',
        bucket = bucket - interval '{AGO} months', last_at = last_at - interval '{AGO} months';
"""
# What may still become a use of then, or pay one.
CLAIM: Final = """
    INSERT INTO quota_claims (id, account_id, event_id, meter, amount, claimed_at, expires_at,
        status)
    SELECT usage_id_in_month(gen_random_uuid(), usage_month_digits('2026-01-01')),
        account_id, 'claimed', 'gpt-4', 1, '2026-01-09', '2099-01-01', 'open'
    FROM billing_records WHERE month = '2026-01-01' LIMIT 1
"""
HOLD: Final = """
    INSERT INTO credit_holds (id, account_id, status, amount, key, request_hash, reason,
        created_at, expires_at)
    SELECT gen_random_uuid(), account_id, 'open', 1, 'of-then', '', 'usage', '2026-01-09',
        '2099-01-01'
    FROM billing_records WHERE month = '2026-01-01' LIMIT 1
"""
# A use beyond the plan that no counter and no invoice has.
BEYOND: Final = """
    INSERT INTO billing_records (id, month, account_id, request_hash, meter, usage_amount,
        included_units, charged_units, unit_price, total_amount, currency, billing_method,
        billing_status, is_free_tier, is_late, period_start, day_at, occurred_at, created_at,
        updated_at)
    SELECT usage_id_in_month(gen_random_uuid(), usage_month_digits('2026-01-01')), '2026-01-01',
        account_id, 1, 'api_calls', 1, 0, 1, 1, 1, 'USD', 'subscription_included', 'completed',
        false, false, period_start, day_at, occurred_at, occurred_at, occurred_at
    FROM billing_records WHERE event_id = 'free'
"""
PERIOD: Final = f"""
    UPDATE usage_periods SET end_at = end_at {{}} interval '{AGO - 1} months 25 days'
    WHERE start_at < '2026-02-01'
"""
ROWS: Final = "SELECT to_jsonb(r) FROM billing_records AS r ORDER BY month, id"


@dataclasses.dataclass
class Site:
    """A database of its own with the app on it, and one shop that used things in the month."""

    api: Api
    env: dict[str, str]
    settings: Settings
    shop: Shop
    uses: list[dict[str, Any]]
    owner: psycopg.Connection[Any]

    def rows(self, query: str = ROWS) -> list[Any]:
        return self.owner.execute(query).fetchall()

    def command(self, *words: str, **env: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "cli", "months", *words],
            cwd=ROOT, env={**os.environ, **self.env, **env},
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    async def run(self, verb: Any, *words: Any) -> Any:
        """A verb, while the app goes on."""
        return await asyncio.to_thread(verb, self.settings, *words)

    async def broken(self) -> list[str]:
        """The checks that are red."""
        report = await integrity.examine_all(self.api.database)
        return [one.name for one in report.checks if not one.ok]

    async def asked(self, method: str, path: str, **more: Any) -> httpx2.Response:
        return await self.api.client.request(
            method, f"{V1}{path}", headers=self.shop.headers(), **more
        )


@asynccontextmanager
async def opened(stack: StackInfo, env: dict[str, str]) -> AsyncIterator[Site]:
    """The site on the database of `env`, with uses of then and of now."""
    changed = {name: value for name, value in env.items() if name.startswith("DATABASE_")}
    settings = stack_settings(stack, **{name.lower(): value for name, value in changed.items()})
    async with open_database(settings) as database:
        app = create_app(settings, database, await connect(settings))
        name = env["DATABASE_URL"].rpartition("/")[2].partition("?")[0]
        superuser = dsn(url_of(stack.superuser_url, name))
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=app), base_url="http://api"
        ) as client:
            api = Api(app, client, stack)
            with psycopg.connect(superuser, autocommit=True) as owner:
                owner.execute("SET ROLE billing_owner")
                owner.execute(MAKE)
                owner.execute("RESET ROLE")
                shop = Shop(api, await api.new_account())
                await shop.opened_before(timedelta(days=900))
                await shop.grant("1000")
                uses = await use_then(shop)
                owner.execute(PAST)
                for n in range(3):
                    await shop.record(event_id=f"now-{n}", user_id="ann")
                yield Site(api, env, settings, shop, uses, owner)


async def use_then(shop: Shop) -> list[dict[str, Any]]:
    """Uses of then: paid one by one and together, for users, free ones, and one taken back."""

    def then(name: str, event_id: str | None, _: datetime) -> str:
        return record_key(name, event_id or str(uuid4()), MONTH)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rules, "record_key", then)
        uses = [
            await shop.record(event_id=f"then-{n}", user_id=ANN, usage_details={"n": n})
            for n in range(3)
        ]
        await shop.batch(*(USE | {"event_id": f"row-{n}"} for n in range(5)))
        uses.append(await shop.record("2", event_id="free", **CHAT))
        await void(shop, uses[0])
    return uses
