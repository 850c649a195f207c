"""No statement on an account's behalf reads a whole table, once the tables are large.

Postgres plans each statement that is kept at import, as the role that sees one account, in an empty
database whose files are as long as a grown shop's. What such a role reads in turn is not the rows
of all accounts: a policy hides them, and with them some keys of indexes.
"""

import importlib
import os
import pkgutil
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

import psycopg
import pytest
from sqlalchemy.sql.expression import Executable

import activities
import api
import billing
from billing.core.database import metadata
from billing.core.prepared import Prepared
from devstack.stack import StackInfo, dsn
from tests.integration.scratch import scratch_database, url_of

PAGES: Final = 20_000
"""160 MB of each table, which take no room: its pages are empty."""
PAGE_BYTES: Final = 8_192
ACCOUNT: Final = "0196a1b2-0000-7000-8000-000000000000"
OF_OPERATORS: Final = ("billing.insight.integrity.", "billing.insight.health.")
"""They read the rows of many accounts, as a role without a policy."""
READ_WHOLE: Final = {
    "billing.platform.outbox.skipped._LAST": (
        "credit_balances", "once after a restore, by an operator",
    ),
    "billing.platform.parking.store._DATA_UNTIL": (
        "billing_audit", "only the newest row, by the end of its key",
    ),
}  # fmt: skip
"""The statements that read a table whole, with it and why they may."""
UNPLANNED: Final = frozenset(
    {
        "api.usage.dry_run._BEGIN",
        "api.usage.dry_run._UNDO",
        "billing.core.disk_room._LITTLE_MEMORY",
        "billing.core.transaction_settings._BEGIN",
        "billing.money.card_usage.reading._READ",
        "billing.money.collecting.reading._READ",
        "billing.money.invoice_requests.unreached._OF_ALL",
        "billing.money.invoice_requests.unreached._OF_MATTER",
        "billing.money.purchases.reading._READ",
        "billing.platform.idempotency.store._NOW",
        "billing.platform.outbox.store._DROP",
        "billing.platform.parking.store._END",
        "billing.platform.processes.store._FORGET",
    }
)
"""Statements that Postgres cannot plan by themselves: an operator's, a part of one, or their values
give their parameters their types.
"""
WHERE_AN_INDEX_SERVES: Final = (
    "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off"
)
"""Nothing is known of the rows, so how many an index would find is a guess."""
SCANS: Final = ("Index Scan", "Index Only Scan")


def _statements() -> Iterator[tuple[str, str]]:
    """Yield each statement that a module keeps, by its name."""
    for package in (billing, activities, api):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(found.name)
    seen = set()
    for module in [name for name in sys.modules if re.match("billing|activities|api", name)]:
        for name, one in vars(sys.modules[module]).items():
            members = one.items() if isinstance(one, Mapping) else [("", one)]
            for key, member in members:
                kept = isinstance(member, Prepared | Executable)
                if kept and not isinstance(member, type) and id(member) not in seen:
                    seen.add(id(member))
                    yield f"{module}.{name}{f'[{key}]' if key else ''}", _written(member)


def _written(statement: Any) -> str:
    kept = statement if isinstance(statement, Prepared) else Prepared(statement)
    return kept._sent.decode()


def _parent(relation: str) -> str:
    """Return the table that a partition is a month of; any other is its own."""
    return re.sub(r"_(\d{4}_\d\d|before)$", "", relation)


def _is_of_accounts(table: str) -> bool:
    return table in metadata.tables and "account_id" in metadata.tables[table].c


def _grown(data: Any, url: str) -> None:
    """Make the file of each table that has rows of accounts as long as if they were many."""
    with psycopg.connect(url, autocommit=True) as superuser:
        for name, path in superuser.execute(
            "SELECT relname, pg_relation_filepath(oid) FROM pg_class"
            " WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
        ).fetchall():
            if _is_of_accounts(_parent(name)):
                os.truncate(data / "postgres" / path, PAGES * PAGE_BYTES)


def _whole(plan: Mapping[str, Any], partial: set[str]) -> Iterator[str]:
    """Yield the tables that a plan reads whole; a partial index has few of their rows."""
    table = _parent(plan.get("Relation Name", ""))
    if _is_of_accounts(table):
        unbound = plan["Node Type"] in SCANS and "Index Cond" not in plan
        if plan["Node Type"] == "Seq Scan" or (unbound and plan["Index Name"] not in partial):
            yield table
    for part in plan.get("Plans", ()):
        yield from _whole(part, partial)


@pytest.fixture
def large(stack: StackInfo) -> Iterator[psycopg.Connection[Any]]:
    """Connect as the role that sees one account to an empty database of long files."""
    with scratch_database(stack) as env:
        name = psycopg.conninfo.conninfo_to_dict(dsn(env["DATABASE_URL"]))["dbname"]
        _grown(stack.data, dsn(url_of(stack.superuser_url, str(name))))
        with psycopg.connect(dsn(env["DATABASE_URL"]), autocommit=True) as connection:
            connection.execute(WHERE_AN_INDEX_SERVES)
            connection.execute("SELECT set_config('app.accounts', %s, false)", (ACCOUNT,))
            yield connection


def test_no_statement_of_an_account_reads_a_whole_table(
    large: psycopg.Connection[Any],
) -> None:
    partial = {
        name
        for (name,) in large.execute(
            "SELECT indexrelid::regclass::text FROM pg_index WHERE indpred IS NOT NULL"
        )
    }
    read: dict[str, set[str]] = {}
    unplanned: set[str] = set()
    for name, statement in _statements():
        if name.startswith(OF_OPERATORS):
            continue
        try:
            row = large.execute(b"EXPLAIN (GENERIC_PLAN, FORMAT JSON) " + statement.encode())
        except psycopg.ProgrammingError:
            unplanned.add(name)
            continue
        ((plan,),) = row.fetchall()
        if tables := set(_whole(plan[0]["Plan"], partial)):
            read[name] = tables
    assert unplanned == UNPLANNED
    assert read == {name: {table} for name, (table, _) in READ_WHOLE.items()}
