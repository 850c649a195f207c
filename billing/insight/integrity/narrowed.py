"""Narrow SQL that reads the rows of all accounts to a list of accounts.

Common table expressions with the names of the query's tables contain only the rows of `:accounts`,
so that the query reads these instead. Postgres inlines them and finds the rows by its indexes;
row-level security would read whole tables.
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
# No index finds the rows of these by account, but one does by their parent: (table, its parent, the
# column that refers to it). Other names are our aliases for parts found in another way.
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
# Read row by row from the others, by an index or as a whole row of its type.
_AS_IT_IS: Final = frozenset({"billing_audit"})
NARROWED: Final = _BY_ACCOUNT | _BY_WHOLE.keys() | _AS_IT_IS | {"accounts"}
_NAMES: Final = re.compile(r"\b(?:FROM|JOIN)\s+(\w+)", re.IGNORECASE)


def tables(query: str) -> set[str]:
    """Return the names after FROM and JOIN."""
    return set(_NAMES.findall(query))


def narrowed(
    query: str,
    once: frozenset[str] = frozenset(),
    instead: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Return the WITH clause that narrows the query's tables to `:accounts`; empty if there is
    nothing to narrow. Tables in `once` are materialized. A name in `instead` gets the rows of its
    query, which may use earlier names.
    """
    # Our aliases first, while their tables are not hidden yet. Then parents that are read once, so
    # that their parts are found by those rows.
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
