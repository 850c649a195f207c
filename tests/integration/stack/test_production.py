"""A production does not start with database roles that would switch row-level security off."""

import os
import subprocess
import sys
from collections.abc import Awaitable, Callable

import pytest

from billing.core.database import Database, open_database
from billing.core.database_roles import role_faults
from billing.platform.processes.service import Pulse
from devstack.options import ROOT
from devstack.stack import StackInfo
from tests.integration.api_app import stack_settings
from tests.integration.waiting import wait_for

PRODUCTION = {
    "ENV": "production",
    "STRIPE_SECRET_KEY": "sk_test_of_our_own",
    "STRIPE_PUBLISHABLE_KEY": "pk_test_of_our_own",
    "STRIPE_WEBHOOK_SECRET": "whsec_of_our_own",
    "BILLING_PUBLIC_URL": "https://billing.example",
    "BILLING_RETURN_URL_HOSTS": "shop.example",
    "JWT_JWKS_URL": "https://login.example/keys",
    "BILLING_HOSTS": "billing.example",
    "BILLING_PROFILE": "default",
    "BILLING_API_METRICS_PORT": "0",
}
"""Well but for the roles."""
OF_THE_STACK = frozenset({"STRIPE_API_BASE", "BILLING_VIES_URL", "BILLING_PAYPAL_URL"})


def _roles(stack: StackInfo, app: str, operator: str, **more: str) -> Database:
    urls = {"database_url": app, "database_operator_url": operator}
    return open_database(stack_settings(stack, **urls, **more))


async def test_the_roles_of_a_stack_have_the_rights_they_need_and_no_more(stack: StackInfo) -> None:
    faults = {
        (stack.app_url, stack.operator_url): [],
        (stack.operator_url, stack.operator_url): ["DATABASE_URL bypasses row-level security"],
        (stack.owner_url, stack.operator_url): ["DATABASE_URL owns tables"],
        (stack.superuser_url, stack.superuser_url): [
            "DATABASE_URL is a superuser",
            "DATABASE_OPERATOR_URL is a superuser",
        ],
        (stack.app_url, stack.owner_url): ["DATABASE_OPERATOR_URL owns tables"],
    }
    for (app, operator), expected in faults.items():
        async with _roles(stack, app, operator) as database:
            found = await role_faults(database)
        assert len(found) == len(expected), found
        for sentence, words in zip(found, expected, strict=True):
            assert words in sentence


async def test_the_role_of_a_replica_is_one_of_callers(stack: StackInfo) -> None:
    replica = {"replica_database_url": stack.operator_url}
    async with _roles(stack, stack.app_url, stack.operator_url, **replica) as database:
        (fault,) = await role_faults(database)
    assert "REPLICA_DATABASE_URL bypasses row-level security" in fault


async def test_behind_a_pooler_an_owner_of_the_tables_is_found_in_their_schema(
    stack: StackInfo,
) -> None:
    url = stack.owner_url
    elsewhere = f"{url}{'&' if '?' in url else '?'}options=-csearch_path%3Dpg_temp"
    pooled = {"BILLING_DATABASE_PREPARE_THRESHOLD": "off"}
    async with _roles(stack, elsewhere, stack.operator_url, **pooled) as database:
        (fault,) = await role_faults(database)
    assert "DATABASE_URL owns tables" in fault


@pytest.mark.parametrize("program", [("-m", "api"), ("worker.py",)])
def test_a_program_with_too_many_rights_ends_with_one_sentence(
    stack: StackInfo, program: tuple[str, ...]
) -> None:
    kept = {name: value for name, value in stack.env.items() if name not in OF_THE_STACK}
    ended = subprocess.run(
        [sys.executable, *program],
        cwd=ROOT,
        env={**os.environ, **kept, **PRODUCTION, "DATABASE_URL": stack.owner_url},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.strip() == (
        "ENV=production: the role billing_owner of DATABASE_URL owns tables:"
        " see migrations/roles.sql"
    )


@pytest.mark.parametrize("program", [("-m", "api"), ("worker.py",)])
def test_a_program_that_postgres_has_no_room_for_ends_with_one_sentence(
    stack: StackInfo, program: tuple[str, ...]
) -> None:
    kept = {name: value for name, value in stack.env.items() if name not in OF_THE_STACK}
    ended = subprocess.run(
        [sys.executable, *program],
        cwd=ROOT,
        env={**os.environ, **kept, **PRODUCTION, "BILLING_DATABASE_POOL_SIZE": "150"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.strip() == (
        "ENV=production: the pools of 1 process may take 300 connections, but Postgres allows 197:"
        " raise max_connections or lower BILLING_DATABASE_POOL_SIZE"
    )


async def test_a_start_warns_of_pools_that_do_not_fit_together(
    stack: StackInfo, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        open_database(stack_settings(stack, BILLING_DATABASE_POOL_SIZE=90)) as database,
        Pulse(database, "api").beating(),
    ):
        await wait_for(_warned(caplog), "the start warns")
    assert "connections, but Postgres allows 197: raise max_connections" in caplog.text


def _warned(caplog: pytest.LogCaptureFixture) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        return "the pools of" in caplog.text

    return look
