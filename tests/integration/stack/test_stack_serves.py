"""The run's own stack: what its programs may rely on."""

import os
import subprocess
import sys

import psycopg
import pytest
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.client import Client

from devstack.options import ROOT
from devstack.stack import StackInfo, dsn
from workflows.attributes import ATTRIBUTES
from workflows.visibility import missing_attributes


def test_the_app_role_is_neither_superuser_nor_owner_nor_beyond_row_security(
    stack: StackInfo,
) -> None:
    with psycopg.connect(dsn(stack.app_url)) as connection:
        row = connection.execute(
            "SELECT rolsuper, rolbypassrls, rolcreatedb, rolcreaterole, "
            "(SELECT datdba = r.oid FROM pg_database WHERE datname = current_database()) "
            "FROM pg_roles r WHERE rolname = current_user"
        ).fetchone()
        assert row == (False, False, False, False, False)


def test_the_operator_sees_all_accounts_but_is_no_superuser(stack: StackInfo) -> None:
    with psycopg.connect(dsn(stack.operator_url)) as connection:
        row = connection.execute(
            "SELECT rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
        assert row == (False, True)


def test_what_the_owner_makes_the_app_may_use_but_not_change(stack: StackInfo) -> None:
    with psycopg.connect(dsn(stack.owner_url), autocommit=True) as owner:
        owner.execute("CREATE TABLE stack_probe (id int PRIMARY KEY)")
        try:
            with psycopg.connect(dsn(stack.app_url), autocommit=True) as app:
                app.execute("INSERT INTO stack_probe VALUES (1)")
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    app.execute("DROP TABLE stack_probe")
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    app.execute("CREATE TABLE stack_own (id int)")
        finally:
            owner.execute("DROP TABLE stack_probe")


def test_a_wrong_password_is_refused_over_tcp(stack: StackInfo) -> None:
    with (
        pytest.raises(psycopg.OperationalError, match="password authentication failed"),
        psycopg.connect(
            host="127.0.0.1",
            port=stack.ports.postgres,
            user="billing_app",
            password="wrong",
            dbname="billing",
        ),
    ):
        pass


def test_the_right_password_is_let_in_over_tcp(stack: StackInfo) -> None:
    with psycopg.connect(dsn(stack.postgres_url)) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("billing_app",)


def test_commits_are_durable_and_new_ids_are_ordered_by_time(stack: StackInfo) -> None:
    with psycopg.connect(dsn(stack.app_url)) as connection:
        row = connection.execute(
            "SELECT current_setting('fsync'), current_setting('synchronous_commit'), "
            "current_setting('full_page_writes'), current_setting('jit'), "
            "current_setting('TimeZone'), uuidv7() < uuidv7()"
        ).fetchone()
        assert row == ("on", "on", "on", "off", "UTC", True)


async def test_every_search_attribute_is_registered_with_its_type(stack: StackInfo) -> None:
    client = await Client.connect(stack.temporal_address, namespace=stack.temporal_namespace)
    listed = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=stack.temporal_namespace)
    )
    assert dict(listed.custom_attributes) == {k.name: int(k.indexed_value_type) for k in ATTRIBUTES}


async def test_a_namespace_that_lacks_them_is_told_before_a_worker_polls(stack: StackInfo) -> None:
    ready = await Client.connect(stack.temporal_address, namespace=stack.temporal_namespace)
    assert await missing_attributes(ready) == []
    bare = await Client.connect(stack.temporal_address, namespace="temporal-system")
    assert await missing_attributes(bare) == [
        "AccountId (Keyword)", "BillingStatus (Keyword)", "NextDueAt (Datetime)", "Plan (Keyword)",
    ]  # fmt: skip


def test_secrets_are_readable_by_their_owner_only(stack: StackInfo) -> None:
    for name in ("stack.json", "secrets.json", "children.json", "lock", "temporal.db"):
        assert (stack.data / name).stat().st_mode & 0o077 == 0, name
    assert (stack.control.parent / "pg").stat().st_mode & 0o077 == 0


def test_the_migrated_database_is_what_the_tables_describe(stack: StackInfo) -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "alembic", "check"],
        cwd=ROOT,
        env={**os.environ, **stack.env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_migrating_again_changes_nothing_even_from_two_places(stack: StackInfo) -> None:
    runs = [
        subprocess.Popen(
            [sys.executable, "-m", "cli.provision"],
            cwd=ROOT,
            env={**os.environ, **stack.env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    for run in runs:
        output, _ = run.communicate()
        assert run.returncode == 0, output
