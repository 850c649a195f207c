"""SQL that reads the rows of all accounts, narrowed to those of a list of them.

A query is preceded by common table expressions that have the names of its tables and hold the rows
of `:accounts` only, so that it reads these where it names the tables. Postgres folds them into the
query, and finds the rows by its indexes; row-level security would read whole tables for that.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

ACCOUNTS: Final = "ANY(CAST(:accounts AS uuid[]))"
_BY_ACCOUNT: Final = frozenset(
    {
        "balance_entries", "billing_quotas", "billing_records", "budgets", "capture_logs",
        "credit_balances",
        "credit_holds", "credit_lots", "credit_notes", "credit_transactions", "discounts",
        "disputes", "dropped_events", "dunning_cases", "events", "invoices", "limit_overrides",
        "matters", "payment_attempts", "payment_methods", "payments", "portal_sessions",
        "purchases", "quota_claims", "refunds", "sealed_counters", "sealed_entries", "sealed_lines",
        "setup_intents", "steps", "stripe_webhook_events", "subscription_changes",
        "subscriptions", "top_ups", "trials", "unpaid_retries", "unpaid_uses", "usage_counters",
        "usage_cycles", "usage_periods", "usage_settlements",
    }
)  # fmt: skip
# No index finds the rows of these by their account, but one does by what they are parts of:
# (table, what it is a part of, by which column). Names of ours stand for parts found another way.
_BY_WHOLE: Final = {
    "credit_hold_lots": ("credit_hold_lots", "credit_holds", "hold_id"),
    "credit_transaction_lots": (
        "credit_transaction_lots", "credit_transactions", "transaction_id",
    ),
    "hold_parts_of_lots": ("credit_hold_lots", "credit_lots", "lot_id"),
    "parts_of_lots": ("credit_transaction_lots", "credit_lots", "lot_id"),
    "invoice_lines": ("invoice_lines", "invoices", "invoice_id"),
    "subscription_items": ("subscription_items", "subscriptions", "subscription_id"),
}  # fmt: skip
_OURS: Final = frozenset(name for name, (table, *_) in _BY_WHOLE.items() if name != table)
# Looked into row by row from the others, by an index or as a whole row of its type.
_AS_IT_IS: Final = frozenset({"billing_audit"})
NARROWED: Final = _BY_ACCOUNT | _BY_WHOLE.keys() | _AS_IT_IS | {"accounts"}
_NAMES: Final = re.compile(r"\b(?:FROM|JOIN)\s+(\w+)", re.IGNORECASE)


def tables(query: str) -> set[str]:
    """The names after FROM and JOIN."""
    return set(_NAMES.findall(query))


def narrowed(
    query: str,
    once: frozenset[str] = frozenset(),
    instead: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """The WITH clause that narrows what the query reads to `:accounts`; nothing if there is no
    table to narrow. What it reads several times of the tables in `once` is read once. For a name
    in `instead` the rows are those of its query, which may name those before it.
    """
    # Names of ours first: their tables are not hidden yet. Then wholes that are read once: their
    # parts are found by the rows of that one reading.
    named = sorted(
        tables(query) & NARROWED - _AS_IT_IS - instead.keys(),
        key=lambda name: (name not in _OURS, name in _BY_WHOLE or name not in once, name),
    )
    rows = {**instead, **{name: _rows(name) for name in named}}
    parts = [
        f"{name} AS {'' if name in once else 'NOT '}MATERIALIZED ({found})"
        for name, found in rows.items()
    ]
    return f"WITH {', '.join(parts)}" if parts else ""


def _rows(name: str) -> str:
    if name in _BY_WHOLE:
        table, whole, column = _BY_WHOLE[name]
        return (
            f"SELECT part.* FROM {whole} AS whole JOIN {table} AS part"  # noqa: S608 (names of ours)
            f" ON part.{column} = whole.id WHERE whole.account_id = {ACCOUNTS}"
        )
    column = "id" if name == "accounts" else "account_id"
    return f"SELECT * FROM {name} WHERE {column} = {ACCOUNTS}"  # noqa: S608 (names of ours)
