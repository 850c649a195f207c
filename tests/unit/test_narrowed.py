"""Each check reads the rows of the accounts that it is asked of, and of no other."""

from itertools import pairwise

from billing.core.database import metadata
from billing.insight.integrity import credits, flow, money, usage
from billing.insight.integrity.narrowed import ACCOUNTS, NARROWED, narrowed, tables
from billing.ledger.credits.invariants import RULES
from migrations.draft import load_tables

PARTS = (
    RULES, credits.QUERIES, money.QUERIES, flow.QUERIES, usage.QUERIES, money.LATE, flow.LATE,
    usage.LATE,
)  # fmt: skip
QUERIES = {(place, name): query for place, part in enumerate(PARTS) for name, query in part.items()}


def test_every_table_of_an_account_that_a_check_reads_is_narrowed() -> None:
    load_tables()
    tenants = {name for name, table in metadata.tables.items() if "account_id" in table.c}
    read = {name: tables(query) & tenants - NARROWED for name, query in QUERIES.items()}
    assert {name: left for name, left in read.items() if left} == {}


def test_no_table_stands_behind_a_comma_where_it_would_not_be_seen() -> None:
    load_tables()
    names = set(metadata.tables)
    for query in QUERIES.values():
        words = query.replace("\n", " ").split()
        after_comma = {word for before, word in pairwise(words) if before.endswith(",")}
        assert after_comma & names == set(), query


def test_a_table_is_hidden_by_its_rows_of_these_accounts() -> None:
    assert narrowed("SELECT 1 FROM plans") == ""
    assert narrowed("SELECT 1 FROM accounts a JOIN trials t ON true") == (
        f"WITH accounts AS NOT MATERIALIZED (SELECT * FROM accounts WHERE id = {ACCOUNTS}),"
        f" trials AS NOT MATERIALIZED (SELECT * FROM trials WHERE account_id = {ACCOUNTS})"
    )
