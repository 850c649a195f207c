"""A migrated database has the SQL that the tree has, and what a release before still calls."""

import re
from collections import Counter
from collections.abc import Iterator

import psycopg
import pytest

from devstack.stack import StackInfo, dsn
from migrations import draft, sql
from tests.integration.scratch import scratch_database

FUNCTIONS = """
    SELECT p.proname, pg_get_functiondef(p.oid) FROM pg_proc AS p
    WHERE p.pronamespace = %s::regnamespace AND p.prokind = 'f'"""
VIEWS = """
    SELECT relname, pg_get_viewdef(oid) FROM pg_class
    WHERE relnamespace = %s::regnamespace AND relkind = 'v'"""
TYPES = """
    SELECT c.relname, string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', '
        ORDER BY a.attnum)
    FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
    WHERE c.relnamespace = %s::regnamespace AND c.relkind = 'c'
    GROUP BY c.relname"""
TRIGGERS = """
    SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger
    WHERE NOT tgisinternal AND tgname <> 'append_only' AND %s::regnamespace IS NOT NULL"""


@pytest.fixture(scope="module")
def connection(stack: StackInfo) -> Iterator[psycopg.Connection]:
    with scratch_database(stack) as env, psycopg.connect(dsn(env["DATABASE_OWNER_URL"])) as owner:
        yield owner


def described(connection: psycopg.Connection, schema: str, query: str) -> dict[str, str]:
    """Each object of a schema by its name, in words that do not name the schema."""
    connection.execute(f"SET LOCAL search_path = {schema}, public")
    rows = connection.execute(query, [schema]).fetchall()
    again = [name for name, count in Counter(name for name, _ in rows).items() if count > 1]
    assert again == [], "one name, one signature: a changed function has a new name"
    return {name: re.sub(r"\b(scratch|public)\.", "", text) for name, text in rows}


VALIDATED = """
    SELECT p.proname,
        CASE l.lanname WHEN 'sql' THEN fmgr_sql_validator(p.oid) ELSE plpgsql_validator(p.oid) END
    FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang
    WHERE p.pronamespace = 'public'::regnamespace AND l.lanname IN ('sql', 'plpgsql')"""


def test_every_body_compiles_where_all_functions_are_there(connection: psycopg.Connection) -> None:
    """They are loaded unchecked, in any order: Postgres' own validators read them afterwards."""
    connection.execute("SET LOCAL check_function_bodies = on")
    names = {name for name, _ in connection.execute(VALIDATED).fetchall()}
    connection.rollback()
    assert names >= set(re.findall(r"^CREATE OR REPLACE FUNCTION (\w+)", sql.tree(), re.MULTILINE))


@pytest.mark.parametrize(
    "query", [FUNCTIONS, VIEWS, TYPES, TRIGGERS], ids=["functions", "views", "types", "triggers"]
)
def test_a_migrated_database_has_the_definitions_of_the_tree(
    connection: psycopg.Connection, query: str
) -> None:
    migrated = described(connection, "public", query)
    connection.execute("CREATE SCHEMA scratch")
    connection.execute("SET LOCAL search_path = scratch, public")
    connection.execute(sql.tree().encode())
    tree = described(connection, "scratch", query)
    connection.rollback()
    assert {name: migrated.get(name) for name in tree} == tree
    for name in migrated.keys() - tree.keys():
        kept = re.search(rf"^CREATE .*\b{name}\b", draft.frozen_text(), re.MULTILINE)
        assert kept, f"{name} is in the database, and neither in the tree nor in a release"


ACTS_AS_OWNER = """
    SELECT proname, coalesce(array_to_string(proconfig, ' '), '') FROM pg_proc
    WHERE pronamespace = 'public'::regnamespace AND prosecdef"""
HIJACK = (
    "GRANT CREATE ON SCHEMA public TO billing_app",  # as databases of before Postgres 15 have it
    "SET LOCAL ROLE billing_app",
    """
    CREATE FUNCTION public.date_trunc(text, timestamp) RETURNS timestamp LANGUAGE plpgsql AS $$
    BEGIN RAISE 'it acts as %', current_user; END $$""",
    "SET LOCAL search_path = public, pg_catalog",
    "SELECT usage_make_months(0)",
)


def test_a_function_that_acts_as_the_owner_has_a_path_of_its_own(
    connection: psycopg.Connection,
) -> None:
    paths: dict[str, str] = dict(connection.execute(ACTS_AS_OWNER).fetchall())
    connection.rollback()
    assert paths == {"usage_make_months": "search_path=pg_catalog, pg_temp"}


def test_no_function_of_a_caller_runs_as_the_owner(stack: StackInfo) -> None:
    with psycopg.connect(dsn(stack.superuser_url)) as superuser:
        for statement in HIJACK:
            superuser.execute(statement.encode())
        superuser.rollback()


def test_nobody_but_the_owner_makes_objects_beside_the_tables(stack: StackInfo) -> None:
    with psycopg.connect(dsn(stack.superuser_url)) as superuser:
        superuser.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
        _, _, rights = (draft.HERE / "roles.sql").read_text().partition("\\connect billing\n")
        superuser.execute(rights.encode())
        asked = "SELECT has_schema_privilege('billing_app', 'public', 'CREATE')"
        assert superuser.execute(asked).fetchone() == (False,)
        superuser.rollback()
